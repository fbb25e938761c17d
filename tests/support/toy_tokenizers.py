"""Toy byte-level BPE tokenizers over a few symbols, small enough for enumerating every text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

from hypothesis import strategies as st

from nacrith.bytelevel.covering import Covering
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


def ranks(covering: Covering, ids: Sequence[int]) -> list[int] | None:
    """The ids as ranks, an escape and its digits as the one spelt token; None if the end of it is missing."""
    alphabet = covering.alphabet
    spelt = {alphabet.ids_of(r): r for r in range(alphabet.size) if len(alphabet.ids_of(r)) > 1}
    out = []
    i = 0
    while i < len(ids):
        size = 3 if ids[i] == 1 else 1
        if size == 3:
            if (rank := spelt.get(tuple(ids[i : i + 3]))) is None:
                return None
            out.append(rank)
        else:
            out.append(int(alphabet.vocabulary.rank[ids[i]]))
        i += size
    return out


@st.composite
def random_tokenizers(draw: st.DrawFn) -> ByteTokenizer:
    """Merges of two letters and a space, in the order of training."""
    known = ["a", "b", "_"]
    merges: list[str] = []
    for _ in range(draw(st.integers(1, 8))):
        left, right = draw(st.sampled_from(known)), draw(st.sampled_from(known))
        if left + right not in known:
            known.append(left + right)
            merges.append(f"{left} {right}")
    return toy(merges or ["a b"], draw(st.sampled_from([[], [GPT2]])))
