"""`nacrith prompt` and `prompt-compress`: streams, options, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from clirunner import COMMAND, MODEL, PATIENCE, ROOT, environment, is_empty, nacrith, wait_until

TEXT = b"""\
The committee met again in the large hall. Many people spoke about the weather and the roads.
The mayor announced that the bridge will be closed. Nobody objected, and everyone went home early.
"""


def test_filter_and_budget() -> None:
    done = nacrith(
        "prompt", "--target-tokens", "60", "--tokenizer", "chars", "--query", "the bridge?", stdin=TEXT
    )
    assert (done.code, done.err) == (0, "")
    assert b"bridge" in done.out
    assert len(done.out) <= 60


def test_a_rate_that_is_exceeded() -> None:
    """Of a chat something of each text is kept, and a warning says by how much; never beyond a target."""
    text = "The bridge is closed for trucks above 12 t, unless the mayor has agreed in writing before."
    chat = json.dumps([{"role": "tool", "content": text}, {"role": "user", "content": "Well?"}])
    options = ("prompt", "--input", "chat", "--tokenizer", "chars")
    done = nacrith(*options, "--part-rate", "tool=0.1", stdin=chat.encode())
    assert done.code == 0
    assert json.loads(done.out)[0]["content"] == text
    found = re.search(r"the result has (\d+) tokens, up to (\d+) more than the rates allow", done.err)
    assert found is not None
    assert int(found[1]) == len(done.out.decode())
    assert int(found[2]) > 50
    assert nacrith(*options, "--part-rate", "tool=1", stdin=chat.encode()).err == ""
    failed = nacrith(*options, "--target-tokens", "90", stdin=chat.encode())
    assert failed.code == 1
    assert failed.said("raise the budget to")


def test_model_and_json(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = nacrith(
        "prompt", "--scorer", "self-information", "-m", MODEL, "--tokenizer", MODEL, "--rate", "0.5",
        "--format", "json", "--stats", "-o", out, "-", stdin=TEXT,
    )  # fmt: skip
    assert done.code == 0
    assert "tokens allowed" in done.err
    result = json.loads(out.read_text())
    text = TEXT.decode()
    kept = "".join(text[s["start"] : s["end"]] for s in result["spans"] if s["kept"])
    assert kept == result["compressed_prompt"]
    assert result["compressed_tokens"] <= result["limit"] <= result["origin_tokens"] / 2


def test_files_share_the_budget_and_reports(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(TEXT)
    (tmp_path / "b").write_bytes(b"Something else entirely. " * 9)
    page = tmp_path / "page.html"
    done = nacrith("prompt", "a", "b", "--rate", "0.3", "--diff", "--html", page, cwd=tmp_path)
    assert done.code == 0
    assert (
        done.out.decode().replace("[-", "").replace("-]", "").encode()
        == TEXT + b"\n\n" + b"Something else entirely. " * 9
    )
    assert page.read_text().startswith("<!DOCTYPE html>")
    again = nacrith("prompt", "a", "--html", page, cwd=tmp_path)
    assert again.code == 1
    assert again.said("exists")
    table = nacrith("prompt", "a", "--explain", cwd=tmp_path).out.decode().splitlines()
    assert len(table) == 1 + len(TEXT.split()) + TEXT.count(b".") + TEXT.count(b",")


def test_chat(tmp_path: Path) -> None:
    messages = [{"role": "tool", "content": TEXT.decode()}, {"role": "user", "content": "And then?"}]
    (tmp_path / "chat.json").write_text(json.dumps(messages))
    done = nacrith("prompt", "--input", "chat", "--part-rate", "tool=0.4", "chat.json", cwd=tmp_path)
    short = json.loads(done.out)
    assert short[1] == messages[1]
    assert len(short[0]["content"]) <= 0.4 * len(TEXT)


def test_errors(tmp_path: Path) -> None:
    for arguments, stdin, words in [
        (
            ["--target-tokens", "3", "--tokenizer", "chars"],
            b"there were 1234 of them",
            ["are allowed", "number"],
        ),
        (["--input", "chat"], b"x", ["not JSON"]),
        (["no-such-file"], b"", ["no such file"]),
        ([], b"\xff\xfe", ["byte 0", "not UTF-8"]),
    ]:
        done = nacrith("prompt", *arguments, stdin=stdin, cwd=tmp_path)
        assert done.code == 1, arguments
        assert done.out == b""
        assert done.said(*words), done.err


def test_fail_open() -> None:
    done = nacrith(
        "prompt",
        "--target-tokens",
        "3",
        "--tokenizer",
        "chars",
        "--on-error",
        "pass",
        stdin=b"there were 1234 of them",
    )
    assert (done.code, done.out) == (0, b"there were 1234 of them")
    assert done.said("left unchanged", "number")


READINGS = "Readings: 1.5, 2.5, 3.5, 4.5, 5.5, 6.5 volts on the bench"


@pytest.mark.parametrize("text", ["yes", "yes.", " yes\n", "12", "\u597d", "no way", READINGS])
def test_short_prompts_are_not_lost(text: str) -> None:
    done = nacrith("prompt", stdin=text.encode())
    assert (done.code, done.err) == (0, "")
    assert done.out.decode() == text


def test_nothing_is_silently_empty() -> None:
    for arguments, text in (
        (["--rate", "0.5"], "yes"),
        (["--rate", "0.4", "--retain", "with_sentence"], READINGS),
    ):
        done = nacrith("prompt", *arguments, stdin=text.encode())
        assert (done.code, done.out) == (1, b"")
        assert done.said("raise the budget to")
        passed = nacrith("prompt", *arguments, "--on-error", "pass", stdin=text.encode())
        assert (passed.code, passed.out) == (0, text.encode())


def test_ends_of_lines_and_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "lf").write_bytes(TEXT)
    (tmp_path / "crlf").write_bytes(b"\xef\xbb\xbf" + TEXT.replace(b"\n", b"\r\n"))
    one, two = (nacrith("prompt", name, "--rate", "0.5", cwd=tmp_path).out for name in ("lf", "crlf"))
    assert one == two
    both = nacrith("prompt", "crlf", "crlf", "--rate", "0.99", cwd=tmp_path).out
    assert both
    assert b"\xef\xbb\xbf" not in both


def test_a_misspelt_part_rate(tmp_path: Path) -> None:
    chat = json.dumps([{"role": "tool", "content": TEXT.decode()}])
    done = nacrith("prompt", "--input", "chat", "--part-rate", "tol=0.3", stdin=chat.encode())
    assert (done.code, done.out) == (1, b"")
    assert done.said("is called 'tol'", "tool")


def run_with_stdin(descriptor: int | None, *arguments: str) -> subprocess.Popen[bytes]:
    """A run with this standard input; None for a closed one."""
    command = [*COMMAND, "prompt", *arguments]
    if descriptor is None:
        command = ["sh", "-c", '"$@" <&-', "sh", *command]
    return subprocess.Popen(
        command, stdin=descriptor, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )


def test_standard_input_that_does_not_wait() -> None:
    """A pipe in non-blocking mode, which has nothing to read for a while: that is not its end."""
    theirs, ours = os.pipe()
    os.set_blocking(theirs, False)
    process = run_with_stdin(theirs, "--rate", "1")
    for part in (TEXT, TEXT.upper()):
        os.write(ours, part)
        wait_until(lambda: is_empty(theirs))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
    os.close(theirs)
    os.close(ours)
    out, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, said) == (0, TEXT + TEXT.upper(), b"")


def test_standard_input_that_is_closed() -> None:
    out, said = (process := run_with_stdin(None)).communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (1, b"")
    assert b"nacrith: " in said
    assert b"bad file descriptor; open the standard stream" in said


def test_one_file_is_missing_among_several(tmp_path: Path) -> None:
    """They are one prompt, so there is no output at all; the message names the file."""
    (tmp_path / "a").write_bytes(TEXT)
    for names in (["a", "missing"], ["missing"]):
        done = nacrith("prompt", *names, "-o", "out", cwd=tmp_path)
        assert done.code == 1
        assert done.said("cannot read missing: no such file")
    assert nacrith("prompt", "a", ".", "-o", "out", cwd=tmp_path).said(". is a directory")
    assert not (tmp_path / "out").exists()


def test_console_script() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["prompt-compress"].partition(":")
    command = [sys.executable, "-c", f"import {module} as m; m.{function}()"]
    done = subprocess.run([*command, "--rate", "0.4"], input=TEXT, capture_output=True, env=environment())
    assert done.returncode == 0
    assert 0 < len(done.stdout) <= 0.4 * len(TEXT)
    shown = subprocess.run([*command, "--help"], capture_output=True, env=environment(), text=True).stdout
    assert shown.startswith("Usage: prompt-compress")
