"""The man pages: one for each command, made with click alone, and clean for groff."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

DOCS = ROOT / "docs"
HEAVY = ("numpy", "torch", "tokenizers", "constriction", "zstandard", "brotli")

sys.path.insert(0, str(DOCS))
import commands  # noqa: E402 - of docs/
import man  # noqa: E402


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as the build of a wheel makes them: without the packages that nacrith needs to run."""
    folder = tmp_path_factory.mktemp("man")
    hide = "".join(f"sys.modules[{name!r}] = None; " for name in HEAVY)
    script = f"import sys, runpy; {hide}sys.argv = ['man.py', {str(folder)!r}]; "
    script += (
        f"sys.path.insert(0, {str(DOCS)!r}); runpy.run_path({str(DOCS / 'man.py')!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    return folder


def test_one_page_for_each_command(pages: Path) -> None:
    names = {page.name.replace(" ", "-") for page in commands.pages()}
    assert {"nacrith", "nacrith-compress", "nacrith-models-pull", "prompt-compress"} <= names
    assert {path.name for path in pages.iterdir()} == {f"{name}.1" for name in names}


@pytest.mark.parametrize("page", list(commands.pages()), ids=lambda page: page.name)
def test_a_page_has_its_parts(page: commands.Page, pages: Path) -> None:
    text = (pages / man.file_name(page)).read_text(encoding="utf-8")
    sections = re.findall(r"^\.SH (.*)$", text, re.M)
    assert sections[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
    assert sections[-1] == "SEE ALSO"
    assert len(re.findall(r"^\.TP$", text, re.M)) == len(page.options) + len(page.below)
    assert page.options


def test_text_is_never_a_request() -> None:
    assert man.roff_text(".br -x \\n") == "\\&.br \\-x \\en"


def test_groff_has_no_complaint(pages: Path) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z", *map(str, pages.iterdir())], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
