"""Cautious Next Token Prediction: where the model is in doubt, try a few ways on and take the likeliest.

After Wang et al. 2025 (arXiv 2507.03038). Where the entropy of a row is high, several trials are drawn from
there, each up to the end of a clause, and the one with the lowest perplexity is kept; where it is low, one
token is drawn as usual. The trials grow side by side in one tree, so that a pass serves them all. All of it
is decided in integers: as for `generate`, the same model, prompt and seed give the same text everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nacrith import scratch
from nacrith.coder import cdf
from nacrith.decoding.answer import Generated
from nacrith.decoding.generation import Prompt, prompt_ids
from nacrith.decoding.lanes import PREFILL, Line
from nacrith.decoding.sampling import Sampling
from nacrith.decoding.text import TextStream
from nacrith.errors import DecodingError
from nacrith.models.protocol import LanguageModel, Logits

_UNIT = 16  # fractional bits of weights, and of what is calculated here
_PEAK = 23  # log2 of the weight of the heaviest token, in `cdf.weigh`
_ENDS = b".,;:!?\n"  # of a trial


@dataclass(frozen=True)
class Caution:
    """doubt: the entropy of a row, in bits, from which on trials are made. trials: how many. longest: tokens
    of a trial, at most; it ends after punctuation, too."""

    doubt: float = 3.0
    trials: int = 4
    longest: int = 12

    def __post_init__(self) -> None:
        if not 0 <= self.doubt <= 64:
            raise DecodingError(f"doubt {self.doubt:g}: give an entropy in bits, from 0 to 64")
        if not (1 <= self.trials <= 64 and 1 <= self.longest <= 256):
            raise DecodingError("give 1 to 64 trials of 1 to 256 tokens")


class CautiousAnswer(Generated):
    """An answer, generated while it is iterated over. caution, stop: as asked for. trials: how often there
    were any; passes: of the model, after the prompt's."""

    def __init__(self, model: LanguageModel, line: Line, caution: Caution, stop: Sequence[str]) -> None:
        self.line = line
        self.caution = caution
        self.stop = tuple(stop)
        self.trials = 0
        self._model = model
        self._session = model.session()
        self._pieces = self._generate()

    @property
    def passes(self) -> int:
        return self.line.passes

    def _generate(self) -> Iterator[str]:
        line = self.line
        row: Logits = np.empty(0, np.int32)
        for begin in range(0, len(line.prompt), PREFILL):
            row = self._session.extend([line.prompt[begin : begin + PREFILL]])[0][-1]
        while not self._done():
            if entropy(row) < round(self.caution.doubt * (1 << _UNIT)):
                chosen = [line.sampling.choose(row, len(line.tokens))]
            else:
                self.trials += 1
                chosen = self._try(row)
            for token in chosen:
                if piece := line.take(token, self._model):
                    yield piece
                if self._done():
                    return
            row = self._session.extend([chosen])[0][-1]
            line.passes += 1

    def _done(self) -> bool:
        return bool(self.line.finish)

    def _try(self, row: Logits) -> list[int]:
        """The best trial from the end of the answer, whose last row this is."""
        place, model = len(self.line.tokens), self._model
        room = model.max_length - len(self.line.prompt) - place
        longest = max(1, min(self.caution.longest, self.line.most - place, room))
        trials: list[list[int]] = [[] for _ in range(self.caution.trials)]
        costs = [0] * len(trials)
        last = [row] * len(trials)
        going = list(range(len(trials)))
        while going:
            for i in going:
                sampling = self.line.sampling.renewed(place * self.caution.trials + i)
                token = sampling.choose(last[i], place + len(trials[i]))
                trials[i].append(token)
                costs[i] += surprisal(last[i], token)
            going = [i for i in going if len(trials[i]) < longest and not self._ends(trials[i][-1])]
            if going:
                nodes, parents, ends = _tree([trials[i] for i in going])
                rows = self._session.extend_tree([nodes], [parents])[0]
                self.line.passes += 1
                self.line.drafted += len(nodes)
                for i, end in zip(going, ends, strict=True):
                    last[i] = rows[end]
        return min(zip(costs, trials, strict=True), key=lambda t: (t[0] / len(t[1]), t[1]))[1]

    def _ends(self, token: int) -> bool:
        last = self._model.tokenizer.decode([token]).rstrip(b" ")[-1:]
        return token == self._model.bos_id or (last != b"" and last in _ENDS)


def cautious(
    model: LanguageModel,
    prompt: Prompt,
    *,
    max_tokens: int = 256,
    sampling: Sampling,
    caution: Caution | None = None,
    stop: Sequence[str] = (),
) -> CautiousAnswer:
    """An answer to `prompt`; see `Caution`. sampling: of the tokens and trials, with a temperature.

    The answer is not a sample of the model's distribution: likely clauses are preferred. DecodingError for a
    value that is not allowed or a prompt that is too long.
    """
    if not sampling.temperature:
        raise DecodingError("temperature 0: trials would all be the same; give a temperature above it")
    if max_tokens < 0:
        raise DecodingError(f"max_tokens {max_tokens}: give a number of tokens")
    line = Line(prompt_ids(model, prompt), max_tokens, sampling, TextStream(model.tokenizer, stop))
    return CautiousAnswer(model, line, caution or Caution(), stop)


def entropy(row: Logits) -> int:
    """The entropy of a row (V,), in 2^-16 bits, in integers: the same on every machine."""
    logits, weights, total = _weights(row)
    mean = int((weights * (-logits >> 4)).sum())  # magnitudes: 2^24 x 2^17 each, of a sum below 2^62
    return _log2(total) - (_PEAK << _UNIT) + (mean << 4) // total


def surprisal(row: Logits, token: int) -> int:
    """-log2 of the probability that a row (V,) gives to a token, in 2^-16 bits."""
    _, _, total = _weights(row)
    return _log2(total) - (_PEAK << _UNIT) + int(row.max()) - int(row[token])


def _weights(row: Logits) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """The log2 weights below the heaviest one's, at least -2^21, the weights, at most 2^23, and their sum."""
    top = int(row.argmax())
    logits = np.maximum(row.astype(np.int64) - int(row[top]), -(1 << 21))
    out = scratch.empty("candidates", len(row))
    total = cdf.weigh(logits.astype(np.int32), top, out)
    return logits, out.astype(np.int64), total


def _log2(n: int) -> int:
    """floor(2^16 log2 n) or 1 less, by squaring."""
    whole = n.bit_length() - 1
    x, out = (n << 62) >> whole, whole
    for _ in range(_UNIT):
        x = x * x >> 62
        bit = x >> 63
        x >>= bit
        out = out << 1 | bit
    return out


def _tree(paths: Sequence[Sequence[int]]) -> tuple[list[int], list[int], list[int]]:
    """The tokens and parents of the tree of these paths, and the last node of each."""
    nodes: dict[tuple[int, int], int] = {}
    ends = []
    for path in paths:
        at = -1
        for token in path:
            at = nodes.setdefault((at, token), len(nodes))
        ends.append(at)
    return [token for _, token in nodes], [parent for parent, _ in nodes], ends
