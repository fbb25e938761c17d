"""The trial of priming texts: what is chosen and from where, and that it measures what the codecs write."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path

import pytest
from paths import TINY

from bench.coding import primes
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.learner import Shape, encode
from nacrith.models import load_model

LINE = b"On day %d the ferry carried %d passengers, and the captain said nothing.\n"
TEXT = b"".join(LINE % (i, i * 37 % 91) for i in range(1, 9))
OTHER = b"".join(LINE % (i, i * 53 % 89) for i in range(30, 60))


def test_what_is_measured_is_not_from_a_source_that_is_learnt(tmp_path: Path) -> None:
    sources = [f"someone/{i}" for i in range(12)] + list(primes.NO_LICENCE)
    with lzma.open(tmp_path / "shard", "wt", encoding="utf-8") as shard:
        for source in sources:
            text = f"{source}\n" * 500
            shard.write(json.dumps({"kind": "code", "source": source, "text": text}) + "\n")

    def found(measured: bool) -> set[str]:
        (made,) = primes.texts([tmp_path / "shard"], 99, measured=measured).values()
        return {text.split(b"\n")[0].decode() for text in made}

    learnt, measured = found(False), found(True)
    assert learnt
    assert measured
    assert not learnt & measured
    assert learnt | measured == set(sources) - set(primes.NO_LICENCE)


def test_passages_are_those_that_texts_share_and_each_is_taken_once() -> None:
    rng = random.Random(1)

    def line() -> bytes:
        return bytes(rng.choices(b"abcdefgh", k=256)) + b"\n"

    shared = [line(), line()]
    pool = [line() + shared[i % 2] + line() for i in range(8)]
    assert sorted(primes.passages(pool, 500)) == sorted(shared)
    assert primes.joined({"a": [b"1", b"2", b"3"], "b": [b"x", b"y"]}, 4) == b"2y1x"


def test_the_learner_is_measured_with_and_without_what_it_has_learnt() -> None:
    cold, primed = (primes.sizes(primes.alone(prime), [TEXT, TEXT]) for prime in (b"", OTHER))
    payload = encode(TEXT, Shape.TEXT, 18)
    assert payload is not None
    assert cold == [pytest.approx(len(payload), abs=8)] * 2
    assert primed[0] == primed[1] < cold[0] / 2


def test_beside_a_model_it_is_what_a_prefix_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(str(TINY), threads=1)
    ready = primes.beside(str(TINY), {"all": [TEXT, TEXT[:100]]})
    for prime in (b"", OTHER[:200]):
        measured = primes.sizes(ready(prime), [TEXT, TEXT[:100]])
        level = primes.LEVELS[6]
        window, number = min(level.window, model.max_context), primes.predictor_set(model)
        params = CodingParams(window, number, level.capacity, level.bits)
        payloads = ModelCodec(model, params, prefix=prime, threads=1).encode([TEXT, TEXT[:100]])
        heads = [2, 2]  # bytes in front of the coder's
        assert measured == pytest.approx([len(p) - n for p, n in zip(payloads, heads, strict=True)], abs=1)
