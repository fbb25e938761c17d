"""The model seam: what a predictor of the next token is to the rest of nacrith.

Every backend hands out next-token distributions in one form: *fixed-point log2 weights*, int32 with
`LOGIT_BITS` fractional bits, one per token of the vocabulary (a float backend rounds its logits to
that grid). A weight vector w stands for the distribution 2^(w / 2^LOGIT_BITS), not normalised. What
turns it into integer counts is `nacrith.coder.cdf`, once, for every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nacrith.coder.cdf import FRACTION_BITS

LOGIT_BITS = FRACTION_BITS

Logits = npt.NDArray[np.int32]


class Tokenizer(Protocol):
    """Bytes to token ids and back, without loss for any bytes."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, data: bytes) -> Sequence[int]: ...

    def decode(self, ids: Sequence[int]) -> bytes:
        """Bytes of any id sequence. Inverse of `encode`; defined for every other sequence too."""
        ...


class Session(Protocol):
    """The state of `lanes` independent sequences inside one model.

    Exact engines promise: the integers returned for a position depend only on the tokens of its lane
    up to it; not on how they were split into calls, nor on the other lanes, nor on threads or device.
    """

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens held by each lane."""
        ...

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        """Append tokens[i] to lane i (possibly none) and return, for each lane, an array of shape
        (len(tokens[i]), vocab): row j is the distribution of the token that follows tokens[i][:j+1].
        """
        ...

    def extend_tree(self, tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> list[Logits]:
        """Look at several continuations at once: tokens[i] are the nodes of a tree behind the end of
        lane i (possibly none), parents[i][j] < j is the node that node j follows, -1 for the lane's end.

        Row j of lane i is the last row of `extend` by the path from the lane's end to node j. The lane
        stays as it is; the tree waits for `keep` until something else is done to the lane.
        """
        ...

    def keep(self, lane: int, path: Sequence[int]) -> None:
        """Append some nodes of the lane's tree, as if by `extend`, and forget the rest of it.

        `path` leads from the lane's end down, each node followed by one of its children, and may be
        empty; else ValueError.
        """
        ...

    def rollback(self, lane: int, length: int) -> None:
        """Forget everything of `lane` after its first `length` tokens.

        Guaranteed for at least the newest `LanguageModel.rollback_limit` tokens; else ValueError.
        """
        ...


class LanguageModel(Protocol):
    """A next-token predictor with a tokenizer."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> bytes:
        """32 bytes: SHA-256 over all that changes an integer of the output or the tokenisation."""
        ...

    @property
    def portable(self) -> bool:
        """True if every machine gives the same integers, so that archives can travel."""
        ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def bos_id(self) -> int:
        """The token every lane begins with."""
        ...

    @property
    def max_context(self) -> int:
        """The largest window, in tokens, that the model was made for."""
        ...

    @property
    def max_length(self) -> int:
        """The most tokens that a lane can hold, at least 256."""
        ...

    @property
    def rollback_limit(self) -> int: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    def prepare(self) -> None:
        """Load now what would be loaded when it is first used; otherwise nothing."""
        ...

    def verify_source(self) -> None:
        """ModelError if the file that the model was loaded from no longer has the content that the
        fingerprint stands for: then what was coded with it may be lost. A model without one has nothing to
        verify."""
        return None

    def session(self, lanes: int = 1, window: int | None = None) -> Session:
        """A new session; `window` is the number of latest tokens attended to (at most and by default
        `max_context`)."""
        ...
