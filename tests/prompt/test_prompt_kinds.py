"""What people send, by kind: what must not be lost of it, or stand there without what it belongs to."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise

import pytest

from nacrith.errors import BudgetError
from nacrith.prompt import PromptCompressor
from nacrith.prompt.content import route

RUSTC = (
    "".join(f"   Compiling part{i} v0.{i}.1\n" for i in range(20))
    + "warning: unused variable: `x`\n  --> src/lib.rs:10:9\n   |\n10 |     let x = 5;\n   |         ^\n\n"
    "error[E0382]: borrow of moved value: `v`\n  --> src/main.rs:5:20\n   |\n5  |     show(v);\n   |  ^\n\n"
    "error: could not compile `app` due to 1 previous error; 1 warning emitted\n"
)
NPM = "".join(f"npm http fetch GET 200 https://example.com/p{i} {i}ms\n" for i in range(20)) + (
    "npm warn deprecated old@3.0.2: no longer supported\nnpm error code ERESOLVE\n"
    'npm error Found: react@18.2.0\nnpm error peer react@"^17.0.0" from old-widget@2.1.0\n'
)
GCC = "".join(f"[{i}/20] Building C object part{i}.o\n" for i in range(19)) + (
    "src/main.c:10:5: error: expected ';' before 'return'\n   10 |     return x\n      |     ^~~~~~\n"
    "make: *** [Makefile:3: main.o] Error 1\n"
)
JS = "TypeError: Cannot read properties of undefined (reading 'total')\n" + "".join(
    f"    at sum{i} (/srv/app/cart{i}.js:{i + 4}:13)\n" for i in range(12)
)
GO = (
    "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\n"
    + "".join(f"main.f{i}(0xc000{i:02})\n\t/srv/app/main.go:{10 + i} +0x1d\n" for i in range(9))
    + "exit status 2\n"
)
RUST = "thread 'main' panicked at src/main.rs:4:5:\nattempt to divide by zero\nstack backtrace:\n" + "".join(
    f"  {i:2}: core::f{i}\n             at /lib/core/f.rs:{250 + i}:5\n" for i in range(10)
)
FAILURES = {
    "rustc": (RUSTC, ["error[E0382]: borrow of moved value: `v`", "error: could not compile"]),
    "npm": (NPM, ["ERESOLVE", "npm error peer react"]),
    "gcc": (GCC, ["src/main.c:10:5: error: expected"]),
    "js": (JS, ["TypeError: Cannot read properties of undefined"]),
    "go": (GO, ["panic: runtime error: index out of range [5]"]),
    "rust": (RUST, ["thread 'main' panicked", "attempt to divide by zero"]),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("rate", [0.5, 0.33])
def test_what_failed_stays(name: str, rate: float) -> None:
    text, needed = FAILURES[name]
    found = route(text)
    assert found is not None
    assert found.kind == "log"
    made = PromptCompressor(tokenizer=len).compress(text, rate=rate).text
    for words in needed:
        assert words in made
    assert re.search(r"\[\d+ of \d+ lines left out", made)


def test_prose_with_an_error_is_no_output_of_a_build() -> None:
    text = (
        "error: this word began the mail.\nThe machine stopped again on Monday.\nWe called the service.\n"
        "They said that nobody would come before Friday.\nPlease find out who is on duty.\n"
    )
    assert route(text) is None


MANUAL = """\
LS(1)                            User Commands                           LS(1)

NAME
       ls - list directory contents

SYNOPSIS
       ls [OPTION]... [FILE]...

DESCRIPTION
       List information about the files, the current directory by default.

       -a, --all
              do not ignore entries starting with .

       -A, --almost-all
              do not list implied . and ..

       -r, --reverse
              reverse order while sorting

AUTHOR
       Written by many people over the years.
"""
USAGE = """\
Usage: tool [OPTIONS] FILE

Options:
  -f, --force
      overwrite files that exist
  -n, --dry-run
      change nothing, only tell what would be done
  --level N
      how hard to try, from 1 to 9

Commands:
  list
      show what is there
"""


@pytest.mark.parametrize("text", [MANUAL, USAGE])
def test_an_explanation_keeps_its_option(text: str) -> None:
    content = route(text)
    assert content is not None
    assert content.kind == "manual"
    lines = [line for line in text.splitlines() if line.strip()]
    for rate in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        for query in ("", "reverse the order, dry run"):
            made = PromptCompressor(tokenizer=len).compress(text, rate=rate, query=query).text.splitlines()
            for above, line in pairwise(lines):
                if above.strip().startswith("-") and line in made:
                    assert above in made


YAML = """\
x-common: &common
  restart: always
