"""A lossless byte-level BPE tokenizer: any bytes to token ids and back.

The `tokenizers` library performs the merges. This module adds three guarantees that the library does not
give: *every* byte string is restored, no text is ever parsed as a special token, and a tokenizer has one
canonical serialisation (`definition`), which the model file contains and the model's fingerprint covers.
`importers` reads the tokenizers of GGUF files and tokenizer.json.

Text is encoded in one of two ways. Characters whose UTF-8 bytes all have a symbol in the vocabulary go
through the pre-tokenizer and BPE. All others (bytes that are not UTF-8, and characters with a byte that the
vocabulary lacks) are *hard*: they are encoded byte by byte, and a byte without a symbol becomes the escape
token followed by the tokens of its two lower-case hex digits. The ids are a function of the bytes alone.

Reference for byte-level BPE and its alphabet: Radford et al., "Language Models are Unsupervised
Multitask Learners", 2019, section 2.2.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tokenizers import Regex
from tokenizers import Tokenizer as Library
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Steps

from nacrith import jsontext
from nacrith.errors import ModelError
from nacrith.lazy import lazy
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

DEFINITION_FORMAT = 1
PIECE = 1 << 16  # bytes passed to the library at a time, which bounds its memory
CUT_SEARCH = 1 << 12  # bytes before the end of a piece that are searched for a word boundary
MAX_VOCAB = 1 << 22

_HEX = "0123456789abcdef"


def _alphabet() -> list[str]:
    """The printable symbol of each byte: the byte's Latin-1 character if that is printable and not a space,
    else the next unused character from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


BYTE_TO_SYMBOL = _alphabet()
SYMBOL_TO_BYTE = {symbol: byte for byte, symbol in enumerate(BYTE_TO_SYMBOL)}


# Maps symbols to the Latin-1 characters of their bytes, and other Latin-1 characters to one outside Latin-1.
_TO_LATIN_1 = {b: "\u0400" for b in range(256)} | {ord(s): chr(b) for s, b in SYMBOL_TO_BYTE.items()}


def token_bytes(token: str) -> bytes | None:
    """The bytes that a byte-level token string spells; None if it has another character."""
    try:
        return token.translate(_TO_LATIN_1).encode("latin-1")
    except UnicodeEncodeError:
        return None


class Rules(NamedTuple):
    """How a tokenizer makes tokens of text, for those who reason about what it can make.

    ids: the token string of each id that BPE may produce. merges: (left, right, result), best first.
    expressions: of the pre-tokenizer. hard: matches the characters that are encoded byte by byte. byte_ids:
    the tokens of each byte on its own; three, of which the first is the escape, for one without a symbol.
    """

    ids: dict[str, int]
    merges: list[tuple[int, int, int]]
    expressions: list[str]
    whole_words: bool
    hard: re.Pattern[str]
    byte_ids: list[tuple[int, ...]]
    merge: Callable[[str], list[int]]


