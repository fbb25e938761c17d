"""Shortens what tools return, for programs that stand between a model and its tools.

`PromptCompressor` compresses one prompt. Here each text is compressed alone and once, so the result depends
on nothing but the text, the query and the settings, and the same text always becomes the same bytes. A text
is left alone if it is short, if little would be saved, if it cannot be compressed, or if it is a program or a
diff, which an agent reads in order to change it. Nothing here raises an error because of a text.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

from nacrith import jsontext
from nacrith.prompt.compress import PromptCompressor
from nacrith.prompt.content.part import ContentPart, routed
from nacrith.prompt.document import Document, Part
from nacrith.prompt.result import BYTE_ORDER_MARK, Compressed, of_source

DEFAULT_RATE = 0.3
DEFAULT_MINIMUM = 1000
"""Fraction of a text to keep, and characters of the shortest text that is compressed."""

_WHOLE = ("code", "diff")  # kinds of content that are of use only as they are
_MUCH = 0.25
_NUMBERS = re.compile(r"^[ \t]*\d+[ \t]*[:|\u2192\t]", re.MULTILINE)  # that tools put before lines
_WORTH = 0.9  # of the length, with the notice; what stays longer is left alone
_REMEMBERED = 64 << 20  # characters
_QUERIES = ("query", "question", "q", "search")
_UNIT = 100  # what an entry without a text counts


class Shortened(NamedTuple):
    """A shorter text, and the spans of the original that it lacks, ascending and disjoint."""

    text: str
    cuts: tuple[tuple[int, int], ...]


class Memory:
    """Texts by the digest of a key; the least recently used ones are forgotten. None is a value."""

    def __init__(self, size: int = _REMEMBERED) -> None:
        self._left, self._found = size, OrderedDict[bytes, tuple[Any, int]]()

    @staticmethod
    def key(*parts: str) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.digest()

    def __contains__(self, key: bytes) -> bool:
        return key in self._found

    def __getitem__(self, key: bytes) -> Any:
        self._found.move_to_end(key)
        return self._found[key][0]

    def add(self, key: bytes, value: Any, size: int = 0) -> None:
        """Remember a value of about `size` characters; whatever is older makes room for it."""
        if key in self._found:
            self._left += self._found.pop(key)[1]
        self._found[key] = value, size + _UNIT
        self._left -= size + _UNIT
        while self._left < 0 and len(self._found) > 1:
            self._left += self._found.popitem(last=False)[1][1]


class ToolResults:
    """Shortens texts of tools; may be used from several threads.

    compressor: by default sentences are ranked with `lexrank`, and only whole ones are kept. rate: the
    fraction to keep of each text. minimum: characters; a shorter text is left alone.
    """

    def __init__(
        self,
        compressor: PromptCompressor | None = None,
        *,
        rate: float = DEFAULT_RATE,
        minimum: int = DEFAULT_MINIMUM,
    ) -> None:
        self.compressor = compressor or PromptCompressor("lexrank", retain="with_sentence")
        self.rate, self.minimum = rate, minimum
        self._memory = Memory()
        self._lock = threading.Lock()  # a compressor is for one thread at a time

    def shorten(self, text: str, query: str = "", notice: int = 0) -> Shortened | None:
        """The shorter text; None if the text is to be left alone.

        notice: characters of what the caller adds to a shorter text.
        """
        if len(text) < self.minimum:
            return None
        key = Memory.key(text, query)
        with self._lock:
            if key not in self._memory:
                found = self._shorten(text, query)
                self._memory.add(key, found, len(found.text) if found else 0)
            made: Shortened | None = self._memory[key]
        if made is None or len(made.text) + notice > _WORTH * len(text):
            return None
        return made

    def warm_up(self) -> None:
        """Import what shortens texts, so that the first one need not wait for it."""
        with self._lock:
            self._shorten("The first sentence. The second sentence.", "")

    def _shorten(self, text: str, query: str) -> Shortened | None:
        try:
            if is_program(text):
                return None
            result = self._compress(text, query)
        except Exception:  # whatever it is, the text stays as it is
            return None
        if not result.text.strip():
            return None
        return Shortened(result.text, tuple(_cuts(result)))

    def _compress(self, text: str, query: str) -> Compressed:
        """The text as the output of a tool; `compress` takes prompts, which have an instruction."""
        plain = text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")
        plain.encode()  # not with lone surrogates, which tokenizers reject
        part = Part(0, len(plain), plain, label="tool", contract=self.compressor.contract)
        document = Document(plain, list(routed(part, "text", stable=False)))
        result = self.compressor.run_document(document, query, self.rate, None, None)
        return result if plain == text else of_source(result, text)


def query_of(arguments: Any) -> str:
    """What a call asks for in words, by the names of its arguments; "" if it does not.

    arguments: an object, or JSON.
    """
    if isinstance(arguments, str):
        try:
            arguments = jsontext.parse(arguments)
        except jsontext.JsonError:
            return ""
    if not isinstance(arguments, Mapping):
        return ""
    found = (arguments.get(name) for name in _QUERIES)
    return next((value for value in found if isinstance(value, str)), "")


def is_program(text: str) -> bool:
    """Whether a text is a program or a diff, or has much of one; lines may be numbered."""
    numbered = len(_NUMBERS.findall(text)) > text.count("\n") / 2
    plain = _NUMBERS.sub("", text) if numbered else text
    parts = routed(Part(0, len(plain), plain, label="tool"), "text", stable=False)
    kinds = [(p.content.kind, len(p.text)) for p in parts if isinstance(p, ContentPart) and p.content]
    return sum(size for kind, size in kinds if kind in _WHOLE) > _MUCH * len(plain)


def _cuts(result: Compressed) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for span in result.units:
        if span.kept:
            continue
        if out and out[-1][1] == span.start:
            out[-1] = out[-1][0], span.end
        else:
            out.append((span.start, span.end))
    return out
