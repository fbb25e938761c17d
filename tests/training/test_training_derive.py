"""Smaller models derived from larger ones: the same function where nothing is cut, near it elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_texts import TEXTS
from paths import TINY_HF

from nacrith.errors import ModelError
from nacrith.models.sources.safetensors import read_safetensors
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[train]'")

from nacrith.training.lm import checkpoint  # noqa: E402
from nacrith.training.lm.derive import balance, derive, grouping, with_vocabulary  # noqa: E402
from nacrith.training.lm.llama import Llama  # noqa: E402
from nacrith.training.lm.vocabulary import train_vocabulary  # noqa: E402


def tiny_in_floats() -> tuple[Llama, ByteTokenizer]:
    source = read_safetensors(TINY_HF)
    return checkpoint.load(source), checkpoint.tokenizer_of(source)


def test_balanced_matrices_are_the_same_function() -> None:
    large, own = tiny_in_floats()
    ids = torch.tensor([list(own.encode(TEXTS[0])[i : i + 64]) for i in range(0, 512, 64)])
    made = derive(large, [[0], [1, 2]], 96, ids, lambda line: None)
    for layer in made.layers:
        up, down = layer.mlp["up_proj"].weight, layer.mlp["down_proj"].weight
        assert torch.allclose(up.norm(dim=1), down.norm(dim=0), rtol=1e-3)
        d, share = layer.shape.head_dim, layer.shape.heads // layer.shape.kv_heads
        for g in range(layer.shape.kv_heads):
            keys, mine = slice(g * d, (g + 1) * d), slice(g * share * d, (g + 1) * share * d)
            q, k, v, o = (layer.self_attn[f"{n}_proj"].weight for n in "qkvo")
            for a, b in ((q[mine], k[keys]), (o[:, mine], v[keys])):
                assert torch.allclose(a.square().mean(), b.square().mean(), rtol=1e-3)
    uneven = Llama(made.shape)
    uneven.load_state_dict(made.state_dict())
    layer = uneven.layers[0]
    with torch.no_grad():
        layer.mlp["up_proj"].weight[7] *= 50
        layer.mlp["down_proj"].weight[:, 7] /= 50
        layer.self_attn["v_proj"].weight *= 0.01
        layer.self_attn["o_proj"].weight *= 100
        balance(layer)
    assert torch.allclose(uneven(ids), made(ids), atol=1e-3)
    assert torch.allclose(
        layer.self_attn["v_proj"].weight, made.layers[0].self_attn["v_proj"].weight, rtol=1e-3
    )


def test_a_model_derived_without_loss_is_the_model() -> None:
    large, own = tiny_in_floats()
    ids = torch.tensor([list(own.encode(t)[i : i + 64]) for t in TEXTS for i in range(0, 1024, 64)])
    same = derive(large, [[0], [1], [2]], large.shape.ffn, ids, lambda line: None)
    assert abs(same.loss(ids).item() / large.loss(ids).item() - 1) < 1e-3


def test_regression_repairs_what_was_cut_away() -> None:
    large, own = tiny_in_floats()
    ids = torch.tensor([list(own.encode(t)[i : i + 64]) for t in TEXTS for i in range(0, 1024, 64)])
    fitted = derive(large, [[0], [1, 2]], 96, ids, lambda line: None)
    cut = Llama(replace(large.shape, layers=2))
    cut.load_state_dict({k: v for k, v in large.state_dict().items() if not k.startswith("layers.2")})
    assert large.loss(ids) < fitted.loss(ids) < cut.loss(ids)


def test_tokens_are_taken_over_by_their_bytes() -> None:
    tokenizer = train_vocabulary(TEXTS, 400)
    large, own = tiny_in_floats()
    table = with_vocabulary(large, own, tokenizer).embed_tokens.weight
    for i in range(1, 400):
        theirs = list(own.encode(tokenizer.decode([i])))
        assert torch.allclose(table[i], large.embed_tokens.weight[theirs].mean(0))
    assert torch.equal(table[0], large.embed_tokens.weight[large.shape.start])


@given(st.integers(1, 60), st.data())
def test_every_layer_is_in_one_group(large: int, data: st.DataObject) -> None:
    small = data.draw(st.integers(1, large))
    groups = grouping(large, small)
    assert len(groups) == small
    assert all(groups)
    assert [i for g in groups for i in g] == list(range(large))
    with pytest.raises(ModelError, match="cannot become"):
        grouping(large, large + 1)
