"""Rounding with error feedback: never worse than to the nearest, and not rounded again by the conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TINY_HF

from nacrith.models.exact import modelfile
from nacrith.models.sources.safetensors import read_safetensors

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[train]'")

from nacrith.training.lm import checkpoint, export  # noqa: E402
from nacrith.training.lm.rounding import round_weights, rounded_for  # noqa: E402


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 24), st.integers(1, 60), st.integers(0, 99))
def test_outputs_are_never_worse_than_of_rounding_to_the_nearest(rows, columns, tokens, seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=generator)
    inputs = torch.randn(tokens, columns, generator=generator) @ torch.randn(
        columns, columns, generator=generator
    )
    made, share = rounded_for(weight, (inputs.T @ inputs).double())
    scale = weight.abs().amax(1, keepdim=True) / 127
    assert torch.allclose(made / scale, (made / scale).round(), atol=1e-4)
    assert torch.allclose(made.abs().amax(1), weight.abs().amax(1), rtol=1e-6)

    def error(q):
        return float(((weight - q).double() @ inputs.T.double()).square().sum())

    near = (weight / scale).round() * scale
    assert error(made) <= error(near) * (1 + 1e-6)
    assert share <= 1


def test_correlated_inputs_give_much_less_error():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 8, generator=generator) @ torch.randn(8, 48, generator=generator)
    _, share = rounded_for(torch.randn(16, 48, generator=generator), (inputs.T @ inputs).double())
    assert share < 0.3


def test_a_model_is_rounded_once(tmp_path: Path):
    """The integers of the model file represent the rounded weights, and text of the same kind costs less."""
    source = read_safetensors(TINY_HF)
    model = checkpoint.load(source)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 300, (4, 48), generator=generator)
    plain = model(ids)
    assert round_weights(model, ids) < 0.8
    assert not model.quantised
    assert (model(ids) - plain).abs().max() > 0
    export.write_exact(model, checkpoint.tokenizer_of(source), tmp_path / "t.nacm", {"name": "t"})
    file = modelfile.read(tmp_path / "t.nacm")
    read = checkpoint.from_exact(file)
    for name, weight in model.state_dict().items():
        if name.startswith("layers."):
            assert np.allclose(
                read.tensor(name.removesuffix(".weight")), weight.numpy(), rtol=1e-5, atol=1e-9
            )
