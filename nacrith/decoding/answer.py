"""What every way to generate an answer has in common: it is iterated over, and its line tells what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from nacrith.decoding.lanes import Line
from nacrith.stateful import Stateful


class Generated(Stateful):
    """An answer. Iterating over it generates it, and yields pieces of its text as they become certain."""

    line: Line
    _pieces: Iterator[str]

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def run(self) -> Self:
        """Generate what is left, and return the answer itself."""
        for _ in self:
            pass
        return self

    @property
    def text(self) -> str:
        """The text so far. Bytes that are no UTF-8 show as U+FFFD; a stop text is no part of it."""
        return self.line.stream.text

    @property
    def tokens(self) -> list[int]:
        """The token ids so far; the start token at the end says that the model ended the text."""
        return list(self.line.tokens)

    @property
    def finish(self) -> str:
        """Why the answer ended: "end" (the model's choice), "length", "stop" (a stop text), "stuck" (no token
        is allowed); "" while it goes on."""
        return self.line.finish
