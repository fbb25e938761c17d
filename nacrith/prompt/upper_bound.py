"""An upper bound on the number of tokens, for readers whose tokenizer is not available.

The readers considered use byte-level BPE with 100,000 tokens or more: cl100k, o200k, Llama 3, Qwen,
DeepSeek and the like. The bound is computed with the vocabulary of the model that the package ships,
which has 16,384 tokens. A small vocabulary usually needs more tokens than a large one, with two
exceptions:

- It may divide the text more coarsely. Large vocabularies have single digits or groups of three, end a token
  at the end of a line, and split words where lower case changes to upper case. So a pattern that does all of
  this divides the text first, and each digit is a token.
- It has words of its own, from its training data. So each of its tokens counts as 5/4, or as 7/4 if it has a
  non-ASCII character, but as no more than its number of bytes.

For texts of a few words these margins may not suffice, so 4 tokens are added.

A text never has more tokens than bytes, since each token of such a vocabulary has at least one byte. The
bound is limited to that number, which is proven for any text. The margins are measured, not proven:
cl100k, o200k, two vocabularies of Qwen and one of DeepSeek on 14,000 excerpts of 60 to 3,000 characters
(prose in a dozen languages, code, tables, logs, random characters), none of which exceeded the bound. For
English prose the bound is about 1.4 times the count of cl100k. The vocabulary of Llama 3 contains that of
cl100k.
"""

from __future__ import annotations

import json
import unicodedata

import numpy as np

from nacrith import jsontext
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.models.tokenizer.importers import PRE_TOKENIZERS

_UNIT = 4  # weights are in units of 1/4 token
_ASCII, _OTHER = 5, 7
_MARGIN = 4  # tokens
_PATTERNS = PRE_TOKENIZERS["tekken"]
"""Splits at changes of case and after ends of lines; digits are single tokens."""


class UpperBound:
    """Called with a text, it returns the bound. definition: of the tokenizer used for counting."""

    def __init__(self, definition: bytes) -> None:
        fields = jsontext.parse(definition) | {"patterns": list(_PATTERNS)}
        self._tokenizer = ByteTokenizer.from_definition(json.dumps(fields).encode())
        tokens = (self._tokenizer.decode([i]) for i in range(self._tokenizer.vocab_size))
        self._weights = np.array(
            [min(len(t) * _UNIT, _ASCII if t.isascii() else _OTHER) for t in tokens], np.int64
        )

    def __call__(self, text: str) -> int:
        # Qwen normalises text to composed characters first, which may have more bytes.
        return max(self._count(form) for form in {text, unicodedata.normalize("NFC", text)})

    def _count(self, text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        weight = int(self._weights[np.array(self._tokenizer.encode(data), np.int64)].sum())
        return min(len(data), -(-weight // _UNIT) + _MARGIN)
