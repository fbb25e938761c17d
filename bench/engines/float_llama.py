"""A plain float32 Llama forward pass in numpy: what the exact engine is measured against.

Kept short and separate from the product on purpose: it shares nothing with the exact engine but the
source of the weights. Causal attention over one window, no cache.
"""

from __future__ import annotations

import numpy as np

from nacrith.models.exact.conversion import LlamaSource


class FloatLlama:
    """Weights of a LlamaSource in float32."""

    def __init__(self, source: LlamaSource) -> None:
        self.source = source
        names = ["embed_tokens", "norm"]
        for i in range(source.layers):
            a, m = f"layers.{i}.self_attn", f"layers.{i}.mlp"
            names += [f"{a}.{p}_proj" for p in "qkvo"] + [f"{m}.{p}_proj" for p in ("gate", "up", "down")]
            names += [f"layers.{i}.input_layernorm", f"layers.{i}.post_attention_layernorm"]
        self.w = {name: source.tensor(name) for name in names}
        try:
            self.head = source.tensor("lm_head")
        except KeyError:
            self.head = self.w["embed_tokens"]

    def bits(self, ids: list[int]) -> np.ndarray:
        """Code length in bits of ids[1:], each given all tokens before it."""
        s = self.source
        n, d, group = len(ids) - 1, s.head_dim, s.heads // s.kv_heads
        angle = np.arange(n)[:, None] * s.rope_theta ** (-np.arange(d // 2) / (d // 2))
        if s.rope_factors is not None:
            angle = angle / np.asarray(s.rope_factors)
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        causal = np.triu(np.full((128, 128), -np.inf, np.float32), 1)

        def norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
            return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(s.rms_eps)) * gain

        def rope(x: np.ndarray) -> np.ndarray:
            a, b = x[..., : d // 2], x[..., d // 2 :]
            return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

        x = self.w["embed_tokens"][ids[:-1]]
        for i in range(s.layers):
            p = f"layers.{i}.self_attn."
            h = norm(x, self.w[f"layers.{i}.input_layernorm"])
            q, k, v = ((h @ self.w[p + f"{c}_proj"].T).reshape(n, -1, d).transpose(1, 0, 2) for c in "qkv")
            q, k, v = rope(q), np.repeat(rope(k), group, 0), np.repeat(v, group, 0)
            mixed = np.empty((n, s.heads * d), np.float32)
            for a in range(0, n, 128):  # the keys that a block of queries sees, and not the rest
                e = min(a + 128, n)
                t = q[:, a:e] @ k[:, :e].transpose(0, 2, 1) * np.float32(d**-0.5)
                t[:, :, a:] += causal[: e - a, : e - a]
                t -= t.max(-1, keepdims=True)
                np.exp(t, out=t)
                t /= t.sum(-1, keepdims=True)
                mixed[a:e] = (t @ v[:, :e]).transpose(1, 0, 2).reshape(e - a, -1)
            x = x + mixed @ self.w[p + "o_proj"].T
            h = norm(x, self.w[f"layers.{i}.post_attention_layernorm"])
            gate = h @ self.w[f"layers.{i}.mlp.gate_proj"].T
            up = h @ self.w[f"layers.{i}.mlp.up_proj"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self.w[f"layers.{i}.mlp.down_proj"].T
        x = norm(x, self.w["norm"])
        out = np.empty(n)
        for a in range(0, n, 256):
            logits = (x[a : a + 256] @ self.head.T).astype(np.float64)
            top = logits.max(-1)
            z = np.log(np.exp(logits - top[:, None]).sum(-1)) + top
            out[a : a + 256] = z - logits[np.arange(len(logits)), ids[a + 1 : a + 257]]
        return out / np.log(2)
