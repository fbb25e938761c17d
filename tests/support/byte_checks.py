"""What byte probabilities must be over any model, whatever runs it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from nacrith.bytelevel import END, ByteModel
from nacrith.bytelevel.covering import Node
from nacrith.models.protocol import LanguageModel

TEXT = b"the old doctor's \xe2\x80\x93 1\xff"


def brute_force(model: ByteModel, data: bytes, row: Callable[[list[int]], np.ndarray] | None = None) -> float:
    """P(data): the sum over all covers, each found by a search through all tokens and asked for by itself.

    row: the logits after these tokens, by default from a session of the model.
    """
    alphabet, rules = model.rules.alphabet, model.rules

    def asked(tokens: list[int]) -> np.ndarray:
        return row(tokens) if row else model.model.session(1).extend([tokens])[0][-1]

    def below(node: Node, tokens: list[int]) -> float:
        done = node.end
        if done >= len(data):
            return 1.0
        weights, stop = alphabet.weights(asked(tokens))
        allowed = rules.allowed(node)
        total = float((weights * allowed).sum()) + (stop if rules.can_end(node) else 0.0)
        result = 0.0
        for rank in np.flatnonzero(allowed):
            token = alphabet.token_bytes(rank)
            if token.startswith(data[done:]) or data[done:].startswith(token):
                child = rules.child(node, int(rank))
                assert child is not None
                result += weights[rank] / total * below(child, [*tokens, *alphabet.ids_of(int(rank))])
        return result

    return below(rules.root, [model.model.bos_id])


def properties(language_model: LanguageModel) -> None:
    """The chain rule, equality with brute force, and a text that costs the same in one call and byte by
    byte."""
    model = ByteModel(language_model)
    state, bits = model.start(), []
    for byte in TEXT:
        p = state.next_byte()
        assert p.sum() == pytest.approx(1, abs=1e-9)
        bits.append(-math.log2(p[byte]))
        state.push(byte)
    assert model.start().profile(TEXT) == pytest.approx(bits, abs=1e-6)
    state = model.start()
    state.extend(TEXT[:4])
    base = state.probability().bits
    total = 2.0 ** (base - state.probability_of_end().bits)
    total += sum(2.0 ** -state.score(bytes([b])) for b in range(256))
    assert total == pytest.approx(1, abs=1e-9)
    assert 2.0**-base == pytest.approx(brute_force(model, TEXT[:4]), rel=1e-9)
    assert state.next_byte()[END] == pytest.approx(2.0 ** (base - state.probability_of_end().bits), rel=1e-9)
