"""Models rotated for activations of 8 bits: the same function in another basis, equal on every engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TINY_HF

from nacrith.errors import ModelError
from nacrith.models import store
from nacrith.models.exact import hadamard, modelfile
from nacrith.models.exact.conversion import LlamaSource, act_limits, convert
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.models.exact.rotated import LIMITS, rotated
from nacrith.models.sources.safetensors import read_safetensors
from nacrith.native import load

SIZES = (4, 8, 12, 20, 24, 28, 36, 40, 44, 48, 60, 64, 576)


@pytest.mark.parametrize("size", SIZES)
def test_the_matrices_are_orthogonal_in_integers(size):
    n = hadamard.order(size)
    found = hadamard.matrix(n).astype(np.int64)
    assert set(np.unique(found)) == {-1, 1}
    assert np.array_equal(found @ found.T, n * np.eye(n, dtype=np.int64))


def test_the_widths_of_known_models_are_rotated_whole():
    assert [hadamard.order(n) for n in (576, 768, 896, 960, 1536, 2048, 2560, 3072, 4096)] == [
        576, 768, 896, 960, 1536, 2048, 2560, 3072, 4096,
    ]  # fmt: skip
    assert [hadamard.order(n) for n in (1, 2, 6, 7, 100, 72)] == [1, 2, 2, 1, 20, 72]


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(SIZES), st.integers(1, 3), st.sampled_from([1, 2, 130]), st.integers(0, 9))
def test_rotating_multiplies_each_piece_by_the_matrix(size, pieces, rows, seed):
    x = np.random.default_rng(seed).normal(size=(rows, pieces * size)).astype(np.float32)
    n = hadamard.order(size)
    wanted = x.astype(np.float64).reshape(rows, -1, n) @ hadamard.matrix(n).T / np.sqrt(n)
    got = hadamard.rotate(x, size)
    assert got.dtype == np.float32
    assert np.abs(got - wanted.reshape(x.shape)).max() < 1e-6


def source(
    width: int = 24, heads: int = 4, kv_heads: int = 2, head_dim: int = 8, ffn: int = 20, seed: int = 0
) -> LlamaSource:
    """A random model of two layers with large gains, and outliers in two channels of the stream."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int) -> None:
        made[name] = rng.normal(1 if len(shape) == 1 else 0, 0.3, shape).astype(np.float32)

    vocab = len(tiny_source().tensor("embed_tokens"))
    add("embed_tokens", vocab, width)
    made["embed_tokens"][:, :2] *= 20
    add("norm", width)
    for i in range(2):
        a, m = f"layers.{i}.self_attn", f"layers.{i}.mlp"
        add(f"{a}.q_proj", heads * head_dim, width)
        add(f"{a}.k_proj", kv_heads * head_dim, width)
        add(f"{a}.v_proj", kv_heads * head_dim, width)
        add(f"{a}.o_proj", width, heads * head_dim)
        for name in ("gate", "up"):
            add(f"{m}.{name}_proj", ffn, width)
        add(f"{m}.down_proj", width, ffn)
        add(f"layers.{i}.input_layernorm", width)
        add(f"layers.{i}.post_attention_layernorm", width)
    sizes = {
        "layers": 2,
        "width": width,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "ffn": ffn,
    }
    return dataclasses.replace(tiny_source(), **sizes, tensor=made.__getitem__)


def tiny_source() -> LlamaSource:
    return read_safetensors(TINY_HF)


def logits(model: LlamaSource, ids: list[int]) -> np.ndarray:
    """A plain forward pass in binary64."""
    n, d, group = len(ids), model.head_dim, model.heads // model.kv_heads
    angle = np.arange(n)[:, None] * model.rope_theta ** (-np.arange(d // 2) / (d // 2))
    hidden = np.triu(np.full((n, n), -np.inf), 1)

    def w(name: str) -> np.ndarray:
        return model.tensor(name).astype(np.float64)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + model.rms_eps) * w(name)

    def turn(x: np.ndarray) -> np.ndarray:
        a, b = np.split(x, 2, axis=-1)
        cos, sin = np.cos(angle), np.sin(angle)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def silu(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))

    x = w("embed_tokens")[ids]
    for i in range(model.layers):
        a, m = f"layers.{i}.self_attn", f"layers.{i}.mlp"
        h = norm(x, f"layers.{i}.input_layernorm")
        q, k, v = ((h @ w(f"{a}.{p}_proj").T).reshape(n, -1, d).transpose(1, 0, 2) for p in "qkv")
        k, v = np.repeat(turn(k), group, 0), np.repeat(v, group, 0)
        t = np.exp(turn(q) @ k.transpose(0, 2, 1) / np.sqrt(d) + hidden)
        mixed = (t / t.sum(-1, keepdims=True)) @ v
        x = x + mixed.transpose(1, 0, 2).reshape(n, -1) @ w(f"{a}.o_proj").T
        h = norm(x, f"layers.{i}.post_attention_layernorm")
        x = x + (silu(h @ w(f"{m}.gate_proj").T) * (h @ w(f"{m}.up_proj").T)) @ w(f"{m}.down_proj").T
    try:
        head = w("lm_head")
    except KeyError:
        head = w("embed_tokens")
    return norm(x, "norm") @ head.T


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([8, 12, 20, 24, 36, 40, 100]),
    st.sampled_from([(1, 1), (4, 2), (3, 1), (2, 2)]),
    st.sampled_from([4, 8, 12]),
    st.integers(1, 40),
    st.integers(0, 99),
)
def test_a_rotated_model_computes_the_same(width, heads, head_dim, ffn, seed):
    plain = source(width, *heads, head_dim, ffn, seed)
    ids = np.random.default_rng(seed).integers(0, 64, 9).tolist()
    wanted, got = logits(plain, ids), logits(rotated(plain), ids)
    assert np.abs(got - wanted).max() < 2e-5 * np.abs(wanted).max()


