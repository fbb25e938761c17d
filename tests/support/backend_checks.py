"""What every backend that computes in floats must do, written once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_models import TINY, feed, tokens

import nacrith
from nacrith import loaded
from nacrith.codec.model_codec import ModelCodec, binding_of
from nacrith.codec.params import CodingParams
from nacrith.codec.prefix import name_of
from nacrith.errors import ModelMismatchError
from nacrith.models.floats import binding as bound
from nacrith.models.floats.binding import BoundModel
from nacrith.models.protocol import LOGIT_BITS, LanguageModel

TEXT = b"""\
The old doctor came back to the village late in the autumn, when the leaves were down and the wind had
turned to the north. Nobody there had seen him for eleven years. He went slowly up the hill, past the church
and the little houses, and stood for a long time before the door that he had left open on the morning of his
journey. It was shut now. A light was burning in the kitchen, and he could hear a woman who was singing to
a child. He did not knock at once. He thought of his brother, and of the money, and of the letter that had
come too late, and he asked himself what he would say to her if she did not know his face any more.

When she opened the door at last, she looked at him without a word. Then she took the lamp from the table
and held it up. "You have the same eyes," she said. "Come in and sit down by the fire. My father has been
waiting for you since the summer, and he will not go to bed before he has told you what he found in the
well." The doctor put his bag on the floor. He had been afraid of this house for half of his life, and now
there was nothing in it but an old man, a young mother and a child that was almost asleep.
"""  # long enough for the model to win by more than the binding takes


def rows_do_not_depend_on_the_calls(model: LanguageModel, vocab: int, window: int, size: int) -> None:
    """size: tokens, more than a context of this window holds."""
    ids = tokens(size, vocab=vocab)
    want = model.session(1, window).extend([ids])[0]
    assert want.shape == (size, model.vocab_size)
    assert np.array_equal(feed(model.session(2, window), 1, ids, [1, 2, size // 2, size - 1]), want)


def rollback(model: LanguageModel, window: int, size: int) -> None:
    """Back by a few tokens, and to where the context was an earlier one: as if nothing had been. A backend
    may lay out its memory otherwise afterwards, so this is near equality; none is promised to the codec."""
    ids = tokens(size, vocab=model.vocab_size)
    want = model.session(1, window).extend([ids])[0]
    session = model.session(1, window)
    session.extend([[*ids, 5, 6, 7]])
    for length in (size - 2, window, 0):
        session.rollback(0, length)
        got = session.extend([ids[length:]])[0]
        assert np.abs(got - want[length:]).max() < 0.02 * (1 << LOGIT_BITS)


def bits(model: LanguageModel, text: bytes) -> float:
    """A token of `text` costs so much on average."""
    ids = list(model.tokenizer.encode(text))
    rows = model.session(1, 64).extend([[model.bos_id, *ids[:-1]]])[0] / (1 << LOGIT_BITS)
    top = rows.max(axis=1)
    cost = np.log2(np.exp2(rows - top[:, None]).sum(axis=1)) + top - rows[np.arange(len(ids)), ids]
    return float(cost.mean())


def as_good_as_exact(model: LanguageModel) -> None:
    """Of the tiny model: what the exact engine says, but for its rounding."""
    text = TEXT[:100]  # not more tokens than the window
    exact = bits(nacrith.load_model(str(TINY), threads=1), text)
    assert abs(bits(model, text) - exact) < 0.02 * exact


def blocks_come_back(model: BoundModel, blocks: list[bytes]) -> None:
    for predictors in (0, 1):
        params = CodingParams(16, predictors, 8 * predictors, binding=binding_of(model))
        payloads = ModelCodec(model, params).encode(blocks)
        coded = list(zip(payloads, map(len, blocks), strict=True))
        assert ModelCodec(model, params).decode(coded[::-1]) == blocks[::-1]
    after = blocks_after_a_prefix(model, TEXT[:60], blocks[:1])
    assert payloads[0] != after[0]


def blocks_after_a_prefix(
    model: BoundModel, prefix: bytes, blocks: list[bytes], **options: int
) -> list[bytes]:
    """Blocks that are coded after a prefix come back, whatever company and places they have. Returns their
    payloads. options: of ModelCodec."""
    params = CodingParams(16, 1, 8, binding=binding_of(model), prefix=name_of(prefix))
    payloads = ModelCodec(model, params, prefix=prefix, **options).encode(blocks)
    coded = list(zip(payloads, map(len, blocks), strict=True))
    assert ModelCodec(model, params, prefix=prefix).decode(coded[::-1]) == blocks[::-1]
    for one, block in zip(coded, blocks, strict=True):
        assert ModelCodec(model, params, prefix=prefix).decode([one]) == [block]
    return payloads


def archives(path: Path, backend: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made with a backend, decoded with the recorded settings, refused where something is otherwise.

    other: a model of another fingerprint that the backend runs.
    """
    loaded.forget()
    model = nacrith.load_model(str(path), threads=1, backend=backend)
    small = nacrith.compress(TEXT, level=1, model=model)
    (stream,) = nacrith.info(small)
    assert stream.codec is not None, "no model-coded block: the test's text is too short"
    binding = CodingParams.from_bytes(stream.codec.params).binding
    assert binding["backend"] == backend
    assert nacrith.decompress(small, model=model) == TEXT
    assert nacrith.decompress(small, model=str(path), threads=2) == TEXT  # with the recorded thread
    with pytest.raises(ModelMismatchError, match="fingerprint"):
        nacrith.decompress(small, model=other)
    loaded.forget()
    with monkeypatch.context() as patch:
        patch.setattr(bound, "cpu_name", lambda: "another processor")
        with pytest.raises(ModelMismatchError, match=r"cpu .*, here another processor"):
            nacrith.decompress(small, model=str(path))
        assert loaded.for_decoding(stream.codec, str(path), None, force=True)
    loaded.forget()
