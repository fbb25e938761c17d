"""README.md and docs/ agree with the program: options, environment, figures, links. `test_docs_run` runs
their examples."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from paths import ROOT

import nacrith
import nacrith.prompt
from nacrith import settings
from nacrith.cli.entry import LATER, group, main_filter
from nacrith.cli.groups import FilterGroup

DOCS = ROOT / "docs"
PAGES = sorted((DOCS / "pages").rglob("*.md"))
TEXTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")),
    *PAGES,
]
README = (ROOT / "README.md").read_text(encoding="utf-8")

sys.path.insert(0, str(DOCS))
import commands  # noqa: E402 - of docs/, beside hooks.py, which imports it in this way
import figures  # noqa: E402
import hooks  # noqa: E402
import reference  # noqa: E402


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


# --- reference -----------------------------------------------------------------------------------------


def test_every_command_has_a_section() -> None:
    names = [*group.commands, *LATER]
    for parent in ("models", "prompt"):
        above = command(parent)
        assert isinstance(above, click.Group)
        names += [f"{parent} {name}" for name in above.list_commands(click.Context(above))]
    assert {p.name for p in commands.pages()} == {
        "nacrith",
        "prompt-compress",
        *(f"nacrith {n}" for n in names),
    }


def test_the_reference_is_the_help_text() -> None:
    context = click.Context(main_filter, info_name="nacrith", terminal_width=200, **group.context_settings)
    shown = main_filter.get_help(context)
    page = next(commands.pages())
    for names, text in page.options:
        assert re.search(rf"^  {re.escape(names)} +{re.escape(text.split(' [')[0])}", shown, re.M)
    rows = len(re.findall(r"^  -", shown, re.M))
    assert rows == len(page.options)
    assert {name for name, _ in page.below} == {*group.commands, *LATER}
    assert [title for title, _ in page.notes] == ["Environment", "Exit codes"]


def test_generated_text_is_no_markup() -> None:
    text = reference.command_line()
    assert "[1&lt;=x&lt;=9\\]" in text
    assert "OWNER/NAME\\[@REVISION\\]" in text
    assert "### nacrith" not in text


@pytest.mark.parametrize("module", [nacrith, nacrith.prompt], ids=lambda m: m.__name__)
def test_every_public_name_has_a_section(module: object) -> None:
    name = module.__name__
    text = hooks.on_page_markdown(f"before\n<!-- generated: {name} -->\nafter")
    assert re.findall(r"^### (\S+)$", text, re.M) == [f"{name}.{public}" for public in module.__all__]
    for part in text.split("### ")[1:]:
        assert len(part.split()) > 5, "a public name without a docstring"


def test_parameters_become_a_list() -> None:
    def function(data: bytes, *, level: int | None = None) -> bytes:
        """Compress.

        level: 1 to 9,
            or None.
        data: what to compress.
        """

    assert reference.signature("f", function) == "f(data: bytes, *, level: int | None = None) -> bytes"
    lines = ["Compress.", "", "- `level`: 1 to 9, or None.", "- `data`: what to compress."]
    assert reference.docstring(function) == "\n".join(lines)


def test_only_known_texts_are_generated() -> None:
    with pytest.raises(ModuleNotFoundError):
        hooks.on_page_markdown("<!-- generated: nonsense -->")


@pytest.mark.parametrize("above", [group, command("prompt")], ids=["nacrith", "prompt"])
def test_short_help_of_commands_that_are_imported_later(above: FilterGroup) -> None:
    assert above.later
    for name, text in above.later.items():
        found = above.get_command(click.Context(above), name)
        assert found is not None
        assert found.get_short_help_str(100) == text


# --- facts ---------------------------------------------------------------------------------------------


def test_environment_variables_are_in_one_table() -> None:
    page = (DOCS / "pages" / "environment.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([A-Z_]+)` \|", page, re.M)
    assert len(table) == len(set(table))
    assert {*table, *re.findall(r"`(SLURM_[A-Z_]+)`", page)} == set(settings.VARIABLES)
    sources = "".join(p.read_text() for p in (ROOT / "nacrith").rglob("*.py"))
    ours = {name for name in table if name.startswith(("NACRITH_", "HF_"))}
    assert ours == set(re.findall(r"\b(?:NACRITH|HF)_[A-Z_]+", sources))
    for path in TEXTS:
        named = set(re.findall(r"\bNACRITH_[A-Z_]+", path.read_text(encoding="utf-8")))
        if relative(path) not in ("CHANGELOG.md", "bench/README.md"):
            assert named - {"NACRITH_NATIVE", "NACRITH_CHECK", "NACRITH_EXPECT_NATIVE"} <= ours, (
                "a variable that the table lacks"
            )


def test_options_that_are_named_exist() -> None:
    known = {
        part for page in commands.pages() for names, _ in page.options for part in re.split(r"[ ,/]+", names)
    }
    known |= {f"-{level}" for level in range(1, 10)}
    for path in [ROOT / "README.md", *PAGES]:
        named = re.findall(r"`(--?[\w-]+)[^`]*`", path.read_text(encoding="utf-8"))
        assert set(named) <= known, relative(path)


def test_readme_is_short() -> None:
    assert README.count("\n") <= 150


def test_figures_of_the_readme_are_those_measured() -> None:
    assert figures.replaced(README) == README
    assert figures.table() in README
    assert figures.replaced(README.replace(figures.table(), "1 |")) == README


def test_python_example_uses_what_there_is() -> None:
    example = re.search(r"```python\n(.*?)```", README, re.S)
    assert example
    used = {
        node.attr
        for node in ast.walk(ast.parse(example[1]))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "nacrith"
    }
    assert used
    assert used <= set(nacrith.__all__)


def test_version_is_one() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert f'\nversion = "{nacrith.__version__}"\n' in project
    assert f"\n## [{nacrith.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    line = next(x for x in script.splitlines() if x.startswith("test_command="))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f'{line}; printf "%s" "$test_command"'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == 'pip install ".[test,smollm2]" && pytest -n 2 --dist worksteal'


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [t for t in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if not t.startswith("http")]
    assert [t for t in links if not path.parent.joinpath(t).exists()] == []


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=relative)
def test_files_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:nacrith|codecs|formats|tests|bench|docs|\.ci)/[\w./-]*)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"[\w/-]+\.md", (DOCS / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(str(page.relative_to(DOCS / "pages")) for page in PAGES)
