"""The benchmarks of coding: the prior by rule, and what the ablation measures."""

from __future__ import annotations

import pytest
from paths import TINY

from bench.coding.ablation import BITS, CAPACITY, VARIANTS, in_lanes, measure, render
from bench.coding.prior import formula
from nacrith.codec import predictor_set
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.models import load_model

LINE = b"On day %d the ferry carried %d passengers, and the captain said nothing.\n"
TEXT = b"".join(LINE % (i, i * 37 % 91) for i in range(1, 9))


def test_the_rule_gives_probabilities():
    for p, n in (*formula().maps, *formula().corrections):
        assert all(0 < value < 65536 for value in p)
        assert set(n) <= {2, 6}


@pytest.fixture(scope="module")
def model():
    return load_model(str(TINY), threads=1)


def payload(model, number, lanes=1):
    params = CodingParams(model.max_context, number, CAPACITY if number else 0, BITS)
    return len(ModelCodec(model, params, lanes=lanes, lane_size=1).encode([TEXT])[0])


def test_the_ablation_measures_what_the_codec_writes(model):
    sizes = measure(model, TEXT, VARIANTS)
    assert list(sizes) == VARIANTS
    head = 3  # bytes before those of the coder, for one lane of more than 127 tokens
    assert sizes["whole"] == pytest.approx(payload(model, predictor_set(model)) - head, abs=1.5)
    assert sizes["on the model"] == pytest.approx(payload(model, 0) - head, abs=1.5)
    taken = [sizes[name] for name in VARIANTS if name not in ("learner", "nacrith skips")]
    assert len(set(taken)) == len(taken), "what is taken out makes a difference"


def test_the_ablation_measures_lanes(model):
    number = predictor_set(model)
    assert in_lanes(model, TEXT, [1, 4]) == {"1": payload(model, number), "4": payload(model, number, 4)}


def test_the_ablation_shows_what_there_is():
    row = {"file": "a", "bytes": 8, "model": "m", "xz": 4, "sizes": {"model": 200.0, "whole": 100.0}}
    row["sizes"] |= {"no gate": 101.0, "bias": 190.0}
    text = render({"machine": "here", "rows": [row, row | {"file": "b", "sizes": {"1": 50, "4": 51}}]})
    lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    assert ["", "a", "m", "8", "4", "200", "5.00", "", "", "", "", "", "50.00", "", ""] in lines
    assert ["", "a", "m", "8", "4", "100", "", "1.00", "", "", "", ""] in lines
    assert ["", "b", "m", "8", "4", "50", "2.00", ""] in lines
