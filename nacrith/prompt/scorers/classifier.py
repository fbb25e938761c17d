"""Words by a token classifier that was trained to drop words, in the manner of LLMLingua-2 (Pan et al. 2024).

Any transformers checkpoint for token classification with two labels will do, microsoft's among them. Pieces
are joined to words by the offsets that the fast tokenizer reports, not by what the name of the model
suggests, and batches are padded with the tokenizer's own padding. torch is imported when a scorer is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nacrith.errors import ModelError
from nacrith.prompt.scorers.protocol import F64
from nacrith.prompt.segment import Passage

_INSTALL = "pip install 'nacrith[prompt]'"
_KEEP_LABELS = ("keep", "preserve", "label_1", "1")
_FALLBACK_LENGTH = 512


class ClassifierScorer:
    """Probability that a word is worth keeping.

    directory: of a checkpoint with a fast tokenizer. keep: number of the label that keeps; None for the one
    that is called keep, preserve or LABEL_1. word: what the pieces of a word make of their probabilities.
    length: pieces that the model reads at once, special ones included; None for its own limit.
    """

    name = "classifier"
    by_sentence = False
    causal = False

    def __init__(
        self,
        directory: str | Path,
        *,
        keep: int | None = None,
        word: Literal["mean", "first", "max"] = "mean",
        batch: int = 16,
        length: int | None = None,
        threads: int | None = None,
    ) -> None:
        try:
            import torch
            import transformers
        except ImportError as error:
            raise ModelError(f"token classifiers need {error.name}; run: {_INSTALL}") from None
        if not Path(directory).is_dir():
            raise ModelError(f"{directory}: no such directory with a checkpoint; nothing is downloaded")
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                directory, local_files_only=True, use_fast=True
            )
            model: Any = transformers.AutoModelForTokenClassification.from_pretrained(
                directory, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            first = str(error).partition("\n")[0]
            raise ModelError(f"{directory}: not a token-classification checkpoint: {first}") from None
        if not self.tokenizer.is_fast:
            raise ModelError(f"{directory}: its tokenizer tells no offsets; add its tokenizer.json")
        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device).eval()
        self.keep = _keep_label(model.config.id2label) if keep is None else keep
        self.word = word
        self.batch = batch
        known = getattr(model.config, "max_position_embeddings", None) or _FALLBACK_LENGTH
        limit = min(known, self.tokenizer.model_max_length, _FALLBACK_LENGTH)
        self.length = min(length or limit, limit)

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """For each unit the probability of the label that keeps; 0 for one that the tokenizer leaves out."""
        chunks = [(k, a, b) for k, p in enumerate(passages) for a, b in self._chunks(p)]
        chunks.sort(key=lambda c: len(passages[c[0]].text[c[1] : c[2]]))  # little padding
        out = [np.zeros(len(p)) for p in passages]
        for begin in range(0, len(chunks), self.batch):
            batch = chunks[begin : begin + self.batch]
            texts = [passages[k].text[a:b] for k, a, b in batch]
            encoded = self.tokenizer(
                texts,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                truncation=True,
                max_length=self.length,
                padding=True,
                return_tensors="np",
            )
            keep = self._probabilities(encoded)
            for row, (k, a, _) in enumerate(batch):
                real = (encoded["special_tokens_mask"][row] == 0) & (encoded["attention_mask"][row] == 1)
                self._join(passages[k], a, encoded["offset_mapping"][row][real], keep[row][real], out[k])
        return out

    def _probabilities(self, encoded: Any) -> F64:
        """(texts, pieces) probability of the label that keeps."""
        torch = self._torch
        inputs = {n: encoded[n] for n in self.tokenizer.model_input_names if n in encoded}
        with torch.inference_mode():
            logits = self.model(
                **{n: torch.as_tensor(v, device=self.device) for n, v in inputs.items()}
            ).logits
            keep = torch.softmax(logits.float(), -1)[..., self.keep]
        return np.asarray(keep.cpu().numpy(), np.float64)

    def _join(self, p: Passage, base: int, offsets: Any, keep: F64, out: F64) -> None:
        """Piece probabilities to those of the units that the pieces overlap; into `out`."""
        starts, ends = offsets[:, 0] + base, offsets[:, 1] + base
        first = np.searchsorted(p.ends, starts, "right")
        last = np.searchsorted(p.starts, ends, "left")
        pieces: dict[int, list[float]] = {}
        for a, b, x, empty in zip(
            first.tolist(), last.tolist(), keep.tolist(), (starts == ends).tolist(), strict=True
        ):
            for unit in range(a, b) if not empty else ():
                pieces.setdefault(unit, []).append(x)
        for unit, values in pieces.items():
            if self.word == "first":
                out[unit] = values[0]
            else:
                out[unit] = max(values) if self.word == "max" else sum(values) / len(values)

    def _chunks(self, p: Passage) -> Iterator[tuple[int, int]]:
        """Stretches of the text, of whole sentences where they fit, that the model can read at once."""
        if not len(p):
            return
        room = self.length - self.tokenizer.num_special_tokens_to_add()
        found = self.tokenizer(p.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        piece_starts = np.array([a for a, _ in found["offset_mapping"]], np.int64)
        sentence_starts = np.array([p.starts[a] for a, _ in p.sentences], np.int64)
        cuts = [0]
        while True:
            done = int(np.searchsorted(piece_starts, cuts[-1], "left"))
            # A piece more than counted may be needed where a cut falls inside a word.
            if done + room - 1 >= len(piece_starts):
                break
            limit = int(piece_starts[done + room - 1])
            for borders in (sentence_starts, p.starts):
                fitting = borders[(borders > cuts[-1]) & (borders <= limit)]
                if len(fitting):
                    cuts.append(int(fitting[-1]))
                    break
            else:
                cuts.append(max(limit, cuts[-1] + 1))  # one word longer than the model reads
        yield from pairwise([*cuts, len(p.text)])


def _keep_label(labels: dict[int, str]) -> int:
    """The label that means keep; by custom the second of two."""
    names = {str(name).casefold(): int(number) for number, name in labels.items()}
    for name in _KEEP_LABELS:
        if name in names:
            return names[name]
    if len(names) == 2:
        return 1
    raise ModelError(f"of the labels {', '.join(names)} none is called keep: say which with `keep`")
