"""The built-in word classifier in numpy: a few layers of a BERT encoder (Devlin et al. 2019) that predict
which words of a sentence a person would keep.

A sentence is computed alone, so its context does not change a word's score. Matrices are stored as small
integers with a scale for each row, and are float32 once loaded. The model file is an .npz of those arrays,
the vocabulary and the number of heads, written by `nacrith.training`. onnxruntime is not used: it would add
20 MB to save a second.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from nacrith import atomic, jsontext
from nacrith.arith import F32
from nacrith.errors import ModelError

Arrays = Mapping[str, npt.NDArray[Any]]

UNKNOWN, BEGIN, END = "[UNK]", "[CLS]", "[SEP]"
NUMBER = "0"
"""Replaces every number, since the training data does not distinguish numbers."""

PIECES = 8
"""Most pieces read of a word; a word is scored by its first piece."""

FORMAT = 1
MATRICES = ("qkv", "output", "up", "down")
NORMS = ("attention_norm", "output_norm")
EMBEDDING_LIMIT, MATRIX_LIMIT = 15, 63
"""The largest stored integers. Small ones pack well, and cost next to nothing (weights/README.md)."""

_EPS = np.float32(1e-12)
_GELU = np.float32(np.sqrt(2 / np.pi))
_WEIGHTS = "words.npz"


def wordpiece(vocabulary: Sequence[str]) -> Tokenizer:
    """BERT's uncased tokenizer, with all numbers alike and plain quotation marks."""
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.BertNormalizer(),
            normalizers.Replace(Regex("[0-9]+(?:[.,:][0-9]+)*"), NUMBER),
            normalizers.Replace(Regex("[‘’‛]"), "'"),
            normalizers.Replace(Regex("[“”„«»]"), '"'),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def pieces(tokenizer: Tokenizer, sentences: Sequence[Sequence[str]]) -> Iterator[tuple[list[int], list[int]]]:
    """For each sentence, given as words: the ids of its pieces, and for each piece the number of its
    word."""
    for sentence in sentences:
        # `encode_batch` would start threads, which may be refused and do not survive a fork.
        found = tokenizer.encode(list(sentence), is_pretokenized=True, add_special_tokens=False)
        ids: list[int] = []
        words: list[int] = []
        for number, word in zip(found.ids, found.word_ids, strict=True):
            assert word is not None  # only special pieces have no word
            if len(words) < PIECES or words[-PIECES] != word:
                ids.append(number)
                words.append(word)
        yield ids, words


def quantised(x: F32, limit: int = 127) -> tuple[npt.NDArray[np.int8], F32]:
    """Rows q of integers from -limit to limit, and scales s, with x ~ q * s[:, None]."""
    scale = np.maximum(np.abs(x).max(axis=1), 1e-30).astype(np.float32) / np.float32(limit)
    return np.rint(x / scale[:, None]).astype(np.int8), scale


def write_model(
    path: Path, arrays: Arrays, vocabulary: Sequence[str], heads: int, info: Mapping[str, Any]
) -> None:
    """Save float32 arrays under their names (see `WordEncoder`), with matrices as integers in
    int8."""
    out: dict[str, npt.NDArray[Any]] = {}
    for name, x in arrays.items():
        if x.ndim == 2:
            limit = EMBEDDING_LIMIT if name == "embedding" else MATRIX_LIMIT
            out[name], out[f"{name}.scale"] = quantised(x.astype(np.float32), limit)
        else:
            out[name] = x.astype(np.float32)
    header = {"format": FORMAT, "heads": heads, **info}
    out["header"] = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    out["vocabulary"] = np.frombuffer("\n".join(vocabulary).encode(), np.uint8)
    made = BytesIO()
    np.savez(made, allow_pickle=False, **out)
    atomic.write(path, made.getvalue())


