"""Tests and benchmarks stand where other texts say: a path or a command that is named leads to a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from paths import ROOT, TESTS

FOLDERS = ("bench", "codecs", "docs", "formats", "nacrith", "tests")
MODULES = sorted(path for folder in ("tests", "bench") for path in (ROOT / folder).rglob("*.py"))

TEST = re.compile(r"\btests(?:/\w+)*/\w+\.(?:py|c|json|nacm)\b")
BENCHMARK = re.compile(r"\bbench[./](?!results\b|README\b)(\w+(?:[./][a-z]\w*)*)(?:\.py\b)?")


def texts() -> list[Path]:
    """What people read or tools follow: documents, sources, settings."""
    found = [path for path in ROOT.iterdir() if path.suffix in {".md", ".toml", ".txt", ".yaml"}]
    found += (ROOT / ".ci").iterdir()
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if "data" not in path.parts]
    endings = {".c", ".cpp", ".hpp", ".inl", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
    return [
        path for path in found if path.is_file() and (path.suffix in endings or path.parent.name == ".ci")
    ]


def leads_nowhere(text: str) -> list[str]:
    """The tests and the benchmarks that `text` names and that are not there."""
    lost = [name for name in TEST.findall(text) if not (ROOT / name).is_file()]
    for name in BENCHMARK.findall(text):
        parts = re.split(r"[./]", name.removesuffix(".py"))
        place = ROOT.joinpath("bench", *parts)
        member = place.parent.with_suffix(".py").is_file()  # a function of a module
        if not (place.is_dir() or place.with_suffix(".py").is_file() or member):
            lost.append(f"bench.{name}")
    return lost


def test_what_is_named_is_there() -> None:
    assert len(texts()) > 300
    lost = {str(path.relative_to(ROOT)): leads_nowhere(path.read_text("utf-8")) for path in texts()}
    lost.pop("tests/house/test_paths.py")
    assert {name: found for name, found in lost.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        "run tests/test_store.py",
        "`python -m bench.ratio`",
        "see bench/files/ratios.py",
        "tests/archive/faults.c",
    ],
)
def test_what_leads_nowhere_is_found(text: str) -> None:
    assert len(leads_nowhere(text)) == 1


def test_a_test_module_has_a_folder_and_is_imported_by_none() -> None:
    names = [path.stem for path in TESTS.rglob("test_*.py")]
    assert len(names) == len(set(names))  # pytest imports them by these names
    assert [path.name for path in TESTS.glob("*.py")] == ["conftest.py"]
    importers = [
        path for path in TESTS.rglob("*.py") if re.search(r"^\s*from test_", path.read_text("utf-8"), re.M)
    ]
    assert importers == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file_says_what_it_is_and_its_functions_are_short(path: Path) -> None:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is long"
