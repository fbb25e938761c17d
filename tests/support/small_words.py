"""A word model of a few hundred numbers: what the tests of the built-in classifier and of training share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nacrith.prompt.encoder import BEGIN, END, UNKNOWN, write_model

LETTERS = [chr(c) for c in range(33, 127)]
VOCABULARY = ["[PAD]", UNKNOWN, BEGIN, END, *LETTERS, *(f"##{c}" for c in LETTERS), "cat", "##nana"]
WIDTH, INNER, HEADS = 8, 12, 2


def arrays(layers: int = 2, positions: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under the names of the model file."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.5).astype(np.float32)

    out = {"embedding": draw(len(VOCABULARY), WIDTH), "position": draw(positions, WIDTH)}
    out |= {"embedding_norm": draw(2 * WIDTH), "head": draw(WIDTH + 1)}
    for i in range(layers):
        shapes = {
            "qkv": (3 * WIDTH, WIDTH),
            "output": (WIDTH, WIDTH),
            "up": (INNER, WIDTH),
            "down": (WIDTH, INNER),
        }
        for name, shape in shapes.items():
            out[f"{i}.{name}"], out[f"{i}.{name}.bias"] = draw(*shape), draw(shape[0])
        out |= {f"{i}.attention_norm": draw(2 * WIDTH), f"{i}.output_norm": draw(2 * WIDTH)}
    return out


def write_small(path: Path, **changes: Any) -> Path:
    """A model file of `arrays`."""
    write_model(path, arrays(**changes), VOCABULARY, HEADS, {})
    return path


def write_bert(folder: Path, layers: int = 3, positions: int = 64) -> Path:
    """A BERT directory of random weights, as `nacrith.training` begins from."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": draw(len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": draw(positions, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(2, WIDTH),
    }
    linear = {f"attention.self.{n}": (WIDTH, WIDTH) for n in ("query", "key", "value")}
    linear |= {"attention.output.dense": (WIDTH, WIDTH)}
    linear |= {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
    norms = ["embeddings.LayerNorm"]
    for i in range(layers):
        for name, shape in linear.items():
            tensors[f"encoder.layer.{i}.{name}.weight"] = draw(*shape)
            tensors[f"encoder.layer.{i}.{name}.bias"] = draw(shape[0])
        norms += [f"encoder.layer.{i}.{n}.LayerNorm" for n in ("attention.output", "output")]
    for name in norms:
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + draw(WIDTH), draw(WIDTH)
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": "bert",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": positions,
        "hidden_act": "gelu_new",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, ""]), encoding="utf-8")
    return folder
