"""A draft model for llama-cpp-python: nacrith's drafters in place of its own prompt lookup.

    from llama_cpp import Llama
    from nacrith.integrations.llama_cpp import DraftModel

    draft = DraftModel()
    llama = Llama("model.gguf", draft_model=draft)
    draft.watch(llama)

llama-cpp-python verifies the drafts, one line a pass, and samples every token as it does without: greedy or
with a seed it gives the text that it gives without, as far as the sums of llama.cpp do not depend on the
number of tokens of a pass, which they do in their last bits.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp.llama_speculative import LlamaDraftModel

from nacrith.errors import DecodingError
from nacrith.integrations.drafting import Drafts, Which

MOST = 31
"""Tokens of a line, at most."""


class DraftModel(LlamaDraftModel):  # type: ignore[misc]  # the package has no types here
    """Give it to `Llama(draft_model=...)`, then call `watch` with that object.

    drafter, fixed: as of `drafting.Drafts`; `drafts` has the figures. One object serves one Llama.
    """

    def __init__(self, drafter: Which = "auto", fixed: int | None = None) -> None:
        self._drafter, self._fixed = drafter, fixed
        self._llama: Any = None
        self.drafts: Drafts | None = None
        self._asked = 0.0

    def watch(self, llama: Any) -> None:
        """Learn from the rows that this Llama computes anyway."""
        self._llama = llama
        self.drafts = Drafts(self._drafter, llama.n_vocab(), self._fixed)

    def __call__(self, input_ids: npt.NDArray[np.intc], /, **kwargs: Any) -> npt.NDArray[np.intc]:
        """The tokens that may follow. input_ids (n,): the text, of which the last token is not evaluated."""
        if self.drafts is None:
            raise DecodingError("the draft model knows no Llama yet: call watch(llama) after Llama(...)")
        drafts, ids, seconds = self.drafts, input_ids.tolist(), time.perf_counter() - self._asked
        known = len(drafts.text)
        if known and len(ids) > known and ids[:known] == drafts.text:
            self._learn(ids, known - 1)
            drafts.go_on(ids[known:], seconds)
        else:
            drafts.begin(ids)
            self._learn(ids, 0)
        line = drafts.propose(MOST)
        self._asked = time.perf_counter()
        return np.array(line, np.intc)

    def _learn(self, ids: list[int], first: int) -> None:
        """From the rows of the tokens from `first` on, all but the newest one's, which is still to come."""
        assert self.drafts is not None
        rows = getattr(self._llama, "scores", None)
        if self.drafts.learns and rows is not None and len(rows) >= len(ids) - 1:
            self.drafts.learn(np.asarray(rows[first : len(ids) - 1]), first, ids[:-1])
