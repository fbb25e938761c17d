"""The README agrees with the program: its options are the help text, its commands what CI runs."""

from __future__ import annotations

import ast
import re
import subprocess

import click
import pytest
from paths import ROOT

import nacrith
from nacrith.cli.entry import LATER, group, main_filter

README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def between(start: str, end: str) -> str:
    found = re.search(f"{re.escape(start)}[^\n]*\n(.*?){re.escape(end)}", README, re.S)
    assert found, f"README.md has no section from {start} to {end}"
    return found.group(1)


def options_table(command: click.Command) -> str:
    """The Markdown table of a command's options, as its help shows them but for ranges."""
    context = click.Context(command, **group.context_settings)
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    records = filter(None, (option.get_help_record(context) for option in options))
    value_range = re.compile(r" +\[[^]]*]$")
    rows = [f"| `{names}` | {value_range.sub('', text)} |" for names, text in records]
    return "\n".join(["| option | does |", "|---|---|", *rows, ""])


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def test_options_tables_are_the_help_texts() -> None:
    assert between("<!-- options:", "<!-- end of options -->") == options_table(main_filter)
    common = set(options_table(main_filter).splitlines()[2:])
    own = [line for line in options_table(command("batch")).splitlines() if line not in common]
    table = between("<!-- batch options:", "<!-- end of batch options -->")
    assert table == "\n".join([*own, ""])


@pytest.mark.parametrize("name", ["compress", "decompress", "test", "info"])
def test_commands_are_in_the_readme(name: str) -> None:
    assert command(name).name == name
    assert f"nacrith {name} book.txt" in README


@pytest.mark.parametrize("name", list(LATER))
def test_short_help_of_commands_that_are_imported_later(name: str) -> None:
    assert command(name).get_short_help_str() == LATER[name]


@pytest.mark.parametrize("name", ["list", "pull", "convert", "verify", "rm", "path"])
def test_model_commands_are_in_the_readme(name: str) -> None:
    models = command("models")
    assert isinstance(models, click.Group)
    assert name in models.commands
    assert f"nacrith models {name}" in README


def test_environment_variables_are_in_the_readme() -> None:
    sources = "".join(p.read_text() for p in (ROOT / "nacrith").rglob("*.py"))
    for_developers = {"NACRITH_NATIVE_LIB"}
    assert for_developers <= set(re.findall(r"NACRITH_[A-Z_]+", CONTRIBUTING))
    used = set(re.findall(r"NACRITH_[A-Z_]+", sources)) - for_developers
    assert used == set(re.findall(r"NACRITH_[A-Z_]+", README))


def test_python_example_uses_what_there_is() -> None:
    example = between("```python", "```")
    used = {
        node.attr
        for node in ast.walk(ast.parse(example))
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
    assert done.stdout == 'pip install ".[test,smollm2]" && pytest'


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if not t.startswith("http")]
    assert [t for t in links if not (ROOT / name).parent.joinpath(t).exists()] == []
