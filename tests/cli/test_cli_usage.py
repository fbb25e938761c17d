"""The command line before any file is touched: words, options, environment, start-up cost."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from clirunner import PATIENCE, ROOT, TEXT, environment, nacrith, names

import nacrith as package
from nacrith.cli import options
from nacrith.cli.console import ERROR, MODEL, OK, WARNING, Console, describe_os_error, worst
from nacrith.cli.progress import ProgressBar, duration

HEAVY = {"numpy", "torch", "tokenizers", "constriction", "brotli", "zstandard", "rich"}
HEAVY_OF_PYTHON = {"asyncio", "concurrent", "ctypes", "email", "http", "multiprocessing", "socket", "ssl"}
HEAVY_OF_OURS = {"coder", "learner", "models", "native", "prompt", "training"}
MOST_OF_OURS, MOST = 64, 144  # modules; 53 and 108 now, where numpy alone has 150
MOST_OF_HELP = 24  # 20 now


def loaded(script: str) -> list[str]:
    """All modules that are there when `script` has run in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{script}\nprint('LOADED', *sys.modules)"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
    )
    assert done.stderr == "" or "no-such-option" in done.stderr
    return done.stdout.rpartition("LOADED")[2].split()


@cache
def loaded_by_click() -> frozenset[str]:
    return frozenset(loaded("import click"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["compress", "-h"],
        ["batch", "--help"],
        ["--version"],
        ["--no-such-option"],
        ["info", "ARCHIVE"],
    ],
    ids=" ".join,
)
def test_answers_at_once(arguments: list[str], tmp_path: Path) -> None:
    """A start takes as long as what is imported takes: nothing heavy, and not much of anything."""
    archive = tmp_path / "x.nac"
    archive.write_bytes(nacrith(stdin=TEXT).out)
    modules = set(
        loaded(
            "from nacrith.cli import main\n"
            f"sys.argv = ['nacrith', *{[str(archive) if a == 'ARCHIVE' else a for a in arguments]}]\n"
            "try:\n    main()\nexcept SystemExit:\n    pass"
        )
    )
    ours = {m for m in modules if m.partition(".")[0] == "nacrith"}
    assert ours
    assert not (HEAVY | HEAVY_OF_PYTHON) & modules
    assert not HEAVY_OF_OURS & {m.split(".")[1] for m in ours if "." in m}
    assert len(ours) <= (MOST_OF_HELP if arguments == ["--help"] else MOST_OF_OURS)
    assert len(modules - loaded_by_click()) <= MOST


def test_a_model_in_integers_takes_nothing_for_floats_generation_or_ensembles(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(TEXT)
    run = f"try:\n    main(['-kqf', {str(path)!r}])\nexcept SystemExit as end:\n    assert not end.code"
    modules = loaded(f"from nacrith.cli import main\n{run}")
    assert "nacrith.models.exact.model" in modules
    foreign = ("nacrith.models.floats", "nacrith.decoding", "nacrith.bytelevel")
    assert not [m for m in modules if m.startswith(foreign)]


def test_importing_the_package_is_light() -> None:
    modules = loaded("import nacrith")
    assert "nacrith" in modules
    assert not (HEAVY | HEAVY_OF_PYTHON) & set(modules)


def test_version_names_program_and_format() -> None:
    done = nacrith("-V")
    assert done.code == OK
    assert f"nacrith {package.__version__}\n".encode() in done.out
    assert re.search(rb"writes format \d.* reads format", done.out, re.S)
    assert f'version = "{package.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_help_documents_exit_codes_and_environment() -> None:
    text = nacrith("--help").out.decode()
    for word in ("Exit codes", "NACRITH_LEVEL", "compress", "info", "--rm", "tar -I nacrith"):
        assert word in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bogus"],
        ["-1", "-x"],
        ["--level", "10", "f"],
        ["-T", "-1", "f"],
        ["compress", "--max-size", "1", "f"],
        ["-d", "--max-size", "much", "f"],
        ["--group-size", "much", "f"],
        ["compress", "--group-size", "16383", "f"],
        ["-c", "-o", "g", "f"],
        ["-c", "--rm", "f"],
        ["-o", "g", "f", "f"],
        ["-o"],
        ["batch", "f"],
        ["batch", "--output-dir=o", "--manifest=m"],
        ["batch", "--output-dir=o", "--manifest=m", "--executor=spark", "f"],
    ],
    ids=" ".join,
)
def test_bad_arguments(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(TEXT)
    done = nacrith(*arguments, cwd=tmp_path)
    assert done.code == ERROR
    assert done.out == b""
    assert done.said("nacrith --help")
    assert names(tmp_path) == ["f"]


def _settings(arguments: list[str]) -> options.Settings:
    """What the options of the filter form make of `arguments`."""
    caught: list[options.Settings] = []

    @click.command()
    @options.level_options
    @options.output_options
    @options.threads_option
    @options.model_option
    @options.max_size_option
    @options.message_options
    def command(**values: object) -> None:
        caught.append(options.settings(values))

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return caught[0]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LEVEL", "THREADS", "MODEL"):
        monkeypatch.delenv(f"NACRITH_{name}", raising=False)


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ([], package.COMPRESSION_LEVEL_DEFAULT),
        (["-1"], 1),
        (["-1", "-9"], 9),
        (["-9", "-1", "-9", "-2"], 2),
        (["--level", "4"], 4),
        (["-9", "--level=4"], 4),
        (["--level=4", "-7c"], 7),
    ],
)
def test_last_level_wins(arguments: list[str], level: int) -> None:
    assert _settings(arguments).level == level


