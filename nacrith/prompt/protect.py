"""The retention contract: rules for text that is kept regardless of its score.

Each rule finds spans in a text and has a name, which `--explain` shows. A span is kept whole or not at all;
in doubt a rule keeps. `HARD` rules protect text whose loss would break a program, a template or the request
itself; they apply even if the caller wants numbers, restrictions and quotations only in sentences that are
kept (`retain="with_sentence"`). `BOUND` rules only say what stays together. Every rule takes time linear in
the text: no pattern can begin anew at each place of what it has just read in vain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from nacrith.errors import PromptError
from nacrith.prompt import markup, meaning, numbers
from nacrith.prompt.meaning import NUMERAL, RESTRICTIONS
from nacrith.prompt.segment import Passage, passage

_IDENTIFIER = re.compile(
    r"(?<![\w-])--?[A-Za-z][\w-]*(?:=\S+)?"  # --flag, -f
    r"|(?<!\w)[A-Za-z][^\W_]*_\w+|(?<!\w)_{1,2}[A-Za-z]\w*"  # snake_case
    r"|(?<!\w)[a-z]+[A-Z]\w*|(?<!\w)[A-Z][a-z]+[A-Z]\w*"  # camelCase
    r"|(?<!\w)[A-Z]{2,}(?!\w)"  # acronyms and constants
    r"|(?<![\w:>])\w+(?:::\w+|->\w+)+"  # a::b, a->b
    r"|(?<![\w.])[A-Za-z]\w*(?:\.[A-Za-z_]\w*){0,12}\([^()\s]{0,80}\)"  # f(x)
    r"|(?<![\w.])[a-z]\w*\.[a-z_]\w+(?:\.\w+)*(?!\w)"  # os.path, main.py
    r"|(?<!\w)[@#][\w-]+|&#?\w{1,10};"
)
_PATTERNS: dict[str, tuple[str, ...]] = {
    "inline code": (r"(?<!`)(?P<tick>`+)(?!`)[^\n]{1,400}?(?<!`)(?P=tick)(?!`)",),
    "placeholder": (
        r"\{\{\{[^{}]{1,200}\}\}\}|\{\{[^{}]{1,300}\}\}"
        r"|\{%(?:[^%{]|%(?!\})|\{(?!%)){1,500}%\}|\{#(?:[^#{]|#(?!\})|\{(?!#)){0,500}#\}"
        r"|<%(?:[^%<]|%(?!>)|<(?!%)){1,500}%>|<!--(?:[^<-]|<(?!!--)|-(?!->)){0,5000}-->"
        r"|\$\{[^{}\n]{1,100}\}|%\(\w{1,60}\)[a-z]|<<[\w ]{1,60}>>|\[\[[\w ]{1,60}\]\]|\[/?[A-Z]{3,12}\]"
        r"|(?<![\w%])%[sdifr](?!\w)|\$[A-Za-z_]\w*",
    ),
    "xml": (
        r"</?[A-Za-z][\w:.-]{0,80}(?:\s(?:[^<>\"']|\"[^\"\n]{0,200}\"|'[^'\n]{0,200}'){0,400})?/?>"
        r"|</?[A-Za-z][\w:.-]{0,80}(?:\s[^<>]{0,1000})?/?>|<\?[^<>]{1,200}\?>|<\|[^|<>\n]{1,40}\|>"
        r"|<!\[CDATA\[|\]\]>",
    ),
    "link": (
        r"!?\[[^\[\]\n]{0,300}\]"
        r"(?:\([^()\s]{0,500}(?:\([^()\s]{0,200}\)[^()\s]{0,200})?(?:[ \t]+[\"'][^\n]{0,200}?[\"'])?\)"
        r"|\[[^\[\]\n]{0,100}\])",
        r"(?m)^ {0,3}\[[^\[\]\n]{1,100}\]:[ \t]*\S[^\n]*$",
    ),
    "block": (
        r"\$\$[^$]{1,5000}\$\$",  # display math
        r"-----BEGIN [A-Z0-9 ]{1,60}-----[^-]{1,20000}-----END [A-Z0-9 ]{1,60}-----",  # keys and certificates
    ),
    "url": (r"(?i)(?<![a-z0-9+.-])(?:[a-z][a-z0-9+.-]{1,30}://|www\.)[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]",),
    "email": (r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",),
    "path": (
        r"(?<![\w/:.])(?:~|\.{1,2})?(?:/[\w.@+-]+){2,}/?|(?<![\w./])\.{1,2}/[\w.@+/-]+|\b[A-Za-z]:\\[^\s\"'<>|]+",
    ),
    "role": (
        r"(?im)^[ \t]*(?:system|user|assistant|human|ai|tool|developer)[ \t]*:"
        r"|^[ \t]*###? ?(?:instruction|input|response):?",
    ),
    "quotation": (
        r"\"[^\"\n]{1,200}\"|“[^“”\n]{1,200}”|„[^„“”\n]{1,200}[“”]|«[^«»\n]{1,200}»|「[^「」\n]{1,200}」"
        r"|『[^『』\n]{1,200}』|(?<!\w)'[^'\n]{1,80}'(?!\w)",
    ),
}
_COMPILED = {name: [re.compile(p) for p in patterns] for name, patterns in _PATTERNS.items()}

TABLE, ROW, ITEM, INSTRUCTION = "table", "table row", "list item", "instruction"

RULES = (
    "json",
    "code fence",
    *_PATTERNS,
    TABLE,
    "number",
    "identifier",
    *RESTRICTIONS,
    INSTRUCTION,
)
"""Names of all rules. If several rules protect a span, the first of them is reported."""

STRUCTURE = frozenset({"code fence", "xml", "role", TABLE})
"""Rules whose spans say nothing by themselves, so that they do not require what belongs to their sentence."""

HARD = STRUCTURE | {"json", "placeholder", INSTRUCTION, "pattern", "forced"}

BOUND = frozenset({ROW, ITEM})
"""Reasons for which a span stays together, but is not kept if nothing of its sentence is."""

_BRACES = re.compile(r"\{(?:\w[\w.\[\]]{0,60})?(?:[:!][^{}\s]{1,20})?\}")
_TEMPLATE = re.compile(r"\{\{|\{%|<%|\$\{|%\(\w{1,60}\)[a-z]")
_REPEATED = 3
"""A text in which the names in braces recur more often than this is no template but a transcript with
remarks like {laugh}."""

_JSON_START = re.compile(r"\{\s*[\"}]|\[\s*[\[{\"\]]")
_JSON_TRIES = 2000
"""Most places to try to parse as JSON: bounds the time for text with many brackets."""


class Protected(NamedTuple):
    """A span of a text and the rule that keeps it."""

    start: int
    end: int
    reason: str


def chosen_rules(names: str | Iterable[str]) -> tuple[str, ...]:
    """The rules for `names`: "all", "none", a list, or names to leave out ("-number")."""
    if isinstance(names, str):
        names = [n.strip() for n in names.split(",") if n.strip()]
    wanted = [n.replace("_", " ") for n in names]
    base: set[str] = set(RULES) if "all" in wanted or (wanted and all(n[0] == "-" for n in wanted)) else set()
    for name in wanted:
        plain = name.removeprefix("-")
        if plain not in {*RULES, "all", "none"}:
            raise PromptError(
                f"no retention rule is called {plain!r}; there are {', '.join(RULES)}, all, none"
            )
        if name.startswith("-"):
            base.discard(plain)
        elif plain in RULES:
            base.add(plain)
    return tuple(r for r in RULES if r in base)


def protected(
    text: str,
    rules: Sequence[str] = RULES,
    patterns: Sequence[str] = (),
    forced: Sequence[str] = (),
    read: Passage | None = None,
) -> list[Protected]:
    """The spans of `text` that the contract keeps, by start; they may overlap.

    patterns: the caller's regular expressions. forced: strings that are kept wherever they occur. read:
    `text` divided into units, if it has been already. What the instruction of a prompt is, a text does not
    know (`instruction.instructions`).
    """
    found: list[Protected] = []
    for literal in filter(None, forced):
        found += _matches(re.compile(re.escape(literal)), text, "forced")
    for pattern in patterns:
        try:
            found += _matches(re.compile(pattern), text, "pattern")
        except re.error as error:
            raise PromptError(f"the pattern {pattern!r} is not a regular expression: {error}") from None
    for rule in rules:
        if rule in _FINDERS:
            found += _FINDERS[rule](text)
    if rules:
        read = read or passage(text)
        found += _items(read)
        found += _meaning(text, rules, read)
    order = {rule: k for k, rule in enumerate(RULES)}
    return sorted(found, key=lambda p: (p.start, order.get(p.reason, -1)))


def _items(read: Passage) -> Iterator[Protected]:
    """Items of a list with others under them, which say little without them."""
    for number in sorted({outer for outer, _ in read.nested}):
        first, end = read.sentences[number]
        yield Protected(int(read.starts[first]), int(read.ends[end - 1]), ITEM)


def _meaning(text: str, rules: Sequence[str], read: Passage) -> Iterator[Protected]:
    """What the rules about numbers and restrictions keep."""
    wanted = {*RESTRICTIONS, "number"}.intersection(rules)
    if not wanted:
        return
    hits = meaning.hits(text)
    if "number" in wanted:
        numerals = [(h.start, h.end) for h in hits if h.kind == NUMERAL]
        yield from (Protected(a, b, "number") for a, b in numbers.atoms(text, numerals))
    found = [h for h in hits if h.kind in wanted]
    if found:
        yield from (Protected(*h) for h in meaning.scopes(read, found))


def _matches(pattern: re.Pattern[str], text: str, reason: str) -> Iterator[Protected]:
    for match in pattern.finditer(text):
        if match.end() > match.start():
            yield Protected(match.start(), match.end(), reason)


def _json(text: str) -> Iterator[Protected]:
    """JSON objects and arrays in the text."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(_JSON_TRIES):
        match = _JSON_START.search(text, position)
        if match is None:
            return
        position = match.start() + 1
        try:
            _, end = decoder.raw_decode(text, match.start())
        except ValueError:
            continue
        except RecursionError:  # it would be one again at each of the next brackets
            return
        yield Protected(match.start(), end, "json")
        position = end


def _placeholders(text: str) -> Iterator[Protected]:
    """Tags of templates. {word} is one only if the text is a template."""
    for pattern in _COMPILED["placeholder"]:
        yield from _matches(pattern, text, "placeholder")
    braces = list(_BRACES.finditer(text))
    if _TEMPLATE.search(text) or len(braces) <= _REPEATED * len({m.group() for m in braces}):
        yield from (Protected(*m.span(), "placeholder") for m in braces)


def _tables(text: str) -> Iterator[Protected]:
    for table in markup.tables(text):
        yield Protected(*table.head, TABLE)
        yield from (Protected(a, b, ROW) for a, b in table.rows)


def _by_patterns(rule: str) -> Callable[[str], Iterable[Protected]]:
    return lambda text: (p for pattern in _COMPILED[rule] for p in _matches(pattern, text, rule))


_FINDERS: dict[str, Callable[[str], Iterable[Protected]]] = {
    "json": _json,
    "code fence": lambda text: (Protected(a, b, "code fence") for a, b in markup.fences(text)),
    **{rule: _by_patterns(rule) for rule in _PATTERNS},
    "placeholder": _placeholders,
    TABLE: _tables,
    "identifier": lambda text: _matches(_IDENTIFIER, text, "identifier"),
}
