"""Toy byte-level BPE tokenizers over a few symbols, small enough for enumerating every text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

from nacrith.models.tokenizer.byte_bpe import BYTE_TO_SYMBOL, ByteTokenizer

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_WORD = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_WORD}*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_WORD}+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def toy(
    merges: Sequence[str],
    expressions: Sequence[str] = (),
    *,
    missing: str = "",
    words: Sequence[str] = (),
) -> ByteTokenizer:
    """A tokenizer with these merges, "a b" for each, of Latin-1 characters that stand for bytes ("_" for a
    space). missing: bytes that have no token. words: tokens that no merge makes; whole words are then on."""
    symbols = [BYTE_TO_SYMBOL[b] for b in range(256) if chr(b) not in missing]

    def spelt(text: str) -> str:
        return "".join(BYTE_TO_SYMBOL[b] for b in text.replace("_", " ").encode("latin-1"))

    pairs = [(spelt(a), spelt(b)) for a, b in (m.split(" ") for m in merges)]
    vocab = ["<end>", "<escape>", *symbols]
    vocab += [t for t in dict.fromkeys(a + b for a, b in pairs) if t not in vocab]
    vocab += [spelt(w) for w in words]
    return ByteTokenizer(vocab, pairs, list(expressions), [0, 1], bool(words), 1 if missing else None)


def texts(alphabet: Sequence[bytes], length: int) -> Iterator[bytes]:
    """All texts of at most so many of these byte strings."""
    for n in range(length + 1):
        yield from map(b"".join, product(alphabet, repeat=n))


@cache
def prefixes(
    tokenizer: ByteTokenizer, alphabet: tuple[bytes, ...], length: int
) -> frozenset[tuple[int, ...]]:
    """All token sequences that begin the encoding of one of `texts`."""
    return frozenset(
        tuple(ids[:n])
        for text in texts(alphabet, length)
        for ids in [tokenizer.encode(text)]
        for n in range(len(ids) + 1)
    )


@cache
def plain() -> ByteTokenizer:
    return toy(["a b", "b a", "ab a", "a a", "aa b", "b b", "ab ab", "aba ab"])


@cache
def gpt2() -> ByteTokenizer:
    return toy(
        [
            "_ a",
            "_a l",
            "l l",
            "' l",
            "' ll",
            "' s",
            "a l",
            "\n \n",
            "_ _",
            "_ \n",
            "s '",
            "1 1",
            "' '",
            "\n _",
        ],
        [GPT2],
    )
