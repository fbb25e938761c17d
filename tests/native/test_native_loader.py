"""Where the native library is looked for, and what is said where none fits: made-up trees and sites."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clirunner import PATIENCE
from native_library import needs_library
from paths import ROOT

from nacrith import native
from nacrith.errors import ModelError
from nacrith.native import abi, loader


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree: its package, and the native sources."""
    (tmp_path / "tree" / "nacrith").mkdir(parents=True)
    shutil.copytree(ROOT / "codecs", tmp_path / "tree" / "codecs")
    return tmp_path / "tree"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site-packages folder with an installed nacrith that has no native library."""
    (tmp_path / "site" / "nacrith").mkdir(parents=True)
    info = tmp_path / "site" / "nacrith-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nacrith\nVersion: 0.1.0\n")
    return tmp_path / "site"


def put_library(package: Path, source: Path | None = None) -> Path:
    """The library that the tests use, or another file in its place, as that of `package`."""
    target = package / loader._INSIDE
    target.parent.mkdir()
    shutil.copy(source or native.load().path, target)
    return target


@needs_library
def test_the_library_of_the_package_comes_first(tree: Path, site: Path) -> None:
    put_library(site / "nacrith")
    own = put_library(tree / "nacrith")
    assert loader.find(tree / "nacrith", [str(site)]).path == own
    assert loader.find(site / "nacrith", []).path == site / "nacrith" / loader._INSIDE


@needs_library
def test_a_source_tree_takes_the_installed_library(tree: Path, site: Path) -> None:
    installed = put_library(site / "nacrith")
    if native.load().sources() != loader.fingerprint(ROOT / "codecs"):
        pytest.skip(f"{native.load().path} was not built from the sources beside these tests")
    assert loader.find(tree / "nacrith", [str(site)]).path == installed


@needs_library
def test_not_one_of_other_sources(tree: Path, site: Path) -> None:
    put_library(site / "nacrith")
    with (tree / "codecs" / "engine" / "pool.cpp").open("a") as file:
        file.write("// a change\n")
    with pytest.raises(ModelError, match=r"source tree .*0\.1\.0.* built from other sources; pip install"):
        loader.find(tree / "nacrith", [str(site)])


@needs_library
def test_not_one_of_another_interface(tree: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_library(site / "nacrith")
    monkeypatch.setattr(abi, "VERSION", abi.VERSION + 1)
    with pytest.raises(ModelError, match=r"built from other sources; pip install .*/tree, or"):
        loader.find(tree / "nacrith", [str(site)])


def test_what_is_said_without_any(tree: Path, site: Path) -> None:
    with pytest.raises(ModelError, match=r"neither has nacrith 0\.1\.0, which is installed .* C\+\+ comp"):
        loader.find(tree / "nacrith", [str(site)])
    with pytest.raises(ModelError, match=r"tree .*/tree, .* not installed in this Python; pip install"):
        loader.find(tree / "nacrith", [])
    with pytest.raises(ModelError, match="no native engine; install nacrith again where there is a C"):
        loader.find(site / "nacrith", [str(site)])


@needs_library
def test_a_library_tells_its_sources() -> None:
    assert len(bytes.fromhex(native.load().sources())) == 32


def test_the_fingerprint_knows_names_and_contents(tree: Path) -> None:
    codecs = tree / "codecs"
    before = loader.fingerprint(codecs)
    assert before == loader.fingerprint(ROOT / "codecs")
    (codecs / "notes.md").write_text("no source")
    assert loader.fingerprint(codecs) == before
    (codecs / "api.cpp").rename(codecs / "face.cpp")
    assert loader.fingerprint(codecs) != before


def suite(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """pytest of one small file, as a user starts it."""
    environment = {k: v for k, v in os.environ.items() if k != "NACRITH_EXPECT_NATIVE"} | changes
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        *arguments,
        "tests/house/test_cores.py",
    ]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )


@pytest.mark.parametrize(
    ("expected", "code"), [("1", pytest.ExitCode.USAGE_ERROR), ("0", pytest.ExitCode.OK), ("yes", 4)]
)
def test_the_suite_fails_where_the_engine_is_expected_and_absent(
    tmp_path: Path, expected: str, code: int
) -> None:
    there = {"NACRITH_NATIVE_LIB": str(tmp_path / "none.so"), "NACRITH_EXPECT_NATIVE": expected}
    done = suite("-q", **there)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("expected and absent: " in done.stderr) == (expected == "1")


@needs_library
def test_the_suite_says_which_engine_it_tests() -> None:
    done = suite("--collect-only", NACRITH_NATIVE_LIB=str(native.load().path))
    assert f"native engine: {native.load().path} (" in done.stdout
