"""How tests/data/tiny_hf and tests/data/tiny.nacm were made: a real, tiny Llama-architecture model.

    PYTHONPATH=. python tests/support/make_tiny_model.py CORPUS OUT [--seconds 240]

CORPUS holds train-*.jsonl.xz, one {"text", "source", ...} a line. Only sources that are free to use
for anything are taken: COST-ELTeC/ELTeC-eng (English novels of 1840-1920, texts in the public
domain), GSA/digitalgov.gov (US government, public domain) and python/peps (public domain or CC0).

The vocabulary lacks the byte symbols that SmolLM2's lacks, so that the tokenizer's escape is used.
The committed files are never made again: golden archives depend on them. Needs torch, which no test
does.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import brotli
import numpy as np
import torch
import zstandard
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from tokenizers.trainers import BpeTrainer
from torch import Tensor, nn
from torch.nn import functional

from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.models.exact.conversion import convert
from nacrith.models.exact.model import ExactModel
from nacrith.models.sources.safetensors import read_safetensors
from nacrith.models.tokenizer.byte_bpe import BYTE_TO_SYMBOL
from nacrith.models.tokenizer.importers import from_tokenizer_json

SOURCES = ("COST-ELTeC/ELTeC-eng", "GSA/digitalgov.gov", "python/peps")
SPECIAL = ("<|endoftext|>", "<|reserved|>", "<|byte|>")  # ids 0, 1, 2; the last becomes the escape
VOCAB = 512
MISSING = (0x04, 0x06, 0x13, 0x14, 0x16, 0x1D, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF5, 0x100))
LAYERS, WIDTH, HEADS, KV_HEADS, HEAD_DIM, FFN = 3, 64, 4, 2, 16, 160
CONTEXT = 512
THETA, EPS = 10000.0, 1e-5
POSITIONS = 1 << 16
TRAIN_BYTES = 30_000_000
HELD_OUT = 40  # one document in this many
STEP_TOKENS = 2048
LENGTHS = ((0.5, 128), (0.8, 256), (1.0, CONTEXT))  # up to this part of the time, windows this long
TO_ASCII = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "—": "--", "–": "-", "…": "..."})


def documents(corpus: Path) -> Iterator[str]:
    """The texts of SOURCES; every other one with typewriter punctuation, as most people type."""
    count = 0
    for shard in sorted(corpus.glob("train-*.jsonl.xz")):
        with lzma.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                document = json.loads(line)
                if document["source"] in SOURCES:
                    count += 1
                    yield document["text"].translate(TO_ASCII) if count % 2 else document["text"]


def load(corpus: Path) -> tuple[list[str], list[str]]:
    """Training and held-out documents."""
    train: list[str] = []
    held: list[str] = []
    size = 0
    for i, text in enumerate(documents(corpus)):
        (train if i % HELD_OUT else held).append(text)
        size += len(text)
        if size > TRAIN_BYTES:
            break
    return train, held


def train_tokenizer(texts: list[str]) -> bytes:
    """tokenizer.json of a byte-level BPE, split as SmolLM2's is."""
    alphabet = [s for b, s in enumerate(BYTE_TO_SYMBOL) if b not in MISSING]
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == VOCAB
    return tokenizer.to_str().encode()


