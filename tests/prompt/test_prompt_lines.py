"""Ends of lines, byte order mark, headings and fences of Markdown; and that no rule is slow on any text."""

from __future__ import annotations

import json
import time

import pytest
from prompt_texts import CODE, ENGLISH

from nacrith.prompt import PromptCompressor, compress_prompt
from nacrith.prompt.markup import fences, headings, tables
from nacrith.prompt.meaning import hits
from nacrith.prompt.protect import protected
from nacrith.prompt.segment import passage

MARKDOWN = f"""\
---
title: Notes of the harbour
allowed: everything that is not forbidden here
---

# First part of the notes

{ENGLISH}
{CODE}
Second part
-----------

The last paragraph says that the work was good. The people were happy. It was finished in the end.
"""


def windows(text: str) -> str:
    return text.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.5},
        {"rate": 0.5, "kind": "markdown"},
        {"rate": 0.4, "kind": "markdown", "rates": {"second*": 0.3}},
        {"rate": 0.6, "prefix_stable": True},
        {"rate": 0.6, "kind": "markdown", "prefix_stable": True},
    ],
)
@pytest.mark.parametrize("scorer", ["auto", "random"])
def test_ends_of_lines_change_nothing(options: dict[str, object], scorer: str) -> None:
    one = PromptCompressor(scorer, len).compress(MARKDOWN, **options)  # type: ignore[arg-type]
    two = PromptCompressor(scorer, len).compress(windows(MARKDOWN), **options)  # type: ignore[arg-type]
    marked = PromptCompressor(scorer, len).compress("\ufeff" + windows(MARKDOWN), **options)  # type: ignore[arg-type]
    assert one.text == two.text == marked.text != MARKDOWN
    for result in (two, marked):
        assert "".join(result.origin[u.start : u.end] for u in result.units) == result.origin
        assert "".join(result.origin[u.start : u.end] for u in result.units if u.kept) == result.text
    assert two.origin == windows(MARKDOWN)


def test_what_is_left_alone_keeps_its_ends_of_lines() -> None:
    text = windows(ENGLISH)
    result = PromptCompressor().compress("\ufeff" + text, rate=1.0)
    assert (result.text, result.note) == (text, "within the budget")
    assert "".join(result.origin[u.start : u.end] for u in result.units if u.kept) == text


def test_ends_of_lines_in_strings_and_contexts() -> None:
    chat = [{"role": "tool", "content": windows(ENGLISH)}]
    made = [
        PromptCompressor().compress(source, kind="chat", rates={"tool": 0.5}, prefix_stable=False).text
        for source in (json.dumps(chat), json.dumps(chat).replace("\\r", ""))
    ]
    assert json.loads(made[0])[0]["content"].replace("\r", "") == json.loads(made[1])[0]["content"]
    results = [compress_prompt([text, text], rate=0.5) for text in (ENGLISH, windows(ENGLISH))]
    assert results[0] == results[1]


def test_markdown_keeps_its_frame() -> None:
    short = (
        PromptCompressor("random", protect="none").compress(windows(MARKDOWN), rate=0.5, kind="markdown").text
    )
    assert short.startswith(MARKDOWN[: MARKDOWN.index("The Normans")])
    assert "\n\nSecond part\n-----------\n\n" in short


def test_headings() -> None:
    text = "One\n===\n\ntext\n\n## Two ##\n\na | b\n--- | ---\n\n```\n# no\nno\n===\n```\n\n"
    text += "long\nparagraph\n---\n\n- x\n---\n"
    assert [h.title for h in headings(text)] == ["One", "Two"]
    assert [text[h.start : h.end] for h in headings(text)] == ["One\n===", "## Two ##"]


def test_fences() -> None:
    text = "```a```\nx\n\n````\n```\n````\n\n  ~~~ py\n```\n~~~\n> ```\n> q\n> ```\n```"
    assert [text[a:b] for a, b in fences(text)] == [
        "````\n```\n````",
        "  ~~~ py\n```\n~~~",
        "> ```\n> q\n> ```",
        "```",
    ]


def test_tables() -> None:
    text = "x\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3 | 4 |\n\na | b\n--|--\n\n|---|\n"
    found = tables(text)
    assert [text[slice(*t.head)] for t in found] == ["| a | b |\n|---|:-:|", "a | b\n--|--"]
    assert [text[slice(*row)] for row in found[0].rows] == ["| 1 | 2 |", "| 3 | 4 |"]


PIECES = [
    *(
        "a-b-",
        "a.b.",
        "a+",
        "[",
        "{",
        "`",
        "` `` ",
        "a_",
        '"',
        "<a ",
        ".",
        "a.b@",
        "-",
        "/a",
        "no ",
        "{%",
        "<!--",
    ),
    *(
        "“",
        "{{",
        "x ",
        "(",
        "1 ",
        "1,",
        "not ",
        "three ",
        "![",
        "[a](",
        "|",
        "| a ",
        "$",
        "&",
        "{a}",
        "%(",
        "'a ",
    ),
    *(
        "中",
        "不",
        "は",
        "لا ",
        "12 March ",
        "at most ",
        "n't ",
        "www.",
        "a://",
        "1+",
        "a:",
        "- - ",
        "~~~ ",
        "* ",
    ),
    *(
        "{#",
        "<% ",
        "«",
        "' ",
        "’",
        "z. ",
        "20. ",
        "no\n",
        "# x\n",
        "```\n",
        "a\n--\n",
        "\n",
        "|-\n",
        "1. a\n",
    ),
]


@pytest.mark.parametrize("piece", PIECES)
def test_time_is_linear(piece: str) -> None:
    """Four times the text takes about four times as long; what is quadratic takes sixteen times."""

    def seconds(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        begin = time.process_time()
        protected(text, read=passage(text))
        headings(text)
        return time.process_time() - begin

    small = max(seconds(3_000), seconds(3_000), 0.03)
    assert min(seconds(12_000) for _ in range(3)) < 10 * small


def test_a_letter_is_looked_up_a_bounded_number_of_times() -> None:
    """No entry of the tables makes hits multiply."""
    text = "if not only unless never hardly " * 1000
    assert len(hits(text)) < 10 * 6 * 1000


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("All ended. 9. Fees are due in May. 9.1. No fee is due at sea.", 3),
        ("I. The fee is due. II. It is 5 EUR. a. It is paid in cash.", 3),
        ("He has 9. She has none.", 2),
        ("The sum is due.\n9.\nFees are due.", 3),
    ],
)
def test_the_number_of_a_sentence_belongs_to_it(text: str, sentences: int) -> None:
    """A lone "9." was kept without what it counts."""
    assert len(passage(text).sentences) == sentences


def test_no_lone_words_where_a_sentence_is_kept() -> None:
    """Of "The disk holds 2 TB and reads 550 MB/s." remained "The disk 2 TB 550 MB/s"."""
    text = (
        "Give the patient 5 mg of the drug every 8 hours, at most 40 mg a day. The disk holds 2 TB and reads "
        "550 MB/s. The fee is EUR 1,250.50 plus 19 % tax, due on 3 March 2025 at 14:30 CET. "
        "Version 2.10.3 is old."
    )
    whole = [passage(text).sentence_text(i) for i in range(4)]
    for target in range(110, len(text)):
        made = PromptCompressor("lexrank", len).compress(text, target_tokens=target).text
        assert "The disk" not in made or "The disk holds 2 TB" in made
        assert whole[0] in made
