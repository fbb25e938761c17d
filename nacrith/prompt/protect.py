"""The retention contract: rules for text that is kept regardless of its score.

Each rule finds spans in a text and has a name, which `--explain` shows. In doubt a rule keeps. `HARD`
rules protect text whose loss would break a program or a template; they apply even if the caller wants
numbers, negations and quotations only in sentences that are kept (`retain="with_sentence"`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from nacrith.errors import PromptError

_NEGATIONS = "|".join(
    (
        "not|no|never|none|nothing|nobody|nowhere|neither|nor|cannot|without|unless|except",  # English
        "nicht|nichts|nie|niemals|kein|keine|keinen|keinem|keiner|keines|ohne",  # German
        "ne|n|pas|jamais|rien|aucun|aucune|sans",  # French
        "nunca|nada|ninguno|ninguna|sin|tampoco|não|nem|nenhum|sem",  # Spanish, Portuguese
        "non|mai|niente|senza|nessuno|niet|geen|nooit|ikke|aldrig|inte",  # Italian, Dutch, Nordic
        "не|нет|ни|никогда|нельзя|без|ні|немає|nie|bez",  # Russian, Ukrainian, Polish
        "لا|لم|لن|ليس|ليست|غير|بدون|नहीं|मत|न|बिना",  # Arabic, Hindi
    )
)
_NEGATION = re.compile(
    rf"(?<!\w)(?:{_NEGATIONS})(?!\w)|(?<!\w)[^\W\d_]+n['’]t(?!\w)|[不没沒無无未别勿莫非]"
    r"|ない|なく|なかった|ません|ず(?=に)|않|없|못|아니",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(
    r"(?<![\w-])--?[A-Za-z][\w-]*(?:=\S+)?"  # --flag, -f
    r"|(?<!\w)[A-Za-z][^\W_]*_\w+|(?<!\w)_{1,2}[A-Za-z]\w*"  # snake_case
    r"|(?<!\w)[a-z]+[A-Z]\w*|(?<!\w)[A-Z][a-z]+[A-Z]\w*"  # camelCase
    r"|(?<!\w)[A-Z]{2,}(?!\w)"  # acronyms and constants
    r"|(?<!\w)\w+(?:::\w+|->\w+)+|(?<!\w)[A-Za-z]\w*(?:\.[A-Za-z_]\w*)*\([^()\s]{0,80}\)"  # a::b, f(x)
    r"|(?<!\w)[a-z]\w*\.[a-z_]\w+(?:\.\w+)*(?!\w)"  # os.path, main.py
    r"|(?<!\w)[@#][\w-]+"
)
_PATTERNS: dict[str, tuple[str, ...]] = {
    "code fence": (r"(?ms)^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)",),
    "inline code": (r"(?<!`)(?P<tick>`+)(?!`)[^\n]{1,400}?(?<!`)(?P=tick)(?!`)",),
    "placeholder": (
        r"\{\{[^{}\n]{1,80}\}\}|\$?\{[A-Za-z_][\w.:!-]*\}|%\(\w+\)[a-z]|<<[\w ]+>>|\[\[[\w ]+\]\]"
        r"|(?<![\w%])%[sdifr](?!\w)|\$[A-Za-z_]\w*",
    ),
    "xml": (r"</?[A-Za-z][\w:.-]*(?:\s[^<>]*)?/?>|<\|[^|<>\n]{1,40}\|>|<!\[CDATA\[|\]\]>|&#?\w{1,10};",),
    "url": (r"(?i)\b(?:[a-z][a-z+.-]*://|www\.)[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}]",),
    "email": (r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",),
    "path": (
        r"(?<![\w/:.])(?:~|\.{1,2})?(?:/[\w.@+-]+){2,}/?|(?<!\w)\.{1,2}/[\w.@+/-]+|\b[A-Za-z]:\\[^\s\"'<>|]+",
    ),
    "role": (
        r"(?im)^[ \t]*(?:system|user|assistant|human|ai|tool|developer)[ \t]*:"
        r"|^[ \t]*###? ?(?:instruction|input|response):?",
    ),
    "quotation": (
        r"\"[^\"\n]{1,200}\"|“[^”\n]{1,200}”|„[^“”\n]{1,200}[“”]|«[^»\n]{1,200}»|「[^」\n]{1,200}」|『[^』\n]{1,200}』"
        r"|(?<!\w)'[^'\n]{1,80}'(?!\w)",
    ),
    "number": (r"[+-]?[$€£¥₹]?\d[\d.,:/×x^eE+-]*(?<![.,:/+-])[%°‰€£¥₹]?",),
}
_COMPILED = {name: [re.compile(p) for p in patterns] for name, patterns in _PATTERNS.items()}

RULES = ("json", *_PATTERNS, "identifier", "negation")
"""Names of all rules. If several rules protect a span, the first of them is reported."""

HARD = frozenset({"json", "code fence", "inline code", "placeholder", "xml", "role", "pattern", "forced"})

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
) -> list[Protected]:
    """The spans of `text` that the contract keeps, by start; they may overlap.

    patterns: the caller's regular expressions. forced: strings that are kept wherever they occur.
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
        found += _FINDERS[rule](text)
    return sorted(found, key=lambda p: p.start)


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
        except (ValueError, RecursionError):
            continue
        yield Protected(match.start(), end, "json")
        position = end


def _by_patterns(rule: str) -> Callable[[str], Iterable[Protected]]:
    return lambda text: (p for pattern in _COMPILED[rule] for p in _matches(pattern, text, rule))


_FINDERS: dict[str, Callable[[str], Iterable[Protected]]] = {
    "json": _json,
    **{rule: _by_patterns(rule) for rule in _PATTERNS},
    "identifier": lambda text: _matches(_IDENTIFIER, text, "identifier"),
    "negation": lambda text: _matches(_NEGATION, text, "negation"),
}
