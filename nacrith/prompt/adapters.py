"""Compressors with the interfaces that LangChain and LlamaIndex expect, without importing either.

Both call methods by name and read a few attributes, so any class that has these works: a LangChain
document has `page_content` and `metadata`; a LlamaIndex node has `get_content` and `set_content`, inside
an object with `node` and `score`. Inputs are copied, never changed; a document without any remaining text
is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from nacrith.prompt.compress import PromptCompressor
from nacrith.prompt.lingua import join
from nacrith.prompt.result import Compressed


class _Budgeted:
    """A compressor, and the budget for all texts that it gets in one call."""

    def __init__(
        self,
        compressor: PromptCompressor | None = None,
        *,
        rate: float | None = None,
        target_tokens: int | None = None,
        threshold: float | None = None,
    ) -> None:
        self.compressor = compressor or PromptCompressor()
        self.rate, self.target_tokens, self.threshold = rate, target_tokens, threshold

    def _shorten(self, texts: Sequence[str], query: str) -> list[str]:
        document, places = join(texts, contract=self.compressor.contract)
        rate = self.rate
        if rate is None and self.target_tokens is None and self.threshold is None:
            rate = 0.5
        result: Compressed = self.compressor.run_document(
            document, query, rate, self.target_tokens, self.threshold
        )
        return [result.within(a, b) for a, b in places]


class DocumentCompressor(_Budgeted):
    """LangChain's document compressor, for `ContextualCompressionRetriever`."""

    def compress_documents(self, documents: Sequence[Any], query: str, callbacks: Any = None) -> list[Any]:
        """Copies of the documents with shorter `page_content`, within one budget."""
        out = []
        texts = self._shorten([d.page_content for d in documents], query)
        for document, text in zip(documents, texts, strict=True):
            if text:
                shorter = copy.copy(document)
                shorter.page_content = text
                out.append(shorter)
        return out

    async def acompress_documents(
        self, documents: Sequence[Any], query: str, callbacks: Any = None
    ) -> list[Any]:
        """Calls `compress_documents`: the work is computation, so there is nothing to await."""
        return self.compress_documents(documents, query, callbacks)


class NodePostprocessor(_Budgeted):
    """LlamaIndex's node postprocessor."""

    def postprocess_nodes(
        self, nodes: Sequence[Any], query_bundle: Any = None, query_str: str | None = None
    ) -> list[Any]:
        """Copies of the nodes with shorter text and the same scores, within one budget."""
        query = query_str if query_str is not None else getattr(query_bundle, "query_str", "")
        out = []
        texts = self._shorten([n.node.get_content() for n in nodes], query)
        for scored, text in zip(nodes, texts, strict=True):
            if text:
                shorter = copy.copy(scored)
                shorter.node = copy.copy(scored.node)
                shorter.node.set_content(text)
                out.append(shorter)
        return out
