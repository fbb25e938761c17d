"""`nacrith --completion`: the scripts are click's, and a shell completes with them."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class
from clirunner import environment, nacrith

from nacrith.cli.completion import SHELLS
from nacrith.cli.entry import LATER, group


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_what_click_generates(shell: str) -> None:
    done = nacrith("--completion", shell)
    generated = get_completion_class(shell)(group, {}, "nacrith", "_NACRITH_COMPLETE").source()
    assert (done.code, done.err) == (0, "")
    assert done.out.decode().strip() == generated.strip()
    assert "_NACRITH_COMPLETE" in generated


def test_another_shell_is_refused() -> None:
    done = nacrith("--completion", "ksh")
    assert done.code == 1
    assert done.said("ksh", "bash", "zsh", "fish")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which the shell finds nacrith."""
    program = tmp_path / "nacrith"
    code = "import sys; sys.argv[0] = 'nacrith'; from nacrith.cli import main; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}:/usr/bin:/bin"


def complete(path: str, *words: str) -> list[str]:
    """What bash proposes for the last of the words behind nacrith."""
    script = (
        'eval "$(nacrith --completion bash)"; compopt() { :; }; '
        f"COMP_WORDS=(nacrith {shlex.join(words)}); COMP_CWORD={len(words)}; "
        '_nacrith_completion nacrith; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, env=environment(PATH=path)
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        ([""], sorted([*group.commands, *LATER])),
        (["compr"], ["compress"]),
        (["--force"], ["--force", "--force-backend"]),
        (["--backend", "l"], ["llama.cpp"]),
        (["models", "p"], ["path", "pull"]),
        (["prompt", "--scorer", "lex"], ["lexrank"]),
        (["compress", "--back"], ["--backend"]),
        (["compress", "b"], []),  # a file: the shell's own business
    ],
)
def test_bash_completes(path: str, words: list[str], proposed: list[str]) -> None:
    assert complete(path, *words) == proposed


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_the_script(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = nacrith("--completion", shell).out
    done = subprocess.run([shell, "-n"], input=script, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
