"""Man pages, one for each command: `python docs/man.py DIR`. The build of a wheel runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import commands

import nacrith


def file_name(page: commands.Page) -> str:
    return f"{page.name.replace(' ', '-')}.1"


def roff(page: commands.Page, others: list[commands.Page]) -> str:
    """The source of a man page. others: all pages, of which the related ones are named."""
    return "\n".join(_lines(page, others)) + "\n"


def _lines(page: commands.Page, others: list[commands.Page]) -> Iterator[str]:
    title = page.name.replace(" ", "-")
    yield f'.TH "{roff_text(title.upper())}" "1" "" "nacrith {nacrith.__version__}" "User Commands"'
    yield from (".SH NAME", f"{roff_text(title)} \\- {roff_text(page.summary)}", ".SH SYNOPSIS")
    for i, usage in enumerate(page.usages):
        yield from ([".br"] if i else [])
        yield roff_text(usage)
    yield ".SH DESCRIPTION"
    for i, paragraph in enumerate(page.description):
        yield from ([".PP"] if i else [])
        yield from (
            (".nf", *map(roff_text, paragraph.text.split("\n")), ".fi")
            if paragraph.verbatim
            else (roff_text(paragraph.text),)
        )
    for heading, entries in (("COMMANDS", page.below), ("OPTIONS", page.options)):
        yield from ([f".SH {heading}"] if entries else [])
        for names, text in entries:
            yield from (".TP", f"\\fB{roff_text(names)}\\fR", roff_text(text))
    for heading, text in page.notes:
        yield from (f".SH {roff_text(heading.upper())}", roff_text(text))
    related = sorted({p.name.replace(" ", "-") for p in others if _related(p.name, page.name)})
    yield from (".SH SEE ALSO", ", ".join(f"\\fB{roff_text(name)}\\fR(1)" for name in related))


def _related(one: str, other: str) -> bool:
    """Whether one is directly above or below the other, or both are the same command."""
    alias = {"prompt-compress", "nacrith prompt"}
    return one != other and (
        {one, other} == alias or one == other.rpartition(" ")[0] or other == one.rpartition(" ")[0]
    )


def roff_text(text: str) -> str:
    """Text in which nothing is a request; hyphens stay hyphens."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def write(directory: Path) -> None:
    """All pages as files."""
    directory.mkdir(parents=True, exist_ok=True)
    found = list(commands.pages())
    for page in found:
        (directory / file_name(page)).write_text(roff(page, found), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
