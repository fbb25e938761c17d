"""Groups of lanes in native code: what `group_reference` does, with the same bytes, faster.

codecs/learner holds the arithmetic; the Python classes are the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np

from nacrith.codec.params import CodingParams
from nacrith.models.protocol import Logits
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary
from nacrith.native import Library, group, release_with
from nacrith.predictors import registry
from nacrith.predictors.fixed import exp_table, lg_table
from nacrith.stateful import Stateful


@cache
def _tables() -> np.ndarray:
    return np.array([lg_table(), exp_table()], np.int64)


class _Vocabulary(Stateful):
    """The native form of a vocabulary."""

    def __init__(self, library: Library, sorted_by_bytes: SortedVocabulary) -> None:
        v = sorted_by_bytes
        self.handle = group.vocabulary(library, v.spelled, v.order, v.text, v.offsets)
        release_with(self, library, self.handle)


_made: WeakKeyDictionary[SortedVocabulary, _Vocabulary] = WeakKeyDictionary()


def _native(library: Library, vocabulary: SortedVocabulary) -> _Vocabulary:
    if (found := _made.get(vocabulary)) is None:
        found = _made[vocabulary] = _Vocabulary(library, vocabulary)
    return found


class NativeGroup(Stateful):
    """A group that is being coded. lengths: tokens of each lane. payload: to be decoded; None to encode.

    kernels: a name out of `library.kernels()`, or None for the best. Results do not depend on it. After an
    error the group is of no more use.
    """

    def __init__(
        self,
        library: Library,
        kernels: str | None,
        vocabulary: SortedVocabulary,
        params: CodingParams,
        lengths: Sequence[int],
        payload: bytes | None = None,
    ) -> None:
        self._library, self._size = library, vocabulary.size
        words = _native(library, vocabulary)
        chosen = registry.SETS[params.predictors]
        prior = registry.prior_of(chosen)
        self._handle = group.create(
            library,
            words.handle,
            chosen.native,
            1 << params.capacity,
            _tables(),
            b"" if prior is None else prior.to_bytes(),
            params.bits_for(sum(lengths)),
            lengths,
            kernels,
            payload,
        )
        release_with(self, library, self._handle, words)

    def encode(self, rows: Logits, lanes: np.ndarray, at: np.ndarray, tokens: np.ndarray) -> None:
        """Code n tokens in the order given: token i is the next one of lane lanes[i], under row rows[at[i]].
        rows: int32 (m, V); lanes, tokens: int32 (n,); at: int64 (n,)."""
        group.take(self._library, self._handle, self._size, rows, lanes, at, tokens, code=True)

    def learn(self, rows: Logits, lanes: np.ndarray, at: np.ndarray, tokens: np.ndarray) -> None:
        """Learn n tokens and code nothing; arguments as in `encode`."""
        group.take(self._library, self._handle, self._size, rows, lanes, at, tokens, code=False)

    def decode(self, rows: Logits, lanes: np.ndarray, at: np.ndarray) -> list[int]:
        """The n tokens; arguments as in `encode`. CorruptError if the payload is damaged beyond decoding."""
        return [int(t) for t in group.decode(self._library, self._handle, self._size, rows, lanes, at)]

    def finish(self) -> bytes:
        """The coded bytes, once every lane is complete."""
        return group.finish(self._library, self._handle)
