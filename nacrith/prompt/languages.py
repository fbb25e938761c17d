"""What the retention contract knows of each language, read from languages.toml.

The data are apart from the code: to add a word or a language is to edit the table. `meaning`, `numbers`,
`instruction` and `segment` use it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Language:
    """Lists of words; see languages.toml for how they are written.

    common: frequent function words, by which the language is recognised. negations, limits, conditions:
    words that say of their sentence that it holds not, or not always. comparators: words directly before a
    number that belong to it. units, months: words directly after a number that belong to it. per: words
    between two units. numerals: numbers in words. imperatives: words that begin an instruction. polite:
    words anywhere in one; with a colon, labels that begin one. abbreviations: words that end in a full stop
    which ends no sentence. harmless: phrases in which a word of the other lists restricts nothing.
    """

    negations: str
    limits: str
    conditions: str
    comparators: str
    units: str
    imperatives: str
    polite: str
    common: str = ""
    months: str = ""
    per: str = ""
    numerals: str = ""
    abbreviations: str = ""
    harmless: str = ""


def words(field: str) -> list[str]:
    """The entries of a list, with the spaces of phrases, in the form in which texts are looked up."""
    return [w.replace("_", " ").casefold() for w in field.split()]


_read = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
_shared: dict[str, str] = _read.pop("shared")

LANGUAGES = {code: Language(**fields) for code, fields in _read.items()}
LATIN = ("en", "de", "fr", "es", "it", "pt")
"""Languages of one script, told apart by their common words; the script tells the others."""

UNSPACED = ("zh", "ja")
SPACED = tuple(code for code in LANGUAGES if code not in UNSPACED)

OTHER_NEGATIONS = words(_shared["other_negations"])
SYMBOLS = words(_shared["symbols"])
CURRENCIES = words(_shared["currencies"])
CONJUNCTIONS = frozenset(words(_shared["conjunctions"]))
ORDINAL_AFTER = frozenset(words(_shared["ordinal_after"]))


def every(name: str, codes: tuple[str, ...] = tuple(LANGUAGES)) -> list[str]:
    """The entries of a list in several languages."""
    return [w for code in codes for w in words(getattr(LANGUAGES[code], name))]


ABBREVIATIONS = frozenset(every("abbreviations"))
MONTHS = frozenset(every("months"))
COMMON = frozenset(every("common"))
