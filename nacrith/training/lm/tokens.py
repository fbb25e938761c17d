"""A corpus as token ids on disk, and training batches out of them in an order that only the seed decides.

A store is one .npy file of uint16 ids, documents one behind the other, each followed by the start token
(which no document holds), and beside it a JSON file with the kinds. It is mapped, not read: a GPU job of
hundreds of millions of tokens and a laptop use the same file.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nacrith import jsontext
from nacrith.cores import usable_cores
from nacrith.errors import NacrithError
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.training.corpus import Document

U16 = npt.NDArray[np.uint16]

_FEW = 64  # documents that are tokenised here rather than by processes


@dataclass(frozen=True)
class Sample:
    """Token ids of one text of the validation set, without start token, and the bytes they stand for."""

    ids: tuple[int, ...]
    size: int
    kind: str


def write_store(
    path: Path, found: Iterable[Document], tokenizer: ByteTokenizer, start: int
) -> dict[str, int]:
    """Tokenise documents to `path`; returns tokens by kind. Vocabularies of up to 65,536 tokens.

    start: the token that stands between documents.
    """
    if tokenizer.vocab_size > 1 << 16:
        raise NacrithError(f"a vocabulary of {tokenizer.vocab_size} tokens: training takes up to 65536")
    counts: Counter[str] = Counter()
    parts: list[U16] = []
    for kind, ids in _tokenised(found, tokenizer):
        parts += [ids, np.array([start], np.uint16)]
        counts[kind] += len(ids)
    np.save(path, np.concatenate(parts) if parts else np.zeros(0, np.uint16))
    path.with_suffix(".json").write_text(json.dumps({"vocab": tokenizer.vocab_size, "tokens": dict(counts)}))
    return dict(counts)


def _tokenised(found: Iterable[Document], tokenizer: ByteTokenizer) -> Iterator[tuple[str, U16]]:
    """Kind and ids of each document, in order; by processes on every core if there is much to do."""
    rest = iter(found)
    first = list(islice(rest, _FEW))
    if len(first) < _FEW:
        yield from ((d.kind, _ids(tokenizer, d.data)) for d in first)
        return
    workers, spawn = usable_cores(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, _begin, (tokenizer.definition,)) as pool:
        for group in _batched(chain(first, rest), 4 * _FEW * workers):  # bounds what waits in memory
            ids = pool.map(_work, (d.data for d in group), chunksize=16)
            yield from zip((d.kind for d in group), ids, strict=True)


_tokenizer: ByteTokenizer | None = None  # of a worker process


def _begin(definition: bytes) -> None:
    global _tokenizer
    _tokenizer = ByteTokenizer.from_definition(definition)


def _work(data: bytes) -> U16:
    assert _tokenizer
    return _ids(_tokenizer, data)


def _ids(tokenizer: ByteTokenizer, data: bytes) -> U16:
    return np.frombuffer(tokenizer.encode(data), np.int32).astype(np.uint16)


def _batched(items: Iterable[Document], count: int) -> Iterator[list[Document]]:
    rest = iter(items)
    while group := list(islice(rest, count)):
        yield group


def read_store(path: Path, vocab: int) -> U16:
    """The ids of a store, mapped. NacrithError if it was made with another vocabulary's size."""
    try:
        found = jsontext.parse(path.with_suffix(".json").read_text())["vocab"]
        ids: U16 = np.load(path, mmap_mode="r")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NacrithError(f"{path}: not a store of tokens: {error}") from None
    if found != vocab or ids.dtype != np.uint16 or ids.ndim != 1:
        raise NacrithError(f"{path}: made with a vocabulary of {found} tokens; the model has {vocab}")
    return ids


def batches(ids: U16, start: int, length: int, count: int, seed: int, skip: int = 0) -> Iterator[Tensor]:
    """Batches for ever: (count, length + 1) ids, each row the start token and `length` tokens of the corpus.

    Every window of the corpus comes once before any comes again, in an order that seed and pass decide; the
    cuts move with every pass. skip: batches that were used before.
    """
    windows = (len(ids) - length) // length
    if windows < count:
        raise NacrithError(
            f"{len(ids)} tokens are too few to train on: {length * (count + 1)} are needed at least"
        )
    per_pass = windows // count
    number, first = divmod(skip, per_pass)
    while True:
        rng = np.random.default_rng((seed, number))
        shift = int(rng.integers(length))
        order = rng.permutation(windows)
        for i in range(first, per_pass):
            begins = order[i * count : (i + 1) * count] * length + shift
            rows = np.stack([ids[b : b + length] for b in begins]).astype(np.int64)
            yield torch.from_numpy(np.pad(rows, ((0, 0), (1, 0)), constant_values=start))
        number, first = number + 1, 0


def validation(
    found: Iterable[Document], tokenizer: ByteTokenizer, length: int, per_kind: int
) -> list[Sample]:
    """The first `length` tokens of up to `per_kind` documents of each kind."""
    chosen: defaultdict[str, list[Sample]] = defaultdict(list)
    for document in found:
        mine = chosen[document.kind]
        if len(mine) < per_kind:
            ids = tuple(tokenizer.encode(document.data[: 16 * length])[:length])
            mine.append(Sample(ids, len(tokenizer.decode(ids)), document.kind))
    return [sample for samples in chosen.values() for sample in samples]
