"""Words by a token classifier that was trained to drop words, in the manner of LLMLingua-2 (Pan et al. 2024).

Any transformers checkpoint for token classification with two labels will do, microsoft's among them. Pieces
are joined to words by the offsets that the fast tokenizer reports, not by what the name of the model
suggests. A text becomes pieces once; what the model reads at a time is cut from those, and padded to the
longest of a batch. torch is imported when a scorer is made.

A checkpoint is a directory, or a name on the Hugging Face hub (OWNER/NAME[@REVISION]) that is looked up in
the cache of transformers; it is fetched if the caller says so, and never else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from nacrith import settings
from nacrith.errors import ModelError, ModelMissingError
from nacrith.models.hub.client import require_network
from nacrith.models.store.reference import Reference
from nacrith.prompt.scorers.protocol import F64
from nacrith.prompt.segment import I64, Passage

_INSTALL = "pip install 'nacrith[prompt]'"
_KEEP_LABELS = ("keep", "preserve", "label_1", "1")
_FALLBACK_LENGTH = 512


class _Pieces(NamedTuple):
    """(pieces,) ids and offsets of a text without special tokens."""

    ids: I64
    starts: I64
    ends: I64


class ClassifierScorer:
    """Probability that a word is worth keeping.

    checkpoint: its directory or its name on the hub; with a fast tokenizer. download: whether it may be
    fetched from there. keep: number of the label that keeps; None for the one that is called keep, preserve
    or LABEL_1. word: what the pieces of a word make of their probabilities.
    length: pieces that the model reads at once, special ones included; None for its own limit.
    """

    name = "classifier"
    by_sentence = False
    causal = False

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        download: bool = False,
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
        source = _find(checkpoint, download)
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(**source, use_fast=True)
            model: Any = transformers.AutoModelForTokenClassification.from_pretrained(**source)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).partition("\n")[0].rstrip(".")
            if "revision" not in source:
                raise ModelError(f"{checkpoint}: not a token-classification checkpoint: {first}") from None
            raise ModelError(
                f"{checkpoint}: no token-classification checkpoint of the hub can be had so: {first};"
                " check name, revision and connection, and HF_TOKEN for one that is not public"
            ) from None
        if not self.tokenizer.is_fast:
            raise ModelError(f"{checkpoint}: its tokenizer tells no offsets; add its tokenizer.json")
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
        self._reader = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())  # a copy of our own
        self._reader.no_truncation()
        self._reader.no_padding()
        bare = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self.tokenizer("a")["input_ids"]
        place = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self._around = whole[:place], whole[place + len(bare) :]  # special tokens before and after a text

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        """For each unit the probability of the label that keeps; 0 for one that the tokenizer leaves out."""
        read = [self._pieces(p.text) for p in passages]
        chunks = [
            (k, a, b)
            for k, (p, r) in enumerate(zip(passages, read, strict=True))
            for a, b in self._chunks(p, r)
        ]
        chunks.sort(key=lambda c: c[2] - c[1])  # little padding
        keep = [np.zeros(len(r.ids)) for r in read]
        for begin in range(0, len(chunks), self.batch):
            batch = chunks[begin : begin + self.batch]
            found = self._probabilities([read[k].ids[a:b] for k, a, b in batch])
            for row, (k, a, b) in zip(found, batch, strict=True):
                keep[k][a:b] = row[: b - a]
        return [self._join(p, r, x) for p, r, x in zip(passages, read, keep, strict=True)]

    def _pieces(self, text: str) -> _Pieces:
        found = self._reader.encode(text, add_special_tokens=False)
        places = np.array(found.offsets, np.int64).reshape(-1, 2)
        return _Pieces(np.array(found.ids, np.int64), places[:, 0], places[:, 1])

    def _probabilities(self, rows: Sequence[I64]) -> F64:
        """(rows, longest row) probability of the label that keeps; anything past the end of a row."""
        torch = self._torch
        before, after = self._around
        longest = max(len(row) for row in rows)
        ids = np.full((len(rows), longest + len(before) + len(after)), self.tokenizer.pad_token_id or 0)
        mask = np.zeros(ids.shape, np.int64)
        for i, row in enumerate(rows):
            whole = np.concatenate([before, row, after])
            ids[i, : len(whole)] = whole
            mask[i, : len(whole)] = 1
        with torch.inference_mode():
            logits = self.model(
                input_ids=torch.as_tensor(ids, device=self.device),
                attention_mask=torch.as_tensor(mask, device=self.device),
            ).logits
            keep = torch.softmax(logits.float(), -1)[:, len(before) :, self.keep]
        return np.asarray(keep.cpu().numpy(), np.float64)

    def _join(self, p: Passage, pieces: _Pieces, keep: F64) -> F64:
        """Piece probabilities to those of the units that the pieces overlap."""
        out = np.zeros(len(p))
        first = np.searchsorted(p.ends, pieces.starts, "right")
        last = np.searchsorted(p.starts, pieces.ends, "left")
        count = np.where(pieces.starts < pieces.ends, np.maximum(last - first, 0), 0)
        piece = np.repeat(np.arange(len(keep)), count)  # one entry for each pair of piece and unit
        unit = first[piece] + np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
        if self.word == "mean":
            total = np.bincount(unit, minlength=len(p))
            return np.bincount(unit, keep[piece], minlength=len(p)) / np.maximum(total, 1)
        if self.word == "max":
            np.maximum.at(out, unit, keep[piece])
        else:
            units, place = np.unique(unit, return_index=True)
            out[units] = keep[piece[place]]
        return out

    def _chunks(self, p: Passage, pieces: _Pieces) -> Iterator[tuple[int, int]]:
        """Stretches of the pieces, of whole sentences where they fit, that the model can read at once."""
        count = len(pieces.ids)
        room = self.length - len(self._around[0]) - len(self._around[1])
        starts = np.maximum.accumulate(pieces.starts)
        begin = 0
        while count - begin > room:
            limit = begin + room
            for borders in (p.starts[[a for a, _ in p.sentences]], p.starts):
                places = np.searchsorted(starts, borders, "left")
                fitting = places[(places > begin) & (places <= limit)]
                if len(fitting):
                    limit = int(fitting[-1])
                    break
            yield begin, limit
            begin = limit
        if begin < count:
            yield begin, count


def _find(checkpoint: str | Path, download: bool) -> dict[str, Any]:
    """What `from_pretrained` is told: where a checkpoint is, and whether it may use the network."""
    if Path(checkpoint).is_dir():
        return {"pretrained_model_name_or_path": checkpoint, "local_files_only": True}
    name = str(checkpoint)
    reference = Reference.parse(name)
    if reference is None or reference.file:
        raise ModelError(
            f"{name}: no such directory with a checkpoint, and no OWNER/NAME[@REVISION] on the hub"
        )
    from huggingface_hub import try_to_load_from_cache

    revision = reference.revision or "main"
    if not isinstance(try_to_load_from_cache(reference.repo, "config.json", revision=revision), str):
        if not download:
            raise ModelMissingError(
                f"{name}: no such directory, and not in the cache of transformers either; --download"
                " (download=True) fetches it from the hub"
            )
        require_network(name)
    return {
        "pretrained_model_name_or_path": reference.repo,
        "revision": revision,
        "local_files_only": not download or bool(settings.offline()),
    }


def _keep_label(labels: dict[int, str]) -> int:
    """The label that means keep; by custom the second of two."""
    names = {str(name).casefold(): int(number) for number, name in labels.items()}
    for name in _KEEP_LABELS:
        if name in names:
            return names[name]
    if len(names) == 2:
        return 1
    raise ModelError(f"of the labels {', '.join(names)} none is called keep: say which with `keep`")
