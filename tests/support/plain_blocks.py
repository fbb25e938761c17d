"""Model-coded blocks for `archive_plain_reader`: coding 2 and 3 by the plain readers.

Of the package they take the rows of the models, the bytes of their tokens and, for coding 3, the definition
of the tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from coding_plain import decode_lanes, head
from ensemble_plain import Joined, Member

from nacrith.models.exact.model import ExactModel

Block = Callable[[bytes, bytes, bytes, int], bytes]
"""(fingerprint or its beginning, params, payload, content length) to content."""


def single(model: ExactModel) -> Block:
    """Blocks of coding 2 by this model. params: as in section 1 of coding-v2.md, with a window below 128."""
    vocabulary = model.tokenizer.vocabulary(model.vocab_size)
    words = [vocabulary.token_bytes(rank) for rank in vocabulary.rank]

    def block(fingerprint: bytes, params: bytes, payload: bytes, size: int) -> bytes:
        assert model.fingerprint.startswith(fingerprint)
        version, predictors, bits, window = params
        assert version == 2
        lengths, crlf, stream = head(payload)
        session = model.session(len(lengths), window)

        def row(lane: int, tokens: Sequence[int]) -> list[int]:
            inputs: list[Sequence[int]] = [()] * len(lengths)
            inputs[lane] = [tokens[-1] if tokens else model.bos_id]
            return session.extend(inputs)[lane][0].tolist()

        lanes = decode_lanes(lengths, stream, words, predictors, bits, row)
        text = b"".join(map(model.tokenizer.decode, lanes))
        return text.replace(b"\n", b"\r\n") if crlf else text

    return block


def ensemble(models: Sequence[ExactModel]) -> Block:
    """Blocks of coding 3 by these models. params: as in section 1 of coding-v3.md; a window below 128."""

    def block(fingerprint: bytes, params: bytes, payload: bytes, size: int) -> bytes:
        whole = b"nacrith ensemble 1\n" + b"".join(m.fingerprint for m in models)
        assert hashlib.sha256(whole).digest().startswith(fingerprint)
        version, predictors, bits, window = params[:4]
        assert version == 3
        assert params[4:] == b"".join(m.fingerprint[:4] for m in models)
        lengths, crlf, stream = head(payload)
        members = [Member(m.tokenizer.definition, m.bos_id, _rows(m, window)) for m in models]
        lanes = [Joined(members) for _ in lengths]
        words = [bytes([b]) for b in range(256)]
        found = decode_lanes(
            lengths, stream, words, predictors, bits, lambda lane, data: lanes[lane].row(data)
        )
        text = b"".join(map(bytes, found))
        return text.replace(b"\n", b"\r\n") if crlf else text

    return block


def _rows(model: ExactModel, window: int) -> Callable[[Sequence[int]], Any]:
    return lambda ids: model.session(1, window).extend([[model.bos_id, *ids]])[0][-1].tolist()
