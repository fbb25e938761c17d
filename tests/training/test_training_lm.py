"""Training of language models: data, order, torch against the exact engine, resuming, what comes out."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clirunner import nacrith
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_texts import TEXTS, write_texts
from paths import TINY_HF
from small_models import TINY, tiny

from nacrith.cli.console import ERROR, MODEL, OK
from nacrith.errors import NacrithError
from nacrith.models.exact import modelfile
from nacrith.models.exact.conversion import act_limits, convert
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.rotated import LIMITS, rotated
from nacrith.models.protocol import LOGIT_BITS
from nacrith.models.sources.safetensors import read_safetensors
from nacrith.models.store import find as find_model
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[train]'")

from nacrith.training.corpus import Document, documents  # noqa: E402
from nacrith.training.lm import checkpoint, export  # noqa: E402
from nacrith.training.lm.job import split  # noqa: E402
from nacrith.training.lm.llama import Llama, Shape, rounded  # noqa: E402
from nacrith.training.lm.loop import Recipe, bits_per_byte, loss_of, train  # noqa: E402
from nacrith.training.lm.optimiser import optimisers, orthogonal  # noqa: E402
from nacrith.training.lm.tokens import batches, read_store, validation, write_store  # noqa: E402
from nacrith.training.lm.vocabulary import train_vocabulary  # noqa: E402

SMALL = Recipe(steps=6, length=24, count=2, at_once=2, rate=1e-3, warmup=2)


@pytest.fixture(scope="module")
def tokenizer() -> ByteTokenizer:
    return train_vocabulary(TEXTS, 400)


@pytest.fixture(scope="module")
def store(tokenizer: ByteTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("store") / "tokens.npy"
    counts = write_store(path, [Document(t, "here", "py") for t in TEXTS], tokenizer, 0)
    ids = read_store(path, 400)
    assert len(ids) == counts["py"] + len(TEXTS)
    with pytest.raises(NacrithError, match="vocabulary of 400 tokens; the model has 401"):
        read_store(path, 401)
    return ids


def small(seed: int = 1) -> Llama:
    model = Llama(Shape(2, 96, 400, width=64, heads=4, kv_heads=2, head_dim=16, max_context=64))
    model.initialise(seed)
    return model


# The corpus.


def test_shards_and_plain_files_are_read_in_order(tmp_path: Path) -> None:
    rows = [
        {"text": "a" * 70, "source": "x", "kind": "book"},
        {"text": "b" * 70, "source": "bad", "kind": "wiki"},
    ]
    with lzma.open(tmp_path / "1.jsonl.xz", "wt") as file:
        file.write("\n".join(json.dumps(r) for r in rows))
    (tmp_path / "2.jsonl").write_text("\n".join(json.dumps({"time": i, "text": "own"}) for i in range(9)))
    (tmp_path / "3.log").write_bytes(b"\xff line\n" * 5000)
    found = list(documents(tmp_path, leave_out=["bad"]))
    assert [d.kind for d in found] == ["book", "jsonl", "log", "log", "log"]
    assert b"".join(d.data for d in found[2:]) == b"\xff line\n" * 5000
    assert all(d.data.endswith(b"\n") for d in found[2:])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"text": "%s"}\n{"te' % (b"a" * 80), "line 2: a damaged shard"),
        ("x.jsonl", b'{"text": "%s"}\n{"other": 1}' % (b"a" * 80), 'line 2: not {"text"'),
        ("x.jsonl.xz", b"no xz", "line 1: a damaged shard"),
        ("x.jsonl", b'{"text": ' + b"[" * 200_000, "line 1: a damaged shard: nested too deeply"),
        ("x.txt", b"short", "no document of 64 bytes"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NacrithError, match=message):
        list(documents(tmp_path))


def test_what_is_held_out_depends_on_the_document_alone() -> None:
    found = [Document(str(i).encode() * 40, "s", "k") for i in range(500)]
    taught, held = split(found, 10)
    assert 20 < len(held) < 90
    assert {d.data for d in split(found[::-1][:300], 10)[1]} <= {d.data for d in held}
    assert not {d.data for d in taught} & {d.data for d in held}
    assert [len(part) for part in split(found[:2], 10**9)] == [1, 1]
    with pytest.raises(NacrithError, match="too little to train on"):
        split(found[:1], 10)


# The vocabulary and the order of the batches.


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_vocabulary_of_ones_own_keeps_every_byte(data: bytes) -> None:
    made = train_vocabulary(TEXTS, 300)
    assert made.decode(made.encode(data)) == data
    assert made.vocab_size == 300
    assert made.escape_id is None


def test_processes_make_the_same_store(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    found = [Document(TEXTS[i % 3][i : i + 90], "here", str(i % 2)) for i in range(150)]
    counts = write_store(tmp_path / "many.npy", found, tokenizer, 0)
    ids = read_store(tmp_path / "many.npy", 400)
    assert ids.tolist() == [i for d in found for i in (*tokenizer.encode(d.data), 0)]
    assert sum(counts.values()) == len(ids) - 150


def test_every_window_comes_once_in_a_pass_and_the_order_repeats(store: Any) -> None:
    once = [b.numpy() for b in islice(batches(store, 7, 16, 2, seed=3), 40)]
    again = [b.numpy() for b in islice(batches(store, 7, 16, 2, seed=3, skip=30), 10)]
    assert all((a == b).all() for a, b in zip(once[30:], again, strict=True))
    assert all((b[:, 0] == 7).all() and b.shape == (2, 17) for b in once)
    assert any(
        (a != b).any() for a, b in zip(once, map(np.asarray, batches(store, 7, 16, 2, seed=4)), strict=False)
    )
    per_pass = (len(store) - 16) // 16 // 2
    rows = [
        tuple(r[1:])
        for b in islice(batches(np.arange(len(store)), 0, 16, 2, 1), per_pass)
        for r in b.tolist()
    ]
    assert len(set(rows)) == 2 * per_pass
    assert len({r[0] % 16 for r in rows}) == 1
    with pytest.raises(NacrithError, match="too few"):
        next(batches(store[:40], 0, 32, 4, 1))


# The model.


def test_float_and_exact_agree_and_rounding_brings_them_together() -> None:
    source = read_safetensors(TINY_HF)
    model, own = checkpoint.load(source), checkpoint.tokenizer_of(source)
    samples = validation([Document(t, "", "py") for t in TEXTS], own, 256, 3)
    plain = bits_per_byte(model, samples)["mean"]
    model.quantise(True)
    near = bits_per_byte(model, samples)["mean"]
    session_bits = 0.0
    exact = ExactModel(TINY, threads=1)
    for sample in samples:
        rows = exact.session().extend([[exact.bos_id, *sample.ids[:-1]]])[0] / 2.0**LOGIT_BITS
        chosen = rows[np.arange(len(sample.ids)), list(sample.ids)]
        session_bits += (np.log2(np.exp2(rows).sum(-1)) - chosen).sum()
    engine = session_bits / sum(s.size for s in samples)
    assert abs(plain / engine - 1) < 0.01
    assert abs(near / engine - 1) < 0.003
    assert near != plain


def test_rounding_gives_integers_and_passes_the_gradient() -> None:
    x = torch.randn(5, 64, requires_grad=True)
    steps = rounded(x, 127) / (x.detach().abs().amax(-1, keepdim=True) / 127)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    steps.sum().backward()
    assert (x.grad != 0).all()


def test_a_model_file_is_a_beginning_too(tmp_path: Path) -> None:
    source = checkpoint.from_exact(modelfile.read(TINY))
    convert(source, tmp_path / "again.nacm", positions=1 << 16)
    again = modelfile.read(tmp_path / "again.nacm")
    assert again.config == tiny().config
    for name, tensor in tiny().tensors.items():
        if name.startswith("rope"):
            assert np.array_equal(tensor[:, :200], again.tensors[name][:, :200])
        elif name.endswith(".s"):
            assert np.allclose(tensor, again.tensors[name], rtol=1e-6)
        else:
            assert np.array_equal(tensor, again.tensors[name])


def test_the_default_model_is_a_beginning() -> None:
    source = checkpoint.open_source(find_model(None))
    assert checkpoint.load(source).shape.parameters() <= 40_000_000
    assert checkpoint.tokenizer_of(source).vocab_size == source.tensor("embed_tokens").shape[0]


def test_muon_makes_updates_orthogonal() -> None:
    for shape in ((48, 96), (96, 48)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
        assert values.min() > 0.6
        assert values.max() < 1.3


# The loop.


@pytest.mark.parametrize("muon", [False, True])
def test_rates_are_in_proportion_to_the_weights(muon: bool) -> None:
    """One step moves a matrix that is a hundred times as large a hundred times as far."""
    moved = []
    for factor in (5.0, 500.0):
        model = small()
        weight = model.layers[1].mlp["up_proj"].weight
        with torch.no_grad():
            weight *= factor
        before = weight.detach().clone()
        for part in optimisers(model, 1e-3, 0.0, muon):
            for group in part.param_groups:
                group["lr"] *= group["scale"]
            weight.grad = torch.linspace(-1, 1, weight.numel()).view_as(weight)
            part.step()
        moved.append((weight.detach() - before).square().mean().sqrt())
    assert 99 < moved[1] / moved[0] < 101


def test_a_teacher_that_predicts_worse_is_not_listened_to(store: Any) -> None:
    rows = next(batches(store, 0, 24, 2, 1))
    model, bad = small(), small(seed=2)
    with torch.no_grad():
        bad.embed_tokens.weight *= 30  # sure of itself, and wrong
    assert bad.loss(rows) > model.loss(rows)
    assert torch.allclose(loss_of(model, bad, rows, 1.0), model.loss(rows))
    assert not torch.allclose(loss_of(bad, model, rows, 1.0), bad.loss(rows))


@pytest.mark.parametrize("muon", [False, True])
def test_an_interrupted_run_ends_as_one_that_was_not(
    tokenizer: ByteTokenizer, store: Any, tmp_path: Path, muon: bool
) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("step 4:"):
            raise InterruptedError

    recipe = replace(SMALL, muon=muon)
    samples = validation([Document(TEXTS[0], "", "py")], tokenizer, 32, 1)
    whole, parts = small(), small()
    train(whole, store, recipe, tmp_path / "whole", log=lambda line: None)
    with pytest.raises(InterruptedError):  # between the states of steps 2 and 4
        train(parts, store, recipe, tmp_path / "parts", samples=samples, every=2, log=interrupt)
    parts = small(seed=2)  # whatever was in memory is lost
    said: list[str] = []
    train(parts, store, recipe, tmp_path / "parts", every=2, log=said.append)
    assert said[0] == "resuming after step 2"
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(NacrithError, match="has another recipe"):
        train(parts, store, replace(recipe, rate=1.0), tmp_path / "parts", log=said.append)


def test_training_learns_and_a_teacher_helps(store: Any, tmp_path: Path) -> None:
    rows = next(batches(store, 0, 24, 8, seed=9))
    recipe = replace(SMALL, steps=80, count=8, at_once=4, rate=7.5e-3, rounded=0.25)
    model = small()
    before = model.loss(rows).item()
    train(model, store, recipe, tmp_path / "a", log=lambda line: None)
    assert model.loss(rows).item() < before - 1
    assert model.quantised
    pupil = small(seed=2)
    model.quantise(False)
    train(pupil, store, replace(recipe, distil=1.0), tmp_path / "b", teacher=model, log=lambda line: None)
    assert pupil.loss(rows).item() < before - 1


# What comes out.


def test_all_forms_of_a_model_are_the_same_model(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        for weight in model.parameters():  # so that float16 holds them, too
            weight.copy_(weight.half().float())
    info = {"name": "small", "source": "test", "licence": "none"}
    direct = export.write_exact(model, tokenizer, tmp_path / "direct.nacm", info)
    export.write_directory(model, tokenizer, tmp_path / "hf")
    export.write_gguf(model, tokenizer, tmp_path / "small.gguf", "small")
    for path in (tmp_path / "hf", tmp_path / "small.gguf"):
        assert convert(checkpoint.open_source(path), tmp_path / "other.nacm") == direct
    for_bytes = {
        convert(rotated(checkpoint.open_source(path)), tmp_path / "other.nacm", limits=LIMITS)
        for path in (tmp_path / "hf", tmp_path / "small.gguf")
    }
    assert len(for_bytes) == 1


def test_a_model_trained_for_bytes_rounds_and_is_written_so(
    store: Any, tokenizer: ByteTokenizer, tmp_path: Path
) -> None:
    """The roundings of the last phase are those of the file; until it begins, the bits may be changed."""
    model, info = small(), {"name": "small"}
    ids = torch.tensor([[0, *range(5, 60)]])
    losses = {}
    for bits in (10, 8):
        model.round_to(bits)
        model.quantise(True)
        losses[bits] = model.loss(ids).item()
        model.quantise(False)
    assert losses[8] != losses[10]
    recipe = replace(SMALL, rounded=0.5)
    model = small()
    train(model, store, recipe, tmp_path / "state", stopping=iter(["", "", "now"]).__next__, log=str)
    train(model, store, replace(recipe, bits=8), tmp_path / "state", log=str)
    export.write_exact(model, tokenizer, tmp_path / "t.nacm", info)
    config = modelfile.read(tmp_path / "t.nacm").config
    assert config.act_limits == act_limits(8) == dict.fromkeys(config.act_limits, 127)
    assert config.tied_head
    with pytest.raises(NacrithError, match="has another recipe"):
        train(model, store, recipe, tmp_path / "state", log=str)


def test_llama_cpp_gives_the_float_models_logits(tokenizer: ByteTokenizer, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip(
        "llama_cpp", reason="llama-cpp-python is not installed: pip install '.[llama]'", exc_type=ImportError
    )
    model = small()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((5 * weight if weight.ndim == 2 else weight).half().float())
    export.write_gguf(model, tokenizer, tmp_path / "small.gguf", "small")
    library = llama_cpp.Llama(str(tmp_path / "small.gguf"), n_ctx=64, logits_all=True, verbose=False)
    ids = [0, *tokenizer.encode(TEXTS[0])[:30]]
    library.eval(ids)
    theirs = np.asarray(library.scores[: len(ids)])
    ours = model.logits(model(torch.tensor([ids])))[0].detach().numpy()
    assert ours.std() > 0.5
    assert np.abs(theirs - ours).max() < 0.02 * ours.std()


# The command.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("data"))


def test_a_trained_model_compresses_and_goes_on_being_trained(data: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.nacm", tmp_path / "second.nacm"
    common = ["train", data, "-T", "1", "--length", "32", "--count", "2"]
    begun = [*common, "--scratch", "--layers", "1", "--vocab", "300", "--width", "64", "--steps", "3"]
    result = nacrith(*begun, "-o", first, "--work", tmp_path / "work")
    assert result.code == OK, result.err
    assert b"bits per byte before" in result.out
    again = nacrith(*begun, "-o", first, "--work", tmp_path / "work", "-f")
    assert "resuming after step 3" in again.err
    gguf, directory = tmp_path / "second.gguf", tmp_path / "second"
    more = ["-m", first, "-o", second, "--steps", "3", "--gguf", gguf, "--safetensors", directory]
    result = nacrith(*common, *more, "--bits", "8")
    assert result.code == OK, result.err
    assert modelfile.describe(second).config.act_limits == act_limits(8)
    text = data / "a.py"
    assert nacrith("compress", "-m", second, "-o", tmp_path / "a.nac", text).code == OK
    back = nacrith("decompress", "-m", second, "-o", tmp_path / "a.py", tmp_path / "a.nac")
    assert back.code == OK, back.err
    assert (tmp_path / "a.py").read_bytes() == text.read_bytes()
    assert gguf.read_bytes()[:4] == b"GGUF"
    assert (directory / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x.bin"], "NAME.nacm"),
        (["-o", "no/where.nacm"], "directory does not exist"),
        (["-o", "here.nacm"], "exists already"),
        (["-o", "x.nacm", "--safetensors", ".", "-f"], "exists already"),
        (["-o", "x.nacm", "--scratch"], "--scratch needs --layers and --vocab"),
        (["-o", "x.nacm", "--width", "100"], "multiple of 64"),
        (["-o", "x.nacm", "-m", "nothing-of-that-name"], "nothing-of-that-name"),
        (["-o", "x.nacm", "-m", str(TINY), "--layers", "9"], "cannot be reduced to 9"),
    ],
)
def test_what_cannot_work_is_refused_first(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.nacm").write_bytes(b"")
    result = nacrith("train", data, *options)
    assert result.code == (MODEL if message.startswith("nothing") else ERROR)
    assert result.said(message), result.err
    assert {p.name for p in tmp_path.iterdir()} == {"here.nacm"}
