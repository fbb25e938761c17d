"""The exact engine on torch, for CUDA devices and the CPU: the integers of numpy_engine.

A pass is one batch of rows, one per token, whichever lanes they belong to; lanes with equally many of
them attend together (torch_attention.py). Weights, keys and values stay on the device; tokens go
there, and rows of log2 weights come back. torch_ops.py says what of torch is relied upon.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from nacrith import settings
from nacrith.errors import ModelError
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.numpy_engine import BATCH, ROLLBACK
from nacrith.models.exact.rope import LOW
from nacrith.models.exact.torch_attention import Pass, Piece, RingCache
from nacrith.models.exact.torch_ops import (
    LOG2E,
    Linear,
    check,
    product_type,
    rms_norm,
    silu_product,
)
from nacrith.models.exact.tree import NONE, Tree, TreeSession
from nacrith.models.protocol import LOGIT_BITS, Logits

_HEAD_ROWS = 128  # rows of one product with the vocabulary matrix, which makes 200 KB a row
_LOGIT_UNIT = LOG2E * (1 << LOGIT_BITS)  # exact in binary32
_LOGIT_MAX = float(1 << 30)


def find_device(name: str | None) -> torch.device:
    """The device of a name such as cpu, cuda or cuda:1; without a name, CUDA if there is any.

    ModelError, with what to do, if it is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not name:
        return torch.device("cuda" if count else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,2})?", name):
        raise ModelError(f"NACRITH_DEVICE={name}: there is no such device; use cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        why = f"of CUDA devices, torch sees 0 to {count - 1}" if count else "torch sees no CUDA device"
        raise ModelError(
            f"NACRITH_DEVICE={name}: {why}; use NACRITH_DEVICE=cpu, or see that the driver runs and that"
            " torch is a build for CUDA"
        )
    return device


class TorchEngine:
    """Weights of one model on one device. Stateless: sessions hold the lanes.

    device: a name, or None for what NACRITH_DEVICE says. Only the CPU uses `threads`.
    """

    def __init__(self, file: ModelFile, threads: int = 1, device: str | None = None) -> None:
        self.config = config = file.config
        self.threads = threads
        self.device = find_device(device or settings.device())
        layers = range(config.layers)

        def put(name: str) -> Tensor:
            return torch.tensor(file.tensors[name], device=self.device)

        def linear(name: str, kind: str) -> Linear:
            limit = config.act_limits[kind]
            return Linear(put(f"{name}.s"), product(file.tensors[f"{name}.q"], limit, self.device), limit)

        with self.running():
            check(self.device)
            product = product_type(self.device)
            self.embed_q, self.embed_s = put("embed.q"), put("embed.s")
            self.qkv = [linear(f"layers.{i}.qkv", "qkv") for i in layers]
            self.o = [linear(f"layers.{i}.o", "o") for i in layers]
            self.mlp = [linear(f"layers.{i}.mlp", "mlp") for i in layers]
            self.down = [linear(f"layers.{i}.down", "down") for i in layers]
            self.attn_norm = [put(f"layers.{i}.attn_norm") for i in layers]
            self.mlp_norm = [put(f"layers.{i}.mlp_norm") for i in layers]
            self.final_norm = put("final_norm")
            self.head = linear("embed" if config.tied_head else "head", "head")
            self.tables = put("rope.fine"), put("rope.coarse")
        self.max_length = LOW * self.tables[1].shape[1]

    def session(self, lanes: int, window: int) -> TorchSession:
        return TorchSession(self, lanes, window)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Settings of torch for a call: the number of threads, no gradients, memory errors as Python's."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                yield
        except torch.cuda.OutOfMemoryError as error:
            raise MemoryError(f"torch engine: {error}") from None
        finally:
            torch.set_num_threads(threads)

    def layers(self, ids: Tensor, rows: Pass) -> Tensor:
        """Hidden rows (rows, width) after the last layer."""
        config = self.config
        heads, kv, dim, eps = config.heads, config.kv_heads, config.head_dim, config.rms_eps
        x = self.embed_q[ids].float() * self.embed_s[ids][:, None]
        for i in range(config.layers):
            z = self.qkv[i](rms_norm(x, self.attn_norm[i], eps)).view(len(ids), -1, dim)
            mixed = rows.attention(i, *z.split([heads, kv, kv], 1))
            x = x + self.o[i](mixed.view(len(ids), heads * dim))
            gate, up = self.mlp[i](rms_norm(x, self.mlp_norm[i], eps)).chunk(2, 1)
            x = x + self.down[i](silu_product(gate, up))
        return x

    def logits(self, x: Tensor) -> Iterator[Logits]:
        """Fixed-point log2 weights of each row of x (rows, width), saturating at 2^30."""
        for part in x.split(_HEAD_ROWS):
            y = self.head(rms_norm(part, self.final_norm, self.config.rms_eps))
            y = y.mul_(_LOGIT_UNIT).round_().clamp_(-_LOGIT_MAX, _LOGIT_MAX)
            yield from y.to(torch.int32).cpu().numpy()


class TorchSession(TreeSession):
    """Lanes over one engine; implements models.protocol.Session."""

    cache: RingCache

    def __init__(
        self, engine: TorchEngine, lanes: int, window: int, *, rollback: int = ROLLBACK, batch: int = BATCH
    ) -> None:
        self.engine = engine
        self.batch = batch
        self.cache = RingCache(engine.config, lanes, window, rollback, engine.device)
        self.trees = [NONE] * lanes

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        if len(tokens) != len(self.trees):
            raise ValueError(f"tokens for {len(tokens)} lanes, not {len(self.trees)}")
        ids = [np.asarray(t, np.int64) for t in tokens]
        return self._extend(ids, None)

    def _append(self, lane: int, places: np.ndarray) -> None:
        with self.engine.running():
            self.cache.append([lane], [places])

    def _check(self, ids: list[np.ndarray], growth: list[int]) -> None:
        """ValueError before anything is changed; an index out of range would end a CUDA process."""
        most, vocab = self.engine.max_length, self.engine.config.vocab
        for lane, length, more in zip(ids, self.cache.lengths, growth, strict=True):
            if length + more > most:
                raise ValueError(f"a lane holds at most {most} tokens")
            outside = lane[(lane < 0) | (lane >= vocab)]
            if len(outside):
                raise ValueError(f"token {outside[0]} is outside the vocabulary")

    def _extend(self, ids: list[np.ndarray], trees: list[Tree] | None) -> list[Logits]:
        self._check(ids, [len(t) for t in ids] if trees is None else [tree.levels for tree in trees])
        changed = [lane for lane, t in enumerate(ids) if len(t)]
        for lane in changed:
            self.trees[lane] = NONE
        out = [np.empty((len(t), self.engine.config.vocab), np.int32) for t in ids]
        done = [0] * len(ids)
        with self.engine.running():
            while active := [i for i in changed if done[i] < len(ids[i])]:
                share = max(1, self.batch // len(active))
                counts = {i: min(share, len(ids[i]) - done[i]) for i in active[: self.batch]}
                lanes = sorted(counts, key=lambda lane: counts[lane])
                if trees is None:
                    pieces = [Piece(i, _chain(counts[i]), 0, counts[i]) for i in lanes]
                else:
                    pieces = [Piece(i, trees[i], done[i], counts[i]) for i in lanes]
                parts = {i: slice(done[i], done[i] + counts[i]) for i in lanes}
                x = self._pass(np.concatenate([ids[i][parts[i]] for i in lanes]), pieces)
                if trees is None:
                    self.cache.append(lanes, [np.arange(counts[i]) for i in lanes])
                rows = [row for i in lanes for row in out[i][parts[i]]]
                for row, weights in zip(rows, self.engine.logits(x), strict=True):
                    row[:] = weights
                for lane in lanes:
                    done[lane] += counts[lane]
        if trees is not None:
            for lane in changed:
                self.trees[lane] = trees[lane]
        return out

    def _pass(self, ids: np.ndarray, pieces: list[Piece]) -> Tensor:
        """Hidden rows of all pieces, in order, which are then stored at their homes."""
        engine = self.engine
        rows = Pass(self.cache, engine.config, engine.tables, pieces)
        return engine.layers(torch.tensor(ids, device=engine.device), rows)


@lru_cache(maxsize=64)
def _chain(rows: int) -> Tree:
    return Tree.of(0, rows, range(-1, rows - 1))
