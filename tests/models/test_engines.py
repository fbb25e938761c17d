"""The choice of torch, on machines with and without it; test_native.py has the other two engines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clirunner import PATIENCE
from paths import ROOT
from small_models import TINY

import nacrith
from nacrith.errors import ModelError

LOAD = f"""
import sys
from pathlib import Path
from nacrith.errors import ModelError
from nacrith.models.exact.model import ExactModel
try:
    ExactModel(Path({str(TINY)!r}), threads=1).session()
except ModelError as error:
    print(error)
print("torch" in sys.modules)
"""


def load(tmp_path: Path, engine: str, torch: str) -> list[str]:
    """What LOAD prints where the package torch consists of this source."""
    (tmp_path / "torch.py").write_text(torch)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NACRITH_")}
    environment |= {"NACRITH_ENGINE": engine, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    return done.stdout.splitlines()


def test_torch_is_not_imported_unless_asked_for(tmp_path):
    assert load(tmp_path, "numpy", "raise SystemExit('imported')") == ["False"]


@pytest.mark.parametrize("kind", ["ImportError", "OSError"])
def test_a_torch_that_does_not_load_is_an_error_of_ours(tmp_path, kind):
    message, imported = load(tmp_path, "torch", f"raise {kind}('libcudart.so is missing')")
    assert "libcudart.so is missing" in message
    assert 'pip install "nacrith[torch]"' in message
    assert imported == "False"


def test_asking_for_torch_without_it_is_an_error(monkeypatch):
    monkeypatch.setenv("NACRITH_ENGINE", "torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError, match=r'not installed; pip install "nacrith\[torch\]"'):
        nacrith.engine  # noqa: B018
