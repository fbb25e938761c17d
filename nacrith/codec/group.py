"""The coder of a group: what stands between the model's rows and the payload of a block.

A group is a block of text in L lanes. Step t codes token t of lane 0, 1, ... L-1 (a lane that has no token t
is passed over) into one range coder's stream: the *schedule*, which is part of the format. What is learnt
serves all lanes. Encoder and decoder are given the rows in this order, in portions of any size.

This module has the interface and chooses who implements it: native code where it is the engine, else the
reference in Python. The bytes are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nacrith.codec.params import CodingParams
from nacrith.models.protocol import Logits
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary
from nacrith.native import Library, choice

if TYPE_CHECKING:
    from nacrith.codec.group_native import NativeGroup

Numbers = npt.NDArray[np.integer]
"""int32 or int64 (n,)."""


class GroupEncoder(Protocol):
    def encode(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers) -> None:
        """Code the next n tokens of the schedule. Token i is of lane lanes[i], and rows[at[i]] predicts it.

        rows: int32 (m, V). lanes, tokens: int32 (n,). at: int64 (n,).
        """

    def learn(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers) -> None:
        """Learn n tokens of a lane without coding them; arguments as of `encode`."""

    def finish(self) -> bytes:
        """The coded bytes, once every token has come."""


class GroupDecoder(Protocol):
    def decode(self, rows: Logits, lanes: Numbers, at: Numbers) -> list[int]:
        """The next n tokens of the schedule, at most one of each lane; arguments as of `encode`.

        CorruptError if the coded bytes are damaged, or other tokens than were coded.
        """

    def learn(self, rows: Logits, lanes: Numbers, at: Numbers, tokens: Numbers) -> None:
        """As that of `GroupEncoder`."""


def encoder(vocabulary: SortedVocabulary, params: CodingParams, lengths: Sequence[int]) -> GroupEncoder:
    """lengths: number of tokens of each lane, those that are only learnt included."""
    if (chosen := choice.library()) is not None:
        return _native(chosen, vocabulary, params, lengths, None)
    from nacrith.codec.group_reference import ReferenceEncoder

    return ReferenceEncoder(vocabulary, params, lengths)


def decoder(
    vocabulary: SortedVocabulary, params: CodingParams, lengths: Sequence[int], payload: bytes
) -> GroupDecoder:
    """payload: the coded bytes, from a stranger."""
    if (chosen := choice.library()) is not None:
        return _native(chosen, vocabulary, params, lengths, payload)
    from nacrith.codec.group_reference import ReferenceDecoder

    return ReferenceDecoder(vocabulary, params, lengths, payload)


def _native(
    chosen: tuple[Library, str | None],
    vocabulary: SortedVocabulary,
    params: CodingParams,
    lengths: Sequence[int],
    payload: bytes | None,
) -> NativeGroup:
    from nacrith.codec.group_native import NativeGroup

    return NativeGroup(*chosen, vocabulary, params, lengths, payload)


def memory(params: CodingParams) -> int:
    """Bytes that the coder of one group needs, about."""
    return (1 << params.bits) + (420 << params.capacity if params.predictors else 0)
