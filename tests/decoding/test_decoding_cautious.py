"""Cautious Next Token Prediction: against a slow loop of whole texts, on every engine; and entropies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native_library import WHY
from paths import TINY

from nacrith.decoding import Caution, Sampling, cautious
from nacrith.decoding.cautious import entropy, surprisal
from nacrith.errors import DecodingError
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine

PROMPT = "It was late in the"
SAMPLING = Sampling(1.0, top_p=0.95, seed=4)


def model(engine: str) -> ExactModel:
    made = ExactModel(TINY, threads=1)
    made.__dict__["engine"] = (NativeEngine if engine == "native" else NumpyEngine)(made.file, 1)
    return made


@given(st.lists(st.integers(-(30 << 16), 30 << 16), min_size=1, max_size=60))
def test_entropy_and_surprisal_are_those_of_the_distribution(weights):
    row = np.array(weights, np.int32)
    p = np.exp2((row - row.max()) / 65536)
    p /= p.sum()
    want = -(p[p > 0] * np.log2(p[p > 0])).sum()
    assert entropy(row) / 65536 == pytest.approx(want, abs=2e-3)
    for token in (0, len(row) - 1):
        assert surprisal(row, token) / 65536 == pytest.approx(-np.log2(p[token]), abs=1e-3)


def slowly(given: ExactModel, caution: Caution, most: int) -> tuple[list[int], int]:
    """Each row of a session of its own; entropies and perplexities in floats."""
    start = [given.bos_id, *given.tokenizer.encode(PROMPT.encode())]

    def row(ids: list[int]) -> np.ndarray:
        return given.session().extend([[*start, *ids]])[0][-1]

    def shares(row: np.ndarray) -> np.ndarray:
        p = np.exp2((row.astype(float) - row.max()) / 65536)
        return p / p.sum()

    out, tried = [], 0
    while len(out) < most and out[-1:] != [given.bos_id]:
        p = shares(row(out))
        if -(p[p > 0] * np.log2(p[p > 0])).sum() < caution.doubt:
            out.append(SAMPLING.choose(row(out), len(out)))
            continue
        tried += 1
        trials = []
        for i in range(caution.trials):
            more: list[int] = []
            cost = 0.0
            while len(more) < min(caution.longest, most - len(out)):
                at = row([*out, *more])
                more.append(SAMPLING.renewed(len(out) * caution.trials + i).choose(at, len(out) + len(more)))
                cost -= np.log2(shares(at)[more[-1]])
                if more[-1] == given.bos_id or given.tokenizer.decode(more).strip(b" ")[-1:] in tuple(
                    bytes([c]) for c in b".,;:!?\n"
                ):
                    break
            trials.append((cost / len(more), more))
        out += min(trials)[1]
    return out, tried


@pytest.mark.parametrize("caution", [Caution(), Caution(2.0, 3, 4), Caution(4.5, 6, 5)])
def test_the_answer_is_that_of_the_slow_loop_on_every_engine(caution):
    want, tried = slowly(model("numpy"), caution, 24)
    assert 0 < tried < 24
    for engine in ("numpy", *([] if WHY else ["native"])):
        answer = cautious(model(engine), PROMPT, max_tokens=24, sampling=SAMPLING, caution=caution)
        pieces = list(answer)
        assert answer.tokens == want
        assert answer.trials == tried
        assert "".join(pieces) == answer.text
        assert answer.finish in ("length", "end")
        # One pass for each token of a trial but the first, for all trials at once, and one to go on.
        assert answer.passes <= tried * caution.longest + len(want)


def test_without_doubt_it_is_plain_sampling():
    from nacrith.decoding import generate

    given = model("numpy")
    answer = cautious(given, PROMPT, max_tokens=20, sampling=SAMPLING, caution=Caution(64)).run()
    plain = generate(given, PROMPT, max_tokens=20, temperature=1.0, top_p=0.95, seed=4).run()
    assert (answer.tokens, answer.text, answer.trials) == (plain.tokens, plain.text, 0)


def test_stop_texts_and_no_tokens():
    given = model("numpy")
    text = cautious(given, PROMPT, max_tokens=20, sampling=SAMPLING).run().text
    stopped = cautious(given, PROMPT, max_tokens=20, sampling=SAMPLING, stop=[text[5:8]]).run()
    assert (stopped.text, stopped.finish) == (text[: text.index(text[5:8])], "stop")
    assert cautious(given, PROMPT, max_tokens=0, sampling=SAMPLING).run().finish == "length"


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Caution(doubt=-1), "doubt"),
        (lambda: Caution(trials=0), "trials"),
        (lambda: Caution(longest=0), "trials"),
        (lambda: cautious(model("numpy"), PROMPT, sampling=Sampling()), "temperature"),
        (lambda: cautious(model("numpy"), PROMPT, sampling=SAMPLING, max_tokens=-1), "max_tokens"),
    ],
)
def test_values_that_are_not_allowed(make, word):
    with pytest.raises(DecodingError, match=word):
        make()
