"""The generated pages of the documentation: the command line, and the Python interface from its docstrings.

A docstring of this project is prose, in which a paragraph of `name: text` lines describes parameters; no
plugin that we know reads that form, nor commands that are imported when they are called.
"""

from __future__ import annotations

import html
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import commands

_PARAMETERS = re.compile(r"[a-z_]+(, [a-z_]+)*: ")
_COMMA = re.compile(r", (?![^\[(]*[\])])")  # between parameters, not inside brackets
_ANNOTATION = re.compile(r"(: |-> )'([^']*)'")

CONSTANTS = {
    "engine": "What exact models run on here: `native`, `numpy` or `torch`.",
    "COMPRESSION_LEVEL_DEFAULT": "The level that `level=None` means.",
    "END": "The index of the end of the text in a distribution of 257.",
}
"""Values, which have no docstring of their own."""


def command_line() -> str:
    """A section for each command."""
    return "\n".join(_command(page) for page in commands.pages())


def _command(page: commands.Page) -> str:
    parts = [f"## {page.name}\n", "```text", *page.usages, "```\n"]
    for paragraph in page.description:
        parts.append(
            f"```text\n{paragraph.text}\n```\n" if paragraph.verbatim else f"{escape(paragraph.text)}\n"
        )
    if page.below:
        parts += ["| command | does |", "|---|---|"]
        parts += [
            f"| [`{name}`](#{anchor(f'{page.name} {name}')}) | {escape(text)} |" for name, text in page.below
        ]
        parts.append("")
    if page.options:
        parts += ["| option | does |", "|---|---|"]
        parts += [f"| `{names}` | {escape(text)} |" for names, text in page.options]
        parts.append("")
    parts += [f"**{title}.** {escape(text)}\n" for title, text in page.notes]
    return "\n".join(parts)


def anchor(title: str) -> str:
    return title.replace(" ", "-")


def escape(text: str) -> str:
    """Text in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(text, quote=False))


def interface(module: str) -> str:
    """A section for each public name of a module."""
    namespace = importlib.import_module(module)
    return "\n".join(
        f"### {module}.{name}\n\n{CONSTANTS[name]}\n"
        if name in CONSTANTS
        else _entry(f"{module}.{name}", getattr(namespace, name))
        for name in namespace.__all__
    )


def _entry(name: str, thing: Any) -> str:
    short = name.rpartition(".")[2]
    if not inspect.isclass(thing):
        return f"### {name}\n\n```python\n{signature(short, thing)}\n```\n\n{docstring(thing)}\n"
    if issubclass(thing, BaseException):
        bases = ", ".join(f"`{base.__name__}`" for base in thing.__bases__)
        return f"### {name}\n\nA subclass of {bases}. {docstring(thing)}\n"
    parts = [f"### {name}\n"]
    if "__init__" in vars(thing):
        parts.append(f"```python\n{signature(short, thing)}\n```\n")
    parts.append(f"{docstring(thing)}\n")
    return "\n".join([*parts, *_members(thing)])


def _members(thing: type) -> Iterator[str]:
    """Public methods and properties that the class itself describes."""
    for name, member in vars(thing).items():
        if name.startswith("_") or not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            yield f"**`{name}`** (property): {docstring(member)}\n"
        elif inspect.isfunction(member) and member.__doc__:
            yield f"**`{signature(name, member)}`**: {docstring(member)}\n"


def signature(name: str, thing: Any) -> str:
    """As a reader would write it: without self and quotes, a parameter a line if it is long."""
    found = inspect.signature(thing)
    if inspect.isclass(thing):
        found = found.replace(return_annotation=inspect.Signature.empty)
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    text = _ANNOTATION.sub(r"\1\2", name + str(found.replace(parameters=parameters)))
    if len(text) <= 90:
        return text
    inside, _, result = text[len(name) + 1 :].rpartition(")")
    lines = "".join(f"    {part},\n" for part in _COMMA.split(inside))
    return f"{name}(\n{lines}){result}"


def docstring(thing: Any) -> str:
    """A docstring as Markdown: parameters as a list, the rest as it is."""
    return "\n\n".join(_paragraph(part) for part in (inspect.getdoc(thing) or "").split("\n\n"))


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if not _PARAMETERS.match(lines[0]):
        return text
    items: list[str] = []
    for line in lines:
        if _PARAMETERS.match(line):
            names, _, rest = line.partition(": ")
            items.append(f"- `{names}`: {rest}")
        else:
            items[-1] += f" {line.strip()}"
    return "\n".join(items)
