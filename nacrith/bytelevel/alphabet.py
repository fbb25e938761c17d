"""A model's tokens as byte strings in sorted order, with the weights of its rows in that order.

What the sorted vocabulary lacks for this purpose is added here. A byte for which the vocabulary has no token
is spelt by an escape and two digits (`byte_bpe`); here it becomes one *spelt token*. The model's probability
of the escape is shared equally among the bytes that need it, and the digits are not asked about, so that a
byte costs one row whatever byte it is. Tokens that BPE never makes are left out of `starts` and `merged`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nacrith.bytelevel.pairs import Pairs
from nacrith.coder import cdf
from nacrith.models.protocol import Logits, Tokenizer
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer, Rules
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

F64 = npt.NDArray[np.float64]


class Alphabet:
    """The tokens with bytes, by rank.

    size: their number N. starts: bool (N,), tokens that can be the first of a piece. merged: those that BPE
    makes of their own bytes, and that can therefore stand next to others in a piece.
    ends: the ids that stand for the end of the text.
    """

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, ends: Sequence[int]) -> None:
        self._vocab_size = vocab_size
        self._ends = np.array(ends, np.int64)
        self._spelt: dict[int, tuple[int, ...]] = {}
        if isinstance(tokenizer, ByteTokenizer):
            missing = [byte for byte, ids in enumerate(tokenizer.rules().byte_ids) if len(ids) > 1]
            self._spelt = {vocab_size + i: tokenizer.rules().byte_ids[byte] for i, byte in enumerate(missing)}
        else:
            missing = []
        self._escape = next(iter(self._spelt.values()))[0] if self._spelt else -1
        # The order of the codec, in which the spelt tokens find their places.
        codec: SortedVocabulary = tokenizer.vocabulary(vocab_size)
        self.vocabulary = codec.with_tokens([bytes((byte,)) for byte in missing])
        self.size = self.vocabulary.spelled
        self._order = self.vocabulary.order[: self.size]
        self._is_token = {self.token_bytes(rank) for rank in range(self.size)}
        self.starts = np.ones(self.size, np.bool_)
        self.merged = np.ones(self.size, np.bool_)

    def token_bytes(self, rank: int) -> bytes:
        return self.vocabulary.token_bytes(rank)

    def is_token(self, data: bytes) -> bool:
        return data in self._is_token

    def ids_of(self, rank: int) -> tuple[int, ...]:
        """What the model is given for the token of a rank: one id, or three for a spelt byte."""
        token = int(self.vocabulary.order[rank])
        return self._spelt.get(token, (token,))

    def weights(self, row: Logits) -> tuple[F64, float]:
        """(weights (N,) in sorted order, weight of the end): the counts that the coder would use, or a
        multiple of them. Integers, so that their sums are exact."""
        counts = cdf.counts(row).astype(np.float64)  # what is multiplied below does not fit binary32
        stop = float(counts[self._ends].cumsum()[-1]) if len(self._ends) else 0.0
        if not self._spelt:
            return counts[self._order], stop
        # Each byte gets its share of the escape's count as an integer: all others are multiplied instead.
        parts = len(self._spelt)
        scaled = np.full(self._vocab_size + parts, counts[self._escape])
        np.multiply(counts, float(parts), out=scaled[: self._vocab_size])
        return scaled[self._order], stop * parts

    def pairs(self, rules: Rules) -> Pairs:
        """Which tokens cannot be neighbours; finds `starts` and `merged` on the way."""
        vocabulary = self.vocabulary
        strings = {i: s for s, i in rules.ids.items()}
        whole = np.zeros(len(vocabulary.order), np.bool_)
        alone = whole.copy()
        for token, string in strings.items():
            if token < self._vocab_size:
                whole[token] = rules.merge(string) == [token]
                alone[token] = True
        spelt = np.array(list(self._spelt), np.int64)
        self.merged = whole[self._order]
        starts = alone if rules.whole_words else whole.copy()
        starts[spelt] = True
        self.starts = starts[self._order]
        return Pairs(len(vocabulary.order), rules.merges, strings, rules.merge)
