"""A language model whose rows are noise from a hash of the tokens: each context has one of its own."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from nacrith.models.exact.tree import plant
from nacrith.models.protocol import LOGIT_BITS, LanguageModel, Logits, Tokenizer


def row(tokens: Sequence[int], vocab: int, seed: int = 0) -> Logits:
    """Fixed-point log2 weights (vocab,) of the token after `tokens`, spread over some 12 bits."""
    rng = np.random.default_rng(zlib.crc32(np.array(tokens, np.int64).tobytes(), seed))
    return (rng.normal(0, 2.5, vocab) * (1 << LOGIT_BITS)).astype(np.int32)


class ToySession:
    """Lanes of a ToyModel; keeps the rules of models.protocol.Session."""

    def __init__(self, model: ToyModel, lanes: int) -> None:
        self.model = model
        self.lanes: list[list[int]] = [[] for _ in range(lanes)]
        self._trees: list[tuple[list[int], list[int]]] = [([], []) for _ in range(lanes)]

    @property
    def lengths(self) -> list[int]:
        return [len(lane) for lane in self.lanes]

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        out = []
        for lane, new in zip(self.lanes, tokens, strict=True):
            rows = []
            for token in new:
                lane.append(int(token))
                rows.append(row(lane, self.model.vocab_size, self.model.seed))
            out.append(np.array(rows, np.int32).reshape(len(new), -1))
        return out

    def extend_tree(self, tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> list[Logits]:
        plant(tokens, parents, len(self.lanes))
        out = []
        for i, (new, above) in enumerate(zip(tokens, parents, strict=True)):
            paths: list[list[int]] = []
            for token, parent in zip(new, above, strict=True):
                paths.append([*(paths[parent] if parent >= 0 else []), int(token)])
            rows = [row([*self.lanes[i], *p], self.model.vocab_size, self.model.seed) for p in paths]
            out.append(np.array(rows, np.int32).reshape(len(new), -1))
            self._trees[i] = (list(map(int, new)), list(above))
        return out

    def keep(self, lane: int, path: Sequence[int]) -> None:
        tokens, parents = self._trees[lane]
        assert all(parents[b] == a for a, b in zip([-1, *path], path, strict=False))
        self.lanes[lane] += [tokens[n] for n in path]

    def rollback(self, lane: int, length: int) -> None:
        assert 0 <= length <= len(self.lanes[lane])
        del self.lanes[lane][length:]


class ToyModel(LanguageModel):
    """Any tokenizer with such a model. Token 0 begins and ends every text."""

    name = "toy"
    portable = True
    bos_id = 0
    max_context = 1 << 20
    max_length = 1 << 20
    rollback_limit = 256

    def __init__(self, tokenizer: Tokenizer, seed: int = 0) -> None:
        self._tokenizer, self.seed = tokenizer, seed

    @property
    def fingerprint(self) -> bytes:
        return bytes(32)

    @property
    def vocab_size(self) -> int:
        return self._tokenizer.vocab_size

    @property
    def tokenizer(self) -> Tokenizer:
        return self._tokenizer

    def prepare(self) -> None:
        pass

    def session(self, lanes: int = 1, window: int | None = None) -> ToySession:
        return ToySession(self, lanes)