def test_outliers_are_spread():
    """Peak over root mean square of the embeddings: what the steps of bytes are wide of."""
    plain = source()

    def peak(model: LlamaSource) -> float:
        x = model.tensor("embed_tokens")
        return float(np.median(np.abs(x).max(1) / np.sqrt((x * x).mean(1))))

    assert peak(rotated(plain)) < 0.7 * peak(plain)


def test_the_same_source_gives_the_same_file(tmp_path):
    made = [
        convert(rotated(tiny_source()), tmp_path / f"{i}.nacm", limits=LIMITS, positions=512) for i in "ab"
    ]
    assert made[0] == made[1]
    assert made[0].hex() == FINGERPRINT, "another machine, or another conversion: raise CONVERSION"
    config = modelfile.read(tmp_path / "a.nacm").config
    assert config.act_limits == {"qkv": 127, "o": 127, "mlp": 127, "down": 511, "head": 127}
    assert not config.tied_head


FINGERPRINT = "4ecd4f4170032d7ae028c1e26361b030a10e236110acd2b7ac728e6cb2b5293b"


def test_all_engines_agree_on_it(tmp_path):
    convert(rotated(source()), tmp_path / "t.nacm", limits=LIMITS, positions=512)
    file = modelfile.read(tmp_path / "t.nacm")
    ids = [[(7 * i * i) % 512 for i in range(70)]]
    wanted = NumpyEngine(file).session(1, 64).extend(ids)[0]
    for kernels in load().kernels():
        assert np.array_equal(NativeEngine(file, 1, kernels).session(1, 64).extend(ids)[0], wanted), kernels


def test_the_torch_engine_agrees_on_it(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
    from nacrith.models.exact.torch_engine import TorchEngine

    convert(rotated(source()), tmp_path / "t.nacm", limits=LIMITS, positions=512)
    file = modelfile.read(tmp_path / "t.nacm")
    ids = [[(5 * i * i) % 512 for i in range(70)], [3, 1, 4]]
    wanted = NumpyEngine(file).session(2, 64).extend(ids)
    rows = TorchEngine(file, 1, "cpu").session(2, 64).extend(ids)
    assert all(np.array_equal(a, b) for a, b in zip(rows, wanted, strict=True))


@pytest.mark.parametrize(("sizes", "what"), [({"width": 26}, "width 26"), ({"head_dim": 6}, "head size 6")])
def test_a_shape_without_a_rotation_is_refused(sizes, what, tmp_path):
    with pytest.raises(ModelError, match=f"{what} .*10 bits"):
        rotated(source(**sizes))


@pytest.mark.parametrize("name", ["layers.1.self_attn.v_proj", "layers.0.mlp.down_proj", "embed_tokens"])
def test_tensors_of_another_shape_are_refused(name, tmp_path: Path):
    plain = source()
    damaged = dataclasses.replace(
        plain, tensor=lambda n: plain.tensor(n)[:-1, :-1] if n == name else plain.tensor(n)
    )
    with pytest.raises(ModelError, match=name):
        convert(rotated(damaged), tmp_path / "t.nacm", limits=LIMITS, positions=512)


def test_a_repeated_embedding_is_the_head_that_a_tied_source_has(tmp_path):
    """Sources of one model differ in this: GGUF leaves the head out, safetensors may repeat it."""
    tied = tiny_source()
    names = {"lm_head": "embed_tokens"}
    repeated = dataclasses.replace(tied, tensor=lambda n: tied.tensor(names.get(n, n)))
    made = convert(rotated(repeated), tmp_path / "t.nacm", limits=LIMITS, positions=512)
    assert made.hex() == FINGERPRINT


def test_conversions_of_8_and_10_bits_do_not_replace_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("nacrith.models.exact.conversion.POSITIONS", 512)
    ten, eight = store.convert(TINY_HF), store.convert(TINY_HF, bits=8)
    assert modelfile.describe(ten).config.act_limits == act_limits(10)
    assert modelfile.describe(eight).config.act_limits == LIMITS
    assert (store.convert(TINY_HF), store.convert(TINY_HF, bits=8)) == (ten, eight)
    assert store.find(store.name_of(ten)) == ten
