"""The sorted vocabulary against what its definition says, by search through all tokens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nacrith.models.tokenizer.sorted_vocabulary import Node, SortedVocabulary

# Few byte values, the extremes among them, so that prefixes and duplicates are frequent.
_BYTES = st.lists(st.sampled_from([0, 1, 97, 98, 254, 255]), max_size=4).map(bytes)
VOCABULARIES = st.lists(_BYTES, max_size=30)


@given(VOCABULARIES)
def test_order_is_by_bytes_then_by_id_with_the_unspelled_last(tokens: list[bytes]) -> None:
    vocabulary = SortedVocabulary(tokens)
    expected = sorted(range(len(tokens)), key=lambda i: (tokens[i] == b"", tokens[i], i))
    assert vocabulary.order.tolist() == expected
    assert vocabulary.rank[vocabulary.order].tolist() == list(range(len(tokens)))
    assert vocabulary.spelled == sum(t != b"" for t in tokens)
    assert [vocabulary.token_bytes(r) for r in range(len(tokens))] == [tokens[i] for i in expected]
    text, offsets = vocabulary.text.tobytes(), vocabulary.offsets
    assert [text[a:b] for a, b in pairwise(offsets)] == [tokens[i] for i in expected]


@given(VOCABULARIES, _BYTES)
def test_nodes_are_the_tokens_with_a_prefix(tokens: list[bytes], prefix: bytes) -> None:
    vocabulary = SortedVocabulary(tokens)
    node = vocabulary.root
    for byte in prefix:
        node = vocabulary.child(node, byte)
    ranks = [r for r in range(vocabulary.spelled) if vocabulary.token_bytes(r).startswith(prefix)]
    for found in (node, vocabulary.find(prefix)):
        assert list(range(found.lo, found.hi)) == ranks
        assert found.is_empty == (not ranks)
        assert found.depth == len(prefix)
        assert vocabulary.ending(found) == sum(vocabulary.token_bytes(r) == prefix for r in ranks)


@given(VOCABULARIES, _BYTES, st.integers(0, 8))
def test_boundaries_part_a_node_by_byte_and_by_bits(tokens: list[bytes], prefix: bytes, bits: int) -> None:
    vocabulary = SortedVocabulary(tokens)
    node = vocabulary.find(prefix)
    starts = vocabulary.boundaries(node)
    assert starts.shape == (257,)
    assert starts[0] == node.lo + vocabulary.ending(node)
    assert starts[256] == node.hi
    for high in range(1 << bits):
        lo, hi = starts[high << 8 - bits], starts[high + 1 << 8 - bits]
        expected = [
            r
            for r in range(node.lo, node.hi)
            if len(t := vocabulary.token_bytes(r)) > node.depth and t[node.depth] >> 8 - bits == high
        ]
        assert list(range(lo, hi)) == expected


def test_tokens_of_equal_bytes_are_neighbours() -> None:
    vocabulary = SortedVocabulary([b"a", b"", b"ab", b"a", b""])
    assert vocabulary.order.tolist() == [0, 3, 2, 1, 4]
    assert vocabulary.ending(vocabulary.find(b"a")) == 2
    assert vocabulary.child(Node(0, 3, 1), ord("b")) == Node(2, 3, 2)


def test_boundaries_are_read_only_because_they_are_shared() -> None:
    starts = SortedVocabulary([b"a"]).boundaries(Node(0, 1, 0))
    with pytest.raises(ValueError, match="read-only"):
        starts[0] = 7
    assert starts.dtype == np.int32