services:
  web:
    <<: *common
    image: "nginx:1.25"
    ports: ["80:80"]
  db:
    <<: *common
    image: postgres:16
    environment:
      POSTGRES_DB: shop
  worker:
    image: shop/worker:3
    deploy:
      replicas: 4
"""


@pytest.mark.parametrize("query", ["", "Which image does the database use?", "replicas"])
def test_an_alias_keeps_its_anchor(query: str) -> None:
    for rate in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        made = PromptCompressor(tokenizer=len).compress(YAML, rate=rate, query=query).text
        assert "x-common: &common" in made


LISTS = """\
# How to install

- Install
  - On Linux run the package manager.
  - On macOS do **not** use Homebrew, which ships an old build.
    1. Download the archive from the site.
    2. Verify the sum of it with the tool.
- Upgrade
  - Back up the database before anything else.

The loss of the model is

$$
x^2 + y^2 = z^2
$$

and it becomes smaller while the model learns what the texts have in common.
"""


def test_an_item_stays_under_its_item_and_mathematics_whole() -> None:
    above = {
        "1. Download": "On macOS do **not** use Homebrew, which ships an old build.",
        "2. Verify": "On macOS do **not** use Homebrew, which ships an old build.",
        "On macOS": "- Install",
        "Back up": "- Upgrade",
    }
    seen = set()
    for hundredths in range(20, 95, 5):
        for query in ("", "Verify the sum"):
            compressor = PromptCompressor(tokenizer=len)
            made = compressor.compress(LISTS, kind="markdown", rate=hundredths / 100, query=query).text
            for inner, outer in above.items():
                assert (inner in made) <= (outer in made), made
                seen |= {inner} if inner in made else set()
            assert ("x^2" in made) == ("$$\nx^2 + y^2 = z^2\n$$" in made)
    assert len(seen) == 4


def test_a_key_is_kept_or_dropped_whole() -> None:
    rng = random.Random(0)
    lines = ["".join(rng.choices("abcDEF012+/", k=64)) for _ in range(8)]
    key = "-----BEGIN CERTIFICATE-----\n" + "\n".join(lines) + "\n-----END CERTIFICATE-----"
    text = f"The service uses this one, as far as we know:\n\n{key}\n\nIt was issued by us. It is old."
    for rate in (0.1, 0.3, 0.5, 0.8, 0.95):
        made = PromptCompressor(tokenizer=len).compress(text, rate=rate).text
        assert ("BEGIN" in made) == (key in made)
        assert ("END" in made) == (key in made)


MAIL = """\
Hi all,

please do NOT ship before Friday; the papers are missing.

Best,
Ana

On Sun, Bob wrote:
> Hello Ana,
> can we ship on Wednesday? The truck is booked.
>
>> The pallets are ready. There are 14 of them. Each has at most 300 kg.
>
> Regards, Bob
"""


def test_who_said_it() -> None:
    """A sentence of a quoted mail has the mark of its line."""
    marks = {
        "can we": "> ",
        "The truck": "> ",
        "The pallets": ">> ",
        "There are 14": ">> ",
        "Each has": ">> ",
    }
    for hundredths in range(20, 95, 5):
        made = PromptCompressor(tokenizer=len).compress(MAIL, rate=hundredths / 100, query="pallets").text
        for words, mark in marks.items():
            for line in made.splitlines():
                assert words not in line or line.startswith(mark)


def test_small_inputs_and_none() -> None:
    compressor = PromptCompressor(tokenizer=len)
    for text in ("", "   \n\n \t\n", "👍", "Why?"):
        assert compressor.compress(text).text == text
    for text in ("👍", "Why?"):
        with pytest.raises(BudgetError) as error:
            compressor.compress(text, rate=0.2)
        assert error.value.smallest == len(text)


def test_chats_with_empty_and_missing_contents() -> None:
    """What was there stays there, and what was empty stays empty."""
    long = "Ships may not enter after 22:00. The weather was fine. Fees are 12 EUR a night for all of them."
    chat = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "And the fee?"}, {"type": "image"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": '{"q": "fees"}'}}]},
        {"role": "tool", "content": long},
        {"role": "tool", "content": ""},
        {"role": "tool", "content": []},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Well?"},
    ]
    for rate in (0.8, 0.5, 0.2):
        made = json.loads(
            PromptCompressor(tokenizer=len).compress(json.dumps(chat), kind="chat", rate=rate).text
        )
        assert made[:2] + made[3:] == chat[:2] + chat[3:]
        assert made[2]["content"]