class WordEncoder:
    """Embedding, layers and head, as saved by `write_model`.

    Arrays, for a width W, layers i and an inner width I: embedding (V, W), position (P, W) with the type
    added, embedding_norm, and i.qkv (3W, W), i.output (W, W), i.up (I, W), i.down (W, I), each with a
    `.bias`; i.attention_norm and i.output_norm (2W,), gain then bias; head (W + 1,), with the bias last.
    together: most units of a group of sentences that the model was trained to read together; 0 if there
    are no groups.
    """

    def __init__(self, arrays: Arrays, heads: int, vocabulary: Sequence[str], together: int = 0) -> None:
        self.together = together
        self.embedding, self.scale = arrays["embedding"], arrays["embedding.scale"]
        self.position = _matrix(arrays, "position")
        self.embedding_norm = arrays["embedding_norm"]
        self.head = arrays["head"]
        self.heads = heads
        self.layers = [
            {name: _matrix(arrays, f"{i}.{name}").T for name in MATRICES}
            | {f"{name}.bias": arrays[f"{i}.{name}.bias"] for name in MATRICES}
            | {name: arrays[f"{i}.{name}"] for name in NORMS}
            for i in range(sum(name.endswith(".qkv") for name in arrays))
        ]
        ids = {piece: number for number, piece in enumerate(vocabulary)}
        self.begin, self.end = ids[BEGIN], ids[END]
        self.tokenizer = wordpiece(vocabulary)
        self.room = len(self.position) - 2  # pieces of a sentence

    def logits(self, ids: Sequence[int]) -> F32:
        """Log odds of keeping, for each of at most `room` pieces."""
        row = np.array([self.begin, *ids, self.end])
        x = self.embedding[row].astype(np.float32) * self.scale[row, None]  # (pieces, width)
        x = _norm(x + self.position[: len(row)], self.embedding_norm)
        for layer in self.layers:
            x = _norm(x + self._attention(x, layer), layer["attention_norm"])
            inner = _gelu(x @ layer["up"] + layer["up.bias"])
            x = _norm(x + (inner @ layer["down"] + layer["down.bias"]), layer["output_norm"])
        return (x[1:-1] @ self.head[:-1] + self.head[-1]).astype(np.float32)

    def _attention(self, x: F32, layer: Mapping[str, F32]) -> F32:
        count, width = x.shape
        qkv = x @ layer["qkv"] + layer["qkv.bias"]
        q, k, v = qkv.reshape(count, 3, self.heads, width // self.heads).transpose(1, 2, 0, 3)
        scores = (
            q @ k.transpose(0, 2, 1) / np.float32(np.sqrt(width // self.heads))
        )  # (heads, pieces, pieces)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (scores @ v) / scores.sum(axis=-1, keepdims=True)
        return mixed.transpose(1, 0, 2).reshape(count, width) @ layer["output"] + layer["output.bias"]

    def score_words(self, sentences: Sequence[Sequence[str]]) -> list[F32]:
        """For the words of each sentence, the probability of being kept; 0 for a word without a piece."""
        out = []
        for sentence, (ids, words) in zip(sentences, pieces(self.tokenizer, sentences), strict=True):
            keep = np.zeros(len(sentence), np.float32)
            numbers = np.array(words, np.int64)
            first = np.diff(numbers, prepend=-1) > 0
            for a, b in _stretches(first, self.room):
                chosen = first[a:b]
                keep[numbers[a:b][chosen]] = 1 / (1 + np.exp(-self.logits(ids[a:b])[chosen]))
            out.append(keep)
        return out


def load_words(path: Path | None = None) -> WordEncoder:
    """Load a model file; None for the one that the package ships."""
    if path is None:
        return _built_in()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read the model ({error.strerror}): check the path") from None
    return _read(data, str(path))


@cache
def _built_in() -> WordEncoder:
    return _read(files("nacrith.prompt").joinpath("weights", _WEIGHTS).read_bytes(), _WEIGHTS)


def _read(data: bytes, name: str) -> WordEncoder:
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        header = jsontext.parse(arrays["header"].tobytes())
        if header["format"] != FORMAT:
            raise ModelError(
                f"{name}: format {header['format']}, not {FORMAT}: it needs another version of nacrith"
            )
        vocabulary = arrays["vocabulary"].tobytes().decode().split("\n")
        return WordEncoder(arrays, header["heads"], vocabulary, int(header.get("together", 0)))
    except (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{name}: not a word classifier, or damaged ({error}): train it again") from None


def _matrix(arrays: Arrays, name: str) -> F32:
    x: F32 = arrays[name].astype(np.float32) * arrays[f"{name}.scale"][:, None]
    return x


def _norm(x: F32, gain_and_bias: F32) -> F32:
    width = x.shape[-1]
    x = x - x.mean(axis=-1, keepdims=True)
    variance = np.einsum("rk,rk->r", x, x)[:, None] / np.float32(width)
    return x / np.sqrt(variance + _EPS) * gain_and_bias[:width] + gain_and_bias[width:]


def _gelu(x: F32) -> F32:
    """GELU by tanh, as in training."""
    inner = np.float32(0.044715) * x * x * x + x
    return np.float32(0.5) * x * (1 + np.tanh(_GELU * inner))


def _stretches(first: npt.NDArray[np.bool_], room: int) -> Iterator[tuple[int, int]]:
    """Divide pieces into stretches of about equal size and at most `room` pieces; each begins with the
    first piece of a word."""
    count = len(first)
    parts = -(-count // (room - PIECES)) if count else 0
    begin = 0
    for part in range(1, parts + 1):
        end = count * part // parts
        while end < count and not first[end]:
            end += 1
        yield begin, end
        begin = end
