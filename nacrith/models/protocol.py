"""The interface between language models and the rest of nacrith.

Every backend returns next-token distributions in one form: *fixed-point log2 weights*, int32 with
`LOGIT_BITS` fractional bits, one for each token of the vocabulary (a float backend rounds its logits to
that grid). A weight vector w stands for the unnormalised distribution 2^(w / 2^LOGIT_BITS). Only
`nacrith.coder.cdf` turns weights into integer counts, for every backend alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from nacrith.coder.cdf import FRACTION_BITS

if TYPE_CHECKING:
    from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

LOGIT_BITS = FRACTION_BITS

Logits = npt.NDArray[np.int32]


class Tokenizer(Protocol):
    """Encodes any bytes as token ids, and decodes them without loss."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, data: bytes) -> Sequence[int]: ...

    def decode(self, ids: Sequence[int]) -> bytes:
        """The inverse of `encode`. It is defined for every sequence of ids, not only for encoded ones."""
        ...

    def vocabulary(self, size: int) -> SortedVocabulary:
        """The tokens sorted by their bytes, with all `size` tokens of a model's rows."""
        ...


class Session(Protocol):
    """The state (KV cache) of a batch of independent sequences, the lanes, inside one model.

    Exact engines guarantee that the integers returned for a position depend only on the tokens of its lane
    up to that position: not on how the tokens were split into calls, on the other lanes, on the number of
    threads or on the device.
    """

    @property
    def lengths(self) -> Sequence[int]:
        """The number of tokens in each lane."""
        ...

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        """Append tokens[i] (possibly none) to lane i. Return an array of shape (len(tokens[i]), vocab) for
        each lane, whose row j is the distribution of the token that follows tokens[i][:j+1].
        """
        ...

    def extend_tree(self, tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> list[Logits]:
        """Evaluate several continuations (speculative drafts) in one call, without extending the lanes.

        tokens[i] are the nodes of a tree that continues lane i (possibly none); parents[i][j] < j is the
        parent of node j, or -1 where the node follows the end of the lane. Row j of lane i equals the last
        row that `extend` would return for the path from the lane's end to node j. The tree remains available
        to `keep` until the next other call that concerns the lane.
        """
        ...

    def keep(self, lane: int, path: Sequence[int]) -> None:
        """Append the nodes of one path of the lane's tree, as if by `extend`, and discard the tree.

        `path` starts at the end of the lane and continues from parent to child; it may be empty.
        ValueError for any other sequence of nodes.
        """
        ...

    def rollback(self, lane: int, length: int) -> None:
        """Truncate `lane` to its first `length` tokens.

        At least the newest `LanguageModel.rollback_limit` tokens can always be removed; ValueError if more
        are to be removed than this session can.
        """
        ...


class LanguageModel(Protocol):
    """A next-token predictor with a tokenizer."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> bytes:
        """32 bytes: a SHA-256 of everything that affects an integer of the output, or the tokenisation."""
        ...

    @property
    def portable(self) -> bool:
        """True if every machine computes the same integers, so that archives decode anywhere."""
        ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def bos_id(self) -> int:
        """The start token, with which every lane begins."""
        ...

    @property
    def max_context(self) -> int:
        """The largest context window, in tokens, that the model was trained for."""
        ...

    @property
    def max_length(self) -> int:
        """The maximum number of tokens in a lane, at least 256."""
        ...

    @property
    def rollback_limit(self) -> int: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def prepare(self) -> None:
        """Load now whatever would otherwise be loaded on first use."""
        ...

    def verify_source(self) -> None:
        """Check that the file from which the model was loaded still has the content of the fingerprint.

        ModelError if it has not: data that was coded with this model could then be lost. A model that was
        not loaded from a file has nothing to verify.
        """
        return None

    def session(self, lanes: int = 1, window: int | None = None) -> Session:
        """A new session. window: how many of the latest tokens attention sees, at most and by default
        `max_context`."""
        ...