def test_last_of_keep_and_rm_wins() -> None:
    assert not _settings([]).remove
    assert _settings(["--rm"]).remove
    assert not _settings(["--rm", "-k"]).remove
    assert _settings(["--keep", "--rm"]).remove


def test_environment_is_a_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NACRITH_LEVEL", "3")
    monkeypatch.setenv("NACRITH_THREADS", "2")
    monkeypatch.setenv("NACRITH_MODEL", "some")
    got = _settings([])
    assert (got.level, got.threads, got.model) == (3, 2, "some")
    got = _settings(["-8", "-T0", "-m", "other"])
    assert (got.level, got.threads, got.model) == (8, None, "other")
    assert got.model_required


@pytest.mark.parametrize("value", ["", "0", "10", "-1", "nine", "5 ", "٣", "9" * 400])
def test_bad_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NACRITH_LEVEL", value)
    assert _settings([]).level == package.COMPRESSION_LEVEL_DEFAULT


def test_bad_environment_is_a_warning() -> None:
    done = nacrith("-c", stdin=b"x", NACRITH_LEVEL="fast", NACRITH_THREADS="-3")
    assert done.code == OK
    assert done.said("NACRITH_LEVEL=fast: not a number from 1 to 9", "NACRITH_THREADS=-3", "ignored")
    assert nacrith("-qc", stdin=b"x", NACRITH_LEVEL="fast") == nacrith("-c", stdin=b"x")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1000", 1000), ("64K", 65536), ("10MiB", 10 << 20), ("2g", 2 << 30), ("5B", 5)],
)
def test_sizes(text: str, size: int) -> None:
    assert _settings(["--max-size", text]).max_size == size


def test_worst_exit_code() -> None:
    assert worst(OK, WARNING) == WARNING
    assert worst(MODEL, WARNING) == MODEL
    assert worst(MODEL, ERROR) == worst(ERROR, MODEL) == ERROR


def test_messages_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error("bad \x1b]0;title\x07\n", "a\nb\x1b[31m\udcff")
    assert capsys.readouterr().err == "nacrith: a\\nb\\x1b[31m\\udcff: bad \\x1b]0;title\\x07\\n\n"
    text = describe_os_error(OSError(28, "No space left on device"), "cannot write x")
    assert text == "cannot write x: no space left on device; free some space and run again"


def test_progress_line() -> None:
    bar = ProgressBar(Console(progress=False), "some/dir/book.txt", 4000)
    assert bar.line(0.0) == "book.txt    0 %"
    bar(1000)
    assert bar.line(2.0) == "book.txt   25 %  0.5 KB/s  6s left"
    unknown = ProgressBar(Console(progress=False), "-", None)
    unknown(3000)
    assert unknown.line(1.0) == "(stdin)  3,000 bytes  3.0 KB/s"
    assert [duration(s) for s in (0.4, 59.6, 184, 3723)] == ["0s", "1:00", "3:04", "1:02:03"]
