"""Every command and snippet of README.md and docs/ runs, or says why it cannot and is still checked.

A page's `sh` and `python` blocks run in the order of the page, in a directory of its own with the files that
the examples name. Two comments above a block change that: `<!-- not run: REASON -->`, and
`<!-- needs: PACKAGE -->` for a block that runs only where a package is installed. Whether a block runs or
not, its nacrith commands must be known to click, its extras to pyproject.toml.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import click
import pytest
from clirunner import PATIENCE, environment
from paths import ROOT, TINY_HF

from nacrith.cli.entry import group
from nacrith.cli.groups import FilterGroup
from nacrith.cli.prompt import command as prompt_command

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "pages").rglob("*.md"))]

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.M | re.S)
_MARK = re.compile(r"<!-- (not run|needs): (.+?) -->")
_INLINE = re.compile(r"`((?:nacrith|prompt-compress) [^`]+)`")

NOT_RUN = {
    "README.md": 2,
    "bytes.md": 1,
    "generating.md": 3,
    "getting-started.md": 4,
    "many-files.md": 3,
    "models.md": 3,
    "prompt-proxy.md": 3,
    "prompts.md": 1,
    "python.md": 1,
    "training.md": 4,
}
"""How many blocks of a page are not run: a further one is a decision, not an accident."""


@dataclass(frozen=True)
class Block:
    """A fenced block. not_run: why, or empty. needs: a package, or empty."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str
    needs: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        marks = {}
        for line in reversed(text[: fence.start()].splitlines()):
            if not line.startswith("<!-- "):
                break
            marks |= {kind: value for kind, value in _MARK.findall(line)}
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, fence[1], fence[2], marks.get("not run", ""), marks.get("needs", "")))
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nacrith and prompt-compress as the shell finds them."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("nacrith", "nacrith.cli"), ("prompt-compress", "nacrith.cli.prompt")):
        program = folder / name
        code = f'import sys; sys.argv[0] = "{name}"; from {module} import main; main()'
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
        program.chmod(0o755)
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A directory with the files that the examples name."""
    prose = "It was late in the autumn when the old doctor came back to the village.\n"
    texts = {
        "book.txt": prose * 3,
        "notes.txt": prose,
        "earlier.jsonl": '{"user": 17, "status": "ok"}\n' * 9,
        "message.json": '{"user": 29, "status": "ok"}\n',
        "today.log": "12:00 started\n" * 20,
        "notes/one.txt": prose,
        "corpus/a/b.txt": prose * 2,
        "corpus/c.txt": prose,
        "logs/first.log": "12:00 started\n" * 200,
        "logs/old/second.log": "12:00 stopped\n" * 200,
        "prompt.txt": prose * 3,
        "page1.txt": f"{prose}He founded the hospital in 1911.\n",
        "page2.txt": f"{prose}Nobody had expected him.\n",
        "messages.json": '[{"role": "tool", "content": "%s"}, {"role": "user", "content": "Who?"}]'
        % (prose.strip() * 3),
    }
    for name, text in texts.items():
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(TINY_HF / "tokenizer.json", tmp_path / "files")
    return tmp_path / "files"


def run(arguments: list[str], where: Path, programs: Path) -> None:
    home = where.parent
    changes = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "NACRITH_MODEL_DIR": str(home / "cache"),
    }
    done = subprocess.run(
        arguments, cwd=where, env=environment(**changes), timeout=PATIENCE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def runnable(page: Path) -> Iterator[tuple[str, str]]:
    """(language, script) of what runs on a page, neighbours of a language together."""
    chosen = []
    for block in blocks(page):
        if block.language not in ("sh", "python") or block.not_run:
            continue
        if block.needs and importlib.util.find_spec(block.needs) is None:
            continue
        chosen.append(block)
    for language, same in groupby(chosen, lambda block: block.language):
        yield language, "\n".join(block.text for block in same)


@pytest.mark.parametrize("page", [p for p in PAGES if any(runnable(p))], ids=lambda p: p.name)
def test_what_a_page_shows_runs(page: Path, scratch: Path, programs: Path) -> None:
    for language, script in runnable(page):
        if language == "sh":
            run(["bash", "-euo", "pipefail", "-c", script], scratch, programs)
        else:
            run([sys.executable, "-c", script], scratch, programs)


@pytest.mark.parametrize("needed", sorted({block.needs for block in BLOCKS if block.needs}))
def test_packages_that_examples_need(needed: str) -> None:
    """Shows in the report which examples did not run for the lack of a package."""
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"examples that need {needed} did not run: it is not installed")


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_of_a_kind_that_is_checked(block: Block) -> None:
    assert block.language in ("sh", "python", "text")
    assert not (block.language == "text" and words(block.text)), "a command: make the block sh"
    if block.language == "python":
        ast.parse(block.text)


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    silent = [block for block in BLOCKS if block.not_run]
    count = {name: sum(block.page.name == name for block in silent) for name in {b.page.name for b in silent}}
    assert count == NOT_RUN


# --- commands, run or not ------------------------------------------------------------------------------


def words(script: str) -> list[list[str]]:
    """The words of each call of nacrith or prompt-compress in a script, also within quotes."""
    calls: list[list[str]] = []
    script = re.sub(r"(^|\s)#.*", r"\1", script.replace("\\\n", " "))
    lexer = shlex.shlex(script, posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split = " \t", True
    current: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&\n"):
            while current and re.fullmatch(r"[A-Z_]+=\S*", current[0]):
                del current[0]
            if current and current[0] in ("nacrith", "prompt-compress"):
                calls.append(current)
            current = []
        else:
            current.append(word)
            nested = re.search(r"nacrith .*", word)
            calls += words(nested[0].rstrip(")")) if nested else []
    return calls


def check(call: list[str]) -> None:
    """Raises click.UsageError for what click would refuse; a missing argument is fine in running text."""
    if "--completion" in call:  # would print
        return
    name, rest = call[0], call[1:]
    command: click.Command = group if name == "nacrith" else prompt_command
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), rest[0]) if rest else None
        if found is None and not isinstance(command, FilterGroup):
            return
        command, rest = (found, rest[1:]) if found is not None else (command.filter_command, rest)
    with (
        contextlib.suppress(click.exceptions.Exit, click.MissingParameter),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        command.make_context(name, rest, **group.context_settings)


def check_all(script: str) -> None:
    for call in words(script):
        check(call)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh"], ids=str)
def test_click_knows_the_commands(block: Block) -> None:
    check_all(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_click_knows_the_commands_in_running_text(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for code in _INLINE.findall(text):
        check_all(code)


def test_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra
        for page in PAGES
        for group in re.findall(r"pip install \"(?:\.|nacrith)\[([^]]+)\]", page.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    assert named
    assert named <= set(extras)


@pytest.mark.parametrize(
    "script",
    [
        "nacrith compress --no-such-option book.txt",
        "cat x | nacrith -0",
        "NACRITH_LEVEL=3 nacrith models pull --revision x y",
        "sbatch --wrap 'nacrith batch corpus --shards 3'",
        "nacrith -l a && prompt-compress --budget 3",
    ],
)
def test_a_wrong_command_is_found(script: str) -> None:
    with pytest.raises(click.UsageError):
        check_all(script)
