"""What several test modules share: which engine is tested, a fake hub, a cache for what is pulled from it.

Whether the native engine must be there is a matter of NACRITH_EXPECT_NATIVE: 1, as .ci/run sets it, or 0. If
it is not set, the engine must be there where an installed nacrith has one. Where it must be and is not, no
test runs: most would pass, and say nothing about the engine that users have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub
from hypothesis import settings
from paths import ROOT

import nacrith
from nacrith.errors import ModelError
from nacrith.models.hub import client as hub
from nacrith.native import loader

# A slow machine fails no test, and what fails fails again. `pytest --hypothesis-profile=deep` looks for
# what these examples do not find.
settings.register_profile("fast", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile("fast")

sys.path.append(str(ROOT))  # bench is not installed; last, so that an installed nacrith stays first


def native_engine() -> tuple[Path | None, str]:
    """The library that the tests use, or else why there is none."""
    try:
        return loader.load().path, ""
    except ModelError as error:
        return None, str(error)


def native_is_expected() -> bool:
    asked = os.environ.get("NACRITH_EXPECT_NATIVE")
    if asked not in (None, "", "0", "1"):
        raise pytest.UsageError(f"NACRITH_EXPECT_NATIVE={asked}: write 1 or 0")
    return asked == "1" if asked else any(path.is_file() for _, path in loader.installed(sys.path))


def pytest_configure() -> None:
    library, why = native_engine()
    if library is None and native_is_expected():
        raise pytest.UsageError(
            f"the native engine is expected and absent: {why}. NACRITH_EXPECT_NATIVE=0 tests without it"
        )


def pytest_report_header() -> list[str]:
    library, why = native_engine()
    kernels = f" ({', '.join(loader.load().kernels())})" if library else ""
    return [
        f"nacrith {nacrith.__version__} of {Path(nacrith.__file__).parent}",
        f"native engine: {f'{library}{kernels}' if library else f'none, its tests are skipped: {why}'}",
    ]


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
