"""Fixtures that several test modules share: a fake hub, and a cache for what is pulled from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub

from nacrith.models import hub


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "NACRITH_OFFLINE", "NACRITH_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(hub, "BACKOFF", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def fake(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    server = FakeHub()
    monkeypatch.setenv("HF_ENDPOINT", server.address())
    yield server
    server.close()
