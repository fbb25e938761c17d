"""Arithmetic version 1 once more, from formats/arithmetic-v1.md alone: plain loops, one row at a time.

Sums are sums of Python integers, everything else is single operations on numpy.float32 or
numpy.float64 scalars. No matrix product, no broadcasting, no batching and no cache tricks: whatever
the engines do about those must come to the same integers. About 20 ms a token on the tiny model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

import numpy as np

from nacrith.models.exact.modelfile import ModelFile

f32 = np.float32
f64 = np.float64

SINKS = 4
LOG2E = f32(1.4426950408889634)
EXP2 = [f32(0.99992807), f32(0.69326099), f32(0.24261112), f32(0.05517166)]


def rint(x: f32) -> int:
    """Nearest integer, ties to even."""
    return round(float(x))


def exp2(t: f32) -> f32:
    t = max(t, f32(-100))
    n = rint(t)
    f = t - f32(n)
    y = EXP2[3] * f
    y = (y + EXP2[2]) * f
    y = (y + EXP2[1]) * f
    y = y + EXP2[0]
    return f32(math.ldexp(float(y), n))


def absmax(row: Sequence[f32]) -> f32:
    return max(f32(2.0**-100), *(abs(x) for x in row))


def quantise(row: Sequence[f32], limit: int) -> tuple[list[int], f32]:
    a = absmax(row)
    factor = f32(limit) / a
    return [rint(x * factor) for x in row], a / f32(limit)


def rms_norm(row: Sequence[f32], gain: Sequence[f32], eps: float) -> list[f32]:
    inverse = f32(32767) / absmax(row)
    n = [rint(x * inverse) for x in row]
    mean = f64(sum(map(mul, n, n))) / f64(len(row))
    step = f64(inverse)
    root = f32(f64(1) / np.sqrt(mean + (step * step) * f64(eps)))
    return [(f32(i) * root) * g for i, g in zip(n, gain, strict=True)]


def silu_product(gate: f32, up: f32) -> f32:
    e = exp2(abs(gate) * -LOG2E)
    sigmoid = (f32(1) if gate >= 0 else e) / (e + f32(1))
    return (gate * up) * sigmoid


def to_f32(n: int) -> f32:
    """An integer below 2^53, rounded once."""
    return f32(f64(n))


class Matrix:
    """Rows of integers with a scale each."""

    def __init__(self, file: ModelFile, name: str, limit: int) -> None:
        self.rows = file.tensors[f"{name}.q"].tolist()
        self.scales = list(file.tensors[f"{name}.s"])
        self.limit = limit

    def times(self, row: Sequence[f32]) -> list[f32]:
        q, scale = quantise(row, self.limit)
        sums = (to_f32(sum(map(mul, q, w))) for w in self.rows)
        return [(s * w) * scale for s, w in zip(sums, self.scales, strict=True)]


class SlowModel:
    """Runs one lane, token by token."""

    def __init__(self, file: ModelFile, window: int) -> None:
        self.file, self.window = file, window
        c = self.config = file.config
        self.embed = Matrix(file, "embed", c.act_limits["head"])
        self.head = self.embed if c.tied_head else Matrix(file, "head", c.act_limits["head"])
        kinds = ("qkv", "o", "mlp", "down")
        self.layers = [
            {k: Matrix(file, f"layers.{i}.{k}", c.act_limits[k]) for k in kinds} for i in range(c.layers)
        ]
        # [layer][kv head] -> one entry per position
        self.keys: list[list[list[tuple[list[int], f32]]]] = [
            [[] for _ in range(c.kv_heads)] for _ in range(c.layers)
        ]
        self.values: list[list[list[tuple[list[int], f32]]]] = [
            [[] for _ in range(c.kv_heads)] for _ in range(c.layers)
        ]
        self.length = 0

    def step(self, token: int) -> list[int]:
        """Logits after one more token."""
        c, tensors = self.config, self.file.tensors
        p = self.length
        scale = self.embed.scales[token]
        x = [f32(n) * scale for n in self.embed.rows[token]]
        for i, layer in enumerate(self.layers):
            y = rms_norm(x, tensors[f"layers.{i}.attn_norm"], c.rms_eps)
            qkv = layer["qkv"].times(y)
            heads = [qkv[n : n + c.head_dim] for n in range(0, len(qkv), c.head_dim)]
            for h in range(c.kv_heads):
                key = self.rotate(heads[c.heads + h], p)
                self.keys[i][h].append(quantise(key, 127))
                self.values[i][h].append(quantise(heads[c.heads + c.kv_heads + h], 127))
            mixed: list[f32] = []
            for h in range(c.heads):
                mixed += self.attend(i, h * c.kv_heads // c.heads, heads[h], p)
            x = [a + b for a, b in zip(x, layer["o"].times(mixed), strict=True)]
            y = rms_norm(x, tensors[f"layers.{i}.mlp_norm"], c.rms_eps)
            gate_up = layer["mlp"].times(y)
            act = list(map(silu_product, gate_up[: c.ffn], gate_up[c.ffn :]))
            x = [a + b for a, b in zip(x, layer["down"].times(act), strict=True)]
        self.length += 1
        y = self.head.times(rms_norm(x, tensors["final_norm"], c.rms_eps))
        unit = LOG2E * f32(65536)
        return [min(max(rint(v * unit), -(1 << 30)), 1 << 30) for v in y]

    def rotate(self, head: Sequence[f32], position: int) -> list[f32]:
        half = len(head) // 2
        fine, coarse = self.file.tensors["rope.fine"], self.file.tensors["rope.coarse"]
        high, low = divmod(position, 256)
        out = [f32(0)] * len(head)
        for i in range(half):
            c1, s1 = f64(fine[0, low, i]), f64(fine[1, low, i])
            c2, s2 = f64(coarse[0, high, i]), f64(coarse[1, high, i])
            cos, sin = f32(c2 * c1 - s2 * s1), f32(s2 * c1 + c2 * s1)
            a, b = head[i], head[i + half]
            out[i] = a * cos - b * sin
            out[i + half] = b * cos + a * sin
        return out

    def attend(self, layer: int, kv: int, query: Sequence[f32], p: int) -> list[f32]:
        keys, values = self.keys[layer][kv], self.values[layer][kv]
        dim = len(query)
        c = LOG2E / np.sqrt(f32(dim))
        seen = [j for j in range(p + 1) if j < SINKS or j > p - (self.window - SINKS)]
        near, near_scale = quantise(self.rotate(query, p), 127)
        far, far_scale = quantise(self.rotate(query, min(p, self.window - 1)), 127)
        t = []
        for j in seen:
            k, k_scale = keys[j]
            q, q_scale = (far, far_scale) if j < SINKS else (near, near_scale)
            t.append((f32(sum(map(mul, q, k))) * k_scale) * (q_scale * c))
        shift = max(t) - f32(12)
        e = [rint(exp2(x - shift)) for x in t]
        m = max(scale for _, scale in values[: p + 1])
        share = f32(65536) / (to_f32(sum(e)) * m)
        w = [rint((f32(n) * values[j][1]) * share) for n, j in zip(e, seen, strict=True)]
        sums = [sum(n * values[j][0][d] for n, j in zip(w, seen, strict=True)) for d in range(dim)]
        return [f32(s) * (m * f32(2.0**-16)) for s in sums]
