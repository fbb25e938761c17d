"""The ensemble that Nacrith published, to be compared with ours. For benchmarks only: floats, slow.

After anchors on Nacrith-GPU 1.1 (Tacconelli 2026): token n-grams of orders 1 to 4, each interpolated with
the one below by lambda = total / (total + 5), over an add-one unigram; a bias head in the log domain,
SGD of rate 0.001; a linear mixture of model and n-grams whose weights (0.85 and 0.15 at first) are
multiplied by p(token)^0.5; 100 tokens of warm-up with the model alone; and, unless skip is off, tokens
whose n-gram entropy is below 1.5 bits coded by the n-grams alone. Written from that description.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from nacrith.arith import F64

ORDERS = 4
WARM_UP = 100
SKIP_BITS = 1.5


class NacrithEnsemble:
    """probabilities(row) -> float64 (V,); then update(token)."""

    def __init__(self, vocab_size: int, skip: bool) -> None:
        self._vocab = vocab_size
        self._skip = skip
        self._unigrams = np.zeros(vocab_size)
        self._contexts: list[dict[tuple[int, ...], dict[int, int]]] = [
            defaultdict(lambda: defaultdict(int)) for _ in range(ORDERS + 1)
        ]
        self._history: list[int] = []
        self._bias = np.zeros(vocab_size)
        self._log_weights = np.log([0.85, 0.15])

    def probabilities(self, logits: np.ndarray) -> F64:
        gram = self._ngram()
        model = np.exp2((logits - float(logits.max())) / 65536)
        model /= model.sum()
        self._parts: tuple[F64, F64] | None = None
        self._biased = None
        if len(self._history) < WARM_UP:
            self._biased = model
            return model
        if self._skip and -float((gram * np.log2(gram + 1e-10)).sum()) < SKIP_BITS:
            return gram
        self._biased = (model + 1e-10) * np.exp(self._bias)
        self._biased /= self._biased.sum()
        self._parts = (self._biased, gram)
        weights = np.exp(self._log_weights)
        return weights[0] * self._biased + weights[1] * gram

    def update(self, token: int) -> None:
        if self._parts is not None:
            seen = [max(part[token], 1e-8) for part in self._parts]
            self._log_weights = self._log_weights + 0.5 * np.log(seen)
            self._log_weights -= np.logaddexp(*self._log_weights)
        if self._biased is not None:
            self._bias -= 0.001 * self._biased
            self._bias[token] += 0.001
        self._unigrams[token] += 1
        for order in range(1, min(ORDERS, len(self._history)) + 1):
            self._contexts[order][tuple(self._history[-order:])][token] += 1
        self._history.append(token)

    def _ngram(self) -> F64:
        p = (self._unigrams + 1) / (len(self._history) + self._vocab)
        for order in range(1, min(ORDERS, len(self._history)) + 1):
            seen = self._contexts[order].get(tuple(self._history[-order:]))
            if seen:
                total = sum(seen.values())
                share = total / (total + 5)
                p = (1 - share) * p
                for token, count in seen.items():
                    p[token] += share * count / total
        return p