class ByteTokenizer:
    """The `Tokenizer` of every model whose vocabulary is byte-level BPE.

    vocab: the token string of each id. The ids in `special` are never produced, and decode to nothing.
    merges: pairs of token strings, highest priority first.
    patterns: regular expressions (Oniguruma), applied in order; each match becomes a piece of its own.
    whole_words: a piece that is a token is encoded as this token, even if no merges produce it.
    escape: the special id that precedes a byte's two hex digits; None if every byte has a symbol.
    """

    def __init__(
        self,
        vocab: Sequence[str],
        merges: Sequence[tuple[str, str]],
        patterns: Sequence[str],
        special: Sequence[int],
        whole_words: bool,
        escape: int | None,
    ) -> None:
        barred = set(special)
        self._bytes = [b"" if i in barred else token_bytes(t) or b"" for i, t in enumerate(vocab)]
        self._vocabularies: dict[int, SortedVocabulary] = {}
        self._fields = (list(vocab), list(merges), list(patterns), sorted(barred), whole_words)
        ids = self._ids()
        self._escape = escape
        self._byte_ids = self._make_byte_ids(ids)
        digits = [self._byte_ids[ord(c)] for c in _HEX]
        self._hex_value = {d[0]: value for value, d in enumerate(digits) if len(d) == 1}
        self._hard = _hard_characters({b for b in range(256) if len(self._byte_ids[b]) > 1})
        self._library = _make_library(ids, self._known(ids), patterns, whole_words)

    def _ids(self) -> dict[str, int]:
        """The id of each token string with bytes: the first, where several have the same string."""
        ids: dict[str, int] = {}
        for i, token in enumerate(self._fields[0]):
            if self._bytes[i]:
                ids.setdefault(token, i)
        return ids

    def _known(self, ids: dict[str, int]) -> list[tuple[str, str]]:
        """The merges whose parts and result are tokens."""
        return [(a, b) for a, b in self._fields[1] if a in ids and b in ids and a + b in ids]

    def _make_byte_ids(self, ids: dict[str, int]) -> list[tuple[int, ...]]:
        """The tokens that encode each single byte: one token, or the escape and two digits."""
        plain = [ids.get(symbol) for symbol in BYTE_TO_SYMBOL]
        result: list[tuple[int, ...]] = []
        for byte, token in enumerate(plain):
            if token is not None:
                result.append((token,))
                continue
            high, low = (plain[ord(c)] for c in f"{byte:02x}")
            if self._escape is None or high is None or low is None:
                raise ModelError(
                    f"the vocabulary has no token for byte {byte:#04x} and no escape for it: it "
                    "needs a spare special token and tokens for the digits 0-9 and a-f"
                )
            result.append((self._escape, high, low))
        return result

    @classmethod
    def from_definition(cls, definition: bytes) -> ByteTokenizer:
        """The tokenizer of a definition; ModelError if the definition is invalid."""
        try:
            fields = jsontext.parse(definition)
            if fields["format"] != DEFINITION_FORMAT:
                raise ModelError(
                    f"tokenizer definition of format {fields['format']!r}; this version reads "
                    f"{DEFINITION_FORMAT}: convert the model again"
                )
            vocab = _list_of(str, fields["vocab"])
            merges = [(a, b) for a, b in (m.split(" ") for m in _list_of(str, fields["merges"]))]
            special = _list_of(int, fields["special"])
            escape = fields["escape"]
            if escape is not None and escape not in special:
                raise ValueError("the escape is not a special token")
            if not set(special) <= set(range(len(vocab))):
                raise ValueError("a special token outside the vocabulary")
            return cls(
                vocab,
                merges,
                _list_of(str, fields["patterns"]),
                special,
                bool(fields["whole_words"]),
                escape,
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelError(f"damaged tokenizer definition ({error}): convert the model again") from error

    @lazy
    def definition(self) -> bytes:
        """Canonical JSON of this tokenizer: equal tokenizers have equal definitions."""
        vocab, merges, patterns, special, whole_words = self._fields
        return _canonical(
            {
                "format": DEFINITION_FORMAT,
                "vocab": vocab,
                "merges": [f"{left} {right}" for left, right in merges],
                "patterns": patterns,
                "special": special,
                "whole_words": whole_words,
                "escape": self._escape,
            }
        )

    def rules(self) -> Rules:
        """The rules of this tokenizer. `merge` is BPE of symbols, without the pre-tokenizer."""
        _, _, patterns, _, whole_words = self._fields
        ids = self._ids()
        known = self._known(ids)
        made = [(ids[a], ids[b], ids[a + b]) for a, b in known]
        model = (_make_library(ids, known, (), False) if whole_words else self._library).model
        return Rules(
            ids,
            made,
            patterns,
            whole_words,
            self._hard,
            self._byte_ids,
            lambda symbols: [token.id for token in model.tokenize(symbols)],
        )

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    def vocabulary(self, size: int) -> SortedVocabulary:
        """The tokens sorted by their bytes, of a model with rows of `size` tokens; those that the tokenizer
        does not use have none. Kept for the next call."""
        if size not in self._vocabularies:
            rest = [b""] * (size - len(self._bytes))
            self._vocabularies[size] = SortedVocabulary(self._bytes + rest)
        return self._vocabularies[size]

    @property
    def escape_id(self) -> int | None:
        return self._escape

    def encode(self, data: bytes) -> array[int]:
        """Encode any bytes; returns the token ids as a compact array of int32."""
        ids = array("i")
        for piece in _pieces(data):
            text = piece.decode("utf-8", "surrogateescape")
            done = 0
            for hard in self._hard.finditer(text):
                self._encode_text(text[done : hard.start()], ids)
                for byte in hard.group().encode("utf-8", "surrogateescape"):
                    ids.extend(self._byte_ids[byte])
                done = hard.end()
            self._encode_text(text[done:], ids)
        return ids

    def _encode_text(self, text: str, ids: array[int]) -> None:
        if len(text) == 1 and text < "\x80":  # avoids a library call for each byte of binary content
            ids.extend(self._byte_ids[ord(text)])
        elif text:
            # `encode_batch` would start threads, which do not survive a fork.
            try:
                ids.extend(self._library.encode(text, add_special_tokens=False).ids)
            except BaseException as error:
                raise _of_library(error, "the regular expressions of the model's tokenizer fail") from None

    def decode(self, ids: Sequence[int]) -> bytes:
        """Decode any ids. Special ids, ids outside the vocabulary, and an escape that is not followed by two
        hex digits decode to nothing."""
        out = bytearray()
        digits, size = self._hex_value, len(self._bytes)
        i, end = 0, len(ids)
        while i < end:
            token = ids[i]
            i += 1
            if 0 <= token < size and token != self._escape:
                out += self._bytes[token]
            elif token == self._escape and i + 1 < end:
                high, low = digits.get(ids[i]), digits.get(ids[i + 1])
                if high is not None and low is not None:
                    out.append(high << 4 | low)
                    i += 2
        return bytes(out)


def _hard_characters(missing: set[int]) -> re.Pattern[str]:
    """Matches runs of characters that BPE cannot encode, in text that was decoded with surrogateescape
    (where surrogates stand for the bytes that are not UTF-8, and for nothing else)."""
    ranges = [(0xD800, 0xDFFF)] + [(b, b) for b in missing if b < 0x80]
    if any(0x80 <= b < 0xC0 for b in missing):
        ranges.append((0x80, 0x10FFFF))  # a continuation byte: practically all of non-ASCII
    for lead in missing:
        if 0xC2 <= lead < 0xE0:
            ranges.append(((lead & 0x1F) << 6, (lead & 0x1F) << 6 | 0x3F))
        elif 0xE0 <= lead < 0xF0:
            ranges.append((max((lead & 0xF) << 12, 0x800), (lead & 0xF) << 12 | 0xFFF))
        elif 0xF0 <= lead < 0xF5:
            first = max((lead & 7) << 18, 0x10000)
            ranges.append((first, min((lead & 7) << 18 | 0x3FFFF, 0x10FFFF)))
    return re.compile("[" + "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in sorted(ranges)) + "]+")


def _make_library(
    ids: dict[str, int],
    merges: list[tuple[str, str]],
    patterns: Sequence[str],
    whole_words: bool,
) -> Library:
    """A tokenizer of the library that only splits, maps bytes to symbols, and applies BPE."""
    try:
        steps: list[PreTokenizer] = [Split(Regex(p), "isolated") for p in patterns]
        library = Library(BPE(vocab=ids, merges=merges, ignore_merges=whole_words))
    except BaseException as error:
        raise _of_library(error, "no tokenizer can be built of this") from error
    steps.append(ByteLevel(add_prefix_space=False, use_regex=False))
    library.pre_tokenizer = Steps(steps)
    return library


def _of_library(error: BaseException, what: str) -> BaseException:
    """A ModelError for an error of the library; any other error as it is."""
    if (said := library_message(error)) is None:
        return error
    advice = "" if isinstance(error, Exception) else ", or use another model"
    return ModelError(f"{what} ({said}): check its source{advice}")


def library_message(error: BaseException) -> str | None:
    """What an error of the tokenizers library says; None for an error that is not the library's.

    The library raises bare Exceptions. Where its Rust code panics (on a regular expression that backtracks
    without end, for example) it raises a BaseException that no `except Exception` catches.
    """
    if isinstance(error, Exception) and not isinstance(error, MemoryError | RecursionError):
        return str(error)
    return str(error)[:200] if type(error).__module__ == "pyo3_runtime" else None


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut `data` into pieces of at most PIECE bytes: before a space that follows printable ASCII, where every
    pre-tokenizer splits anyway, or else between two characters."""
    start = 0
    while len(data) - start > PIECE:
        end = start + PIECE
        cut = data.rfind(b" ", end - CUT_SEARCH, end)
        while cut > 0 and not 0x21 <= data[cut - 1] <= 0x7E:
            cut = data.rfind(b" ", end - CUT_SEARCH, cut)
        if cut <= start:
            # Skip at most three continuation bytes backwards; binary content may be cut anywhere.
            cut = next((c for c in range(end, end - 4, -1) if data[c] & 0xC0 != 0x80), end)
        yield data[start:cut]
        start = cut
    yield data[start:]


def _list_of(kind: type, value: Any) -> list[Any]:
    """`value` if it is a list of `kind` of a sane length, else ValueError."""
    if not isinstance(value, list) or len(value) > MAX_VOCAB:
        raise ValueError(f"not a list of at most {MAX_VOCAB} items")
    if not all(type(item) is kind for item in value):
        raise ValueError(f"an item that is not {kind.__name__}")
    return value


def _canonical(fields: dict[str, Any]) -> bytes:
    """JSON with sorted keys, without white space, in ASCII: equal values give equal text."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