class Layer(nn.Module):
    """One transformer block; the names of its parts are those of the Hugging Face checkpoints."""

    def __init__(self) -> None:
        super().__init__()

        def linear(inputs: int, outputs: int) -> nn.Linear:
            return nn.Linear(inputs, outputs, bias=False)

        self.input_layernorm = nn.RMSNorm(WIDTH, EPS)
        self.post_attention_layernorm = nn.RMSNorm(WIDTH, EPS)
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": linear(WIDTH, HEADS * HEAD_DIM),
                "k_proj": linear(WIDTH, KV_HEADS * HEAD_DIM),
                "v_proj": linear(WIDTH, KV_HEADS * HEAD_DIM),
                "o_proj": linear(HEADS * HEAD_DIM, WIDTH),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": linear(WIDTH, FFN),
                "up_proj": linear(WIDTH, FFN),
                "down_proj": linear(FFN, WIDTH),
            }
        )

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, m = self.self_attn, self.mlp
        y = self.input_layernorm(x)  # (batch, time, width)
        q, k, v = (
            a[f"{n}_proj"](y).unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for n in "qkv"
        )  # (batch, heads, time, dim)
        mixed = functional.scaled_dot_product_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=True
        )
        x = x + a["o_proj"](mixed.transpose(1, 2).flatten(2))
        y = self.post_attention_layernorm(x)
        return x + m["down_proj"](functional.silu(m["gate_proj"](y)) * m["up_proj"](y))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, EPS)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                inward = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.05 / math.sqrt(2 * LAYERS) if inward else 0.05)
        angles = torch.outer(torch.arange(CONTEXT), THETA ** (-torch.arange(HEAD_DIM // 2) / (HEAD_DIM // 2)))
        self.cos, self.sin = angles.cos(), angles.sin()

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])
        return self.norm(x) @ self.embed_tokens.weight.T


def train(model: Llama, tokens: np.ndarray, seconds: float) -> None:
    """AdamW on random windows, each behind a start token; the rate falls to 0 with time left."""
    decayed = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim != 2]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
        betas=(0.9, 0.97),
    )
    rng = np.random.default_rng(0)
    begin, step, average = time.monotonic(), 0, math.log(VOCAB)
    while (done := (time.monotonic() - begin) / seconds) < 1:
        rate = 5e-3 * min(1.0, (step + 1) / 50) * (1 - done)
        for group in optimiser.param_groups:
            group["lr"] = rate
        length = next(n for until, n in LENGTHS if done < until)
        starts = rng.integers(0, len(tokens) - length, STEP_TOKENS // length)
        targets = torch.from_numpy(np.stack([tokens[s : s + length] for s in starts]).astype(np.int64))
        inputs = functional.pad(targets[:, :-1], (1, 0))  # the start token is 0
        loss = functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average += 0.01 * (loss.item() - average)
        step += 1
        if step % 200 == 0:
            print(f"step {step}, {done:.0%}: {average / math.log(2):.3f} bits per token", flush=True)


def save(model: Llama, tokenizer: bytes, directory: Path) -> None:
    """A Hugging Face directory with weights in bfloat16."""
    directory.mkdir(parents=True, exist_ok=True)
    table: dict[str, object] = {}
    data = b""
    for name, weight in sorted(model.named_parameters()):
        raw = weight.detach().bfloat16().contiguous().view(torch.int16).numpy().tobytes()
        table[f"model.{name}"] = {
            "dtype": "BF16",
            "shape": list(weight.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "intermediate_size": FFN,
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "rope_theta": THETA,
        "rms_norm_eps": EPS,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "bfloat16",
    }
    (directory / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (directory / "tokenizer.json").write_bytes(tokenizer)


def report(path: Path, held: list[str]) -> None:
    """Bits per byte on held-out pieces, against codecs that need no model."""
    codec = ModelCodec(ExactModel(path, threads=1), CodingParams(CONTEXT))
    zstd = zstandard.ZstdCompressor(level=22, write_content_size=False)
    rng = random.Random(1)
    print(f"{'bytes':>6} {'model':>7} {'zstd':>7} {'brotli':>7}   bits per byte")
    for size in (200, 1000, 3000):
        pieces = []
        while len(pieces) < 60_000 // size:
            text = rng.choice(held).encode()
            if len(text) > size:
                at = text.find(b"\n", rng.randrange(len(text) - size)) + 1
                pieces.append(text[at : at + size])
        sizes = (
            sum(map(len, codec.encode(pieces))),
            sum(len(zstd.compress(p)) for p in pieces),
            sum(len(brotli.compress(p)) for p in pieces),
        )
        total = sum(map(len, pieces))
        print(f"{size:6}", *(f"{8 * n / total:7.3f}" for n in sizes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_texts, held = load(options.corpus)
    tokenizer_json = train_tokenizer(train_texts[:100])
    tokenizer = from_tokenizer_json(tokenizer_json, in_use=[0])
    ids = [np.array(tokenizer.encode(t.encode()), dtype=np.int16) for t in train_texts]
    # Bytes of every kind, so that the escape and lone byte symbols have been seen.
    ids.append(np.array(tokenizer.encode(random.Random(0).randbytes(20_000)), dtype=np.int16))
    tokens = np.concatenate(ids)
    print(f"{sum(map(len, train_texts)):,} characters, {len(tokens):,} tokens", flush=True)
    model = Llama()
    train(model, tokens, options.seconds)
    save(model, tokenizer_json, options.out / "tiny_hf")
    path = options.out / "tiny.nacm"
    convert(read_safetensors(options.out / "tiny_hf"), path, name="tiny", positions=POSITIONS)
    print(f"{path}: {path.stat().st_size:,} bytes")
    report(path, held)


if __name__ == "__main__":
    main()
