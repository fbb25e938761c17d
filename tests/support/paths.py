"""Where things lie in the repository: the one place that knows how deep a test stands."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
TINY = DATA / "tiny.nacm"
"""The committed tiny model."""
TINY_HF = DATA / "tiny_hf"
"""The Hugging Face directory that it was converted from."""
FORMATS = ROOT / "formats"
GOLDEN = FORMATS / "golden"
