"""A known prefix: bytes that writer and reader both have, and that every block is coded after.

Small messages with a common form (records, log lines) cost little after a few like them. The prefix's tokens
are the first of lane 0: they are learnt by all that learns, and nothing is coded. The model of each other
lane is given the prefix's end. formats/coding-v2.md, section 4, specifies it; the parameters name its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from nacrith.codec.params import NAMED
from nacrith.codec.text import strip_crlf
from nacrith.errors import PrefixError
from nacrith.models.protocol import LanguageModel, Logits, Session

ROWS = 256
"""Rows of a pass of the model."""

Learn = Callable[[Logits, Sequence[int]], None]
"""Takes rows (n, V), and the n tokens of lane 0 that they predict."""


def name_of(prefix: bytes) -> bytes:
    """What parameters call it; nothing for no prefix."""
    return hashlib.sha256(prefix).digest()[:NAMED] if prefix else b""


def check_prefix(name: bytes, prefix: bytes) -> None:
    """Raise PrefixError unless `prefix` is what an archive names; b"" is none. One that it does not name is
    of no use, and does no harm."""
    if name in (b"", name_of(prefix)):
        return
    if prefix:
        raise PrefixError(
            f"the archive was made after a prefix with the SHA-256 {name.hex()}..., and the one given has"
            f" {name_of(prefix).hex()}...: give that one"
        )
    raise PrefixError(
        f"the archive was made after a prefix with the SHA-256 {name.hex()}...: give it with --prefix FILE"
        " (prefix=... in Python)"
    )


def tokens_of(prefix: bytes, model: LanguageModel) -> Sequence[int]:
    return model.tokenizer.encode(strip_crlf(prefix)[0])


def teach(
    session: Session,
    places: Sequence[int],
    tokens: Sequence[int],
    model: LanguageModel,
    window: int,
    learn: Learn,
) -> None:
    """Give the lanes of a block, at `places` of a session, the tokens of a prefix. The first is lane 0's.

    Behind the prefix comes the token that the model is given next: of it, and of the start of a lane after a
    multiple of the model's maximum length, the caller takes care.
    """
    limit = model.max_length
    begin = end = 0
    while end < len(tokens):
        begin, end = end, min(end + ROWS, end - end % limit + limit, len(tokens))
        if begin % limit == 0:
            session.rollback(places[0], 0)
        before = tokens[begin - 1] if begin % limit else model.bos_id
        learn(_extend(session, places[:1], [before, *tokens[begin : end - 1]]), tokens[begin:end])
    held = min(len(tokens) % limit, window)
    if len(places) > 1 and held:
        inputs = [model.bos_id, *tokens[len(tokens) - held : -1]]
        share = max(1, ROWS // (len(places) - 1))
        for place in places[1:]:
            session.rollback(place, 0)
        for at in range(0, held, share):
            _extend(session, places[1:], inputs[at : at + share])


def _extend(session: Session, places: Sequence[int], tokens: Sequence[int]) -> Logits:
    """The rows of the first of these places, all of which are given `tokens`."""
    inputs: list[Sequence[int]] = [()] * len(session.lengths)
    for place in places:
        inputs[place] = tokens
    return np.ascontiguousarray(session.extend(inputs)[places[0]])
