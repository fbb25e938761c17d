"""What makes a step of training faster changes nothing that is learnt."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")

# While torch compiles, it warns of what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore")

from nacrith.training.lm import machine  # noqa: E402
from nacrith.training.lm.llama import Llama, Shape  # noqa: E402


def small() -> Llama:
    model = Llama(Shape(2, 96, 400, width=64, heads=4, kv_heads=2, head_dim=16, max_context=64))
    model.initialise(1)
    return model


def test_a_compiled_model_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As traced for compiling, rounded or not; what a C++ compiler makes of that is torch's care."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    rows = torch.randint(400, (2, 33), generator=torch.Generator().manual_seed(1))
    plain, compiled = small(), small()
    compiled.compile_layers()
    for quantised in (False, True):
        for model in (plain, compiled):
            model.zero_grad()
            model.quantise(quantised)
            model.loss(rows).backward()
        for ours, theirs in zip(compiled.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-2, atol=1e-4)


def test_without_a_compiler_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fails)
    assert not machine.compiles()
