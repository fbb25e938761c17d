"""A part of a prompt that is content: its units are words, but they are kept and dropped by whole blocks.

Words rank as everywhere, so every scorer works; a segment of a block is a sentence for it. Here a block's
score is that of its best segment together with its prior (errors of a log, changes of a diff, a spread over
the rows of a table), which decides alone if the scorer finds nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from nacrith.arith import F64
from nacrith.lazy import lazy
from nacrith.prompt.content import embedded, regions, route
from nacrith.prompt.content.blocks import Content
from nacrith.prompt.document import Part, Piece
from nacrith.prompt.protect import Protected, protected
from nacrith.prompt.scorers.terms import terms
from nacrith.prompt.segment import I64, WORD, Mask, Passage, passage

_TOOLS = frozenset({"tool", "function"})
"""Roles whose texts come from programs."""

_ASKED, _UNASKED = 0.2, 0.7
"""Share of the prior in the score of a block, with a query and without one."""
_NAMED = 0.5  # share of a block's own words in what is left: scorers also look at what is around it
_LITTLE = 0.5  # of the highest prior


@dataclass(frozen=True)
class ContentPart(Part):
    """A part with a content whose text is its text."""

    content: Content | None = None
    quoted: bool = False  # whether the source has the text in a JSON string
    main: bool = False  # whether most of its text of the source is content, of which something must be left

    @lazy
    def _content(self) -> Content:
        assert self.content is not None
        return self.content

    @property
    def noted(self) -> bool:
        return not self.main

    @lazy
    def passage(self) -> Passage:
        """The words of the text; a sentence is a segment that has words."""
        p = passage(self.text)
        starts = np.array([s.start for s in self._content.segments], np.int64)
        place = np.searchsorted(starts, p.starts, "right") - 1
        first = np.diff(place, prepend=-1) > 0
        kinds = p.kinds.copy()
        kinds[first] = WORD  # a block without a word can be chosen too
        return replace(p, kinds=kinds, sentence=np.cumsum(first) - 1)

    @lazy
    def _block(self) -> I64:
        """Of each unit its block, or -1 for what lies between blocks."""
        starts = np.array([s.start for s in self._content.segments], np.int64)
        blocks = np.array([s.block for s in self._content.segments], np.int64)
        return blocks[np.searchsorted(starts, self.passage.starts, "right") - 1]

    @lazy
    def _protected(self) -> list[Protected]:
        """Only what the caller asks for: a block is whole, whatever is in it."""
        return protected(self.text, (), self.contract.patterns, self.contract.forced)

    @lazy
    def reasons(self) -> list[str]:
        """Blocks that are always kept, and what the caller's patterns and strings match."""
        always = np.append(self._content.closed(np.zeros(len(self._content.nodes), bool)), True)
        out = [self._content.kind if f else "" for f in always[self._block].tolist()]
        for start, end, reason in self._protected:
            for i in range(*self._range(start, end)):
                out[i] = reason
        return out

    @lazy
    def forced(self) -> Mask:
        return np.array([bool(r) for r in self.reasons], bool)

    def narrowed(self, query: str, share: float) -> Part:
        """The part as a query is about it, if it is to be cut to this share."""
        content = self._content.narrowed(query, share * len(self.text))
        return self if content is self._content else replace(self, content=content)

    @lazy
    def brings(self) -> I64:
        """(units,) characters of the block of each with those that hold it; too many for one that says
        little beside others."""
        content = self._content
        size = np.zeros(len(content.nodes) + 1, np.int64)
        for start, end, block in content.segments:
            size[block] += end - start
        for block, parent in enumerate(content.parent.tolist()):  # a holder is before what it holds
            size[block] += size[parent] if parent >= 0 else 0
        size[:-1][content.prior < _LITTLE * content.prior.max(initial=0.0)] += len(self.text)
        found: I64 = size[self._block]
        return found

    def _blocks(self, kept: Mask) -> Mask:
        chosen = np.zeros(len(self._content.nodes) + 1, bool)  # the last one stands for -1
        chosen[self._block[kept | self.forced]] = True
        return self._content.closed(chosen[:-1])

    def close(self, kept: Mask) -> Mask:
        return np.append(self._blocks(kept), True)[self._block]

    def pieces(self, kept: Mask) -> list[Piece]:
        return self._content.pieces(self._blocks(kept))

    def spans(self, kept: Mask) -> list[tuple[int, int]]:
        return [(a, b) for a, b, inserted in self.pieces(kept) if not inserted]

    def escaped(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=False)[1:-1] if self.quoted else text

    def weighed(self, score: F64, query: str, by_sentence: bool) -> F64:
        """The scores of a scorer, for each sentence or unit, with the priors of the blocks."""
        if not len(self.passage):
            return score
        values = score[self.passage.sentence] if by_sentence else score
        if query:
            values = (1 - _NAMED) * values + _NAMED * self._named(query)[self.passage.sentence]
        share = _ASKED if query else _UNASKED
        prior = np.append(self._content.prior, 1.0)
        best = np.full(len(prior), -np.inf)
        np.maximum.at(best, self._block, values)
        found = ((1 - share) * best + share * prior)[self._block]
        if not by_sentence:
            return found
        return found[[a for a, _ in self.passage.sentences]]

    def _named(self, query: str) -> F64:
        """(segments,) from 0 to 1: how many words of the query each has, rare ones more."""
        asked = {term for _, term in terms(passage(query))}
        found = {pair for pair in terms(self.passage) if pair[1] in asked}
        tally = Counter(term for _, term in found)
        out = np.zeros(len(self.passage.sentences))
        for segment, term in sorted(found):
            out[segment] += np.log1p(len(out) / tally[term])
        return out / max(float(out.max(initial=0.0)), 1e-9)


def routed(part: Part, kind: str, stable: bool) -> Iterator[Part]:
    """The part, divided into content and prose: outputs of tools in a chat, strings of JSON, and plain
    prompts unless text may follow. kind: one of `structured.INPUTS`. Without any rule about what is kept all
    is prose."""
    quoted = kind in ("chat", "json")
    prose = (kind == "chat" and part.label not in _TOOLS) or (kind == "text" and stable)
    if prose or kind == "markdown" or not part.contract.rules:
        yield part
        return
    first, last = _inner(part.text, 0, len(part.text))
    content = route(part.text[first:last])
    if content is not None:
        yield _made(part.cut(first, last), content, quoted)
        return
    position = 0
    for start, end in regions(part.text):
        first, last = _inner(part.text, start, end)
        content = embedded(part.text[first:last])
        if content is None:
            continue
        if position < start:
            yield part.cut(position, start)
        yield _made(part.cut(first, last), content, quoted)
        position = end
    if position < len(part.text):
        yield part.cut(position, len(part.text)) if position else part


def _inner(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the blank lines at its ends, which stay where they are."""
    piece = text[start:end]
    first = start + len(piece) - len(piece.lstrip("\n"))
    return first, max(first, start + len(piece.rstrip()))


def _made(part: Part, content: Content, quoted: bool) -> ContentPart:
    same = {f.name: getattr(part, f.name) for f in fields(part)}
    return ContentPart(**same, content=content, quoted=quoted)
