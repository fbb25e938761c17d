"""Archives that are bound to a machine: what they record, when they are refused, that encoding verifies."""

from __future__ import annotations

import logging

import backend_checks as checks
import numpy as np
import pytest
from fake_backend import FakeContext, FakeModel
from small_models import TINY

import nacrith
from nacrith import codec
from nacrith.archive.blockcodec import CodecId
from nacrith.codec.model_codec import ModelCodec, binding_of
from nacrith.codec.params import CodingParams
from nacrith.codec.payload import head, parse
from nacrith.codec.prefix import name_of
from nacrith.errors import CorruptError, ModelError, ModelMismatchError, PrefixError
from nacrith.models.floats import binding as bound
from nacrith.settings import BACKENDS, EXACT

BLOCKS = [b"The old ferry left the harbour.\r\n" * 2, b"", b"\xff\0<|endoftext|>", b"gulls " * 20]


@pytest.fixture(params=[0, 1], ids=["set 0", "set 1"])
def params(request: pytest.FixtureRequest) -> CodingParams:
    return CodingParams(16, request.param, 8 * request.param, binding=binding_of(FakeModel()))


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_blocks_come_back_alone_and_in_any_company(params: CodingParams, lanes: int) -> None:
    """In as many lanes as the model has, where the text is long enough."""
    coder = ModelCodec(FakeModel(lanes=lanes), params, lane_size=30)
    payloads = coder.encode(BLOCKS)
    assert [len(parse(p, 200).lengths) for p in payloads] == [min(2, lanes), 0, 1, min(4, lanes)]
    coded = list(zip(payloads, map(len, BLOCKS), strict=True))
    assert coder.decode(coded[::-1]) == BLOCKS[::-1]
    for one, block in zip(coded, BLOCKS, strict=True):
        assert ModelCodec(FakeModel(lanes=lanes), params).decode([one]) == [block]
    coder.shared = True
    assert coder.decode(coded) == BLOCKS
    assert coder.encode(BLOCKS) == payloads


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("times", [1, 12], ids=["short prefix", "prefix longer than a context"])
def test_blocks_come_back_after_a_prefix(lanes: int, times: int) -> None:
    """The prefix goes to the lanes at other places and beside other lanes when it is decoded."""
    prefix = b"The gulls came back.\n" * times
    model = FakeModel(lanes=lanes)
    assert (len(model.tokenizer.encode(prefix)) > model.max_context) == (times > 1)
    payloads = checks.blocks_after_a_prefix(model, prefix, BLOCKS, lane_size=30)
    assert [len(parse(p, 200).lengths) for p in payloads] == [min(2, lanes), 0, 1, min(4, lanes)]


def test_an_archive_that_is_bound_to_a_machine_may_have_a_prefix() -> None:
    model, prefix = FakeModel(), checks.TEXT[:400]
    small = nacrith.compress(checks.TEXT, level=1, model=model, prefix=prefix)
    (stream,) = nacrith.info(small)
    assert stream.codec is not None
    params = CodingParams.from_bytes(stream.codec.params)
    assert (params.prefix, params.binding) == (name_of(prefix), model.binding)
    assert nacrith.decompress(small, model=model, prefix=prefix) == checks.TEXT
    with pytest.raises(PrefixError):
        nacrith.decompress(small, model=model)


@pytest.mark.parametrize("lanes", [1, 3])
def test_every_pass_has_as_many_lanes_as_the_model(params: CodingParams, lanes: int) -> None:
    model = FakeModel(lanes=lanes)
    coder = ModelCodec(model, params)
    payloads = coder.encode(BLOCKS)
    assert model.sessions == [lanes] * len(model.sessions)
    assert len(model.sessions) == (6 if lanes == 1 else 2)  # both ways, and none for an empty block
    coder.decode(list(zip(payloads, map(len, BLOCKS), strict=True)))
    assert model.sessions[-1] == lanes


def test_more_lanes_than_the_model_has_are_damage(params: CodingParams) -> None:
    coder = ModelCodec(FakeModel(lanes=2), params)
    with pytest.raises(CorruptError, match="3 lanes, its model has 2"):
        coder.decode([(head([1, 1, 1], False) + b"abc", 9)])


def test_progress_adds_up(params: CodingParams) -> None:
    told: list[int] = []
    ModelCodec(FakeModel(), params).encode(BLOCKS, told.append)
    assert sum(told) == sum(map(len, BLOCKS))
    assert min(told) >= 0


class Unsteady(FakeContext):
    """Computes its n-th row ever a little differently."""

    count = 0

    def row(self, place: int, token: int | None) -> np.ndarray:
        type(self).count += 1
        row = super().row(place, token)
        return row + np.float32(2.0) * np.roll(row, 1) if type(self).count == 30 else row


def test_a_backend_that_does_not_repeat_itself_is_found_in_encoding() -> None:
    Unsteady.count = 0
    model = FakeModel(Unsteady)
    with pytest.raises(ModelError, match="does not give the same results twice"):
        ModelCodec(model, CodingParams(16, binding=binding_of(model))).encode([BLOCKS[0]])
    assert Unsteady.count > 30


def test_rows_that_depend_on_their_place_are_found_in_encoding() -> None:
    class Placed(FakeContext):
        def row(self, place: int, token: int | None) -> np.ndarray:
            row = super().row(place, token)
            return row + np.float32(2.0) * np.roll(row, 1) if place else row

    model = FakeModel(Placed, lanes=2)
    with pytest.raises(ModelError, match="Use NACRITH_LANES=1 or --backend exact"):
        ModelCodec(model, CodingParams(16, binding=binding_of(model))).encode([BLOCKS[3], BLOCKS[0]])


# --- what is recorded ---


@pytest.mark.parametrize(
    ("value", "text"), [("A\tB  C", "A B C"), ("\u00e9\n\0", "? ?"), ("", "unknown"), ("x" * 60, "x" * 48)]
)
def test_printable(value: str, text: str) -> None:
    assert bound.printable(value) == text


def test_what_each_backend_needs_is_known() -> None:
    assert set(BACKENDS) == {EXACT, *bound.REQUIREMENTS}


# --- who may decode ---


def codec_id(**changes: str) -> CodecId:
    model = FakeModel(**changes)
    return CodecId(model.fingerprint, CodingParams(16, binding=model.binding).to_bytes(), model.name)


def test_the_same_binding_decodes() -> None:
    assert codec.for_decoding(codec_id(), FakeModel(), None).params.binding == FakeModel().binding


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threads": "2"}, ["threads 2, here 1"]),
        ({"cpu": "another", "threads": "3"}, ["cpu another, here (none); threads 3, here 1"]),
    ],
)
def test_a_mismatch_names_both_sides(changes: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ModelMismatchError) as caught:
        codec.for_decoding(codec_id(**changes), FakeModel(), None)
    assert all(word in str(caught.value) for word in [*words, "--force-backend"])


def test_a_mismatch_may_be_tried(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nacrith"):
        codec.for_decoding(codec_id(threads="2"), FakeModel(), None, force=True)
    assert "threads 2, here 1" in caplog.text


def test_exact_archives_and_bound_ones_are_not_mixed_up() -> None:
    with pytest.raises(ModelMismatchError, match="backend fake"):
        codec.for_decoding(codec_id(), FakeModel(), None, backend="llama.cpp")
    bare = CodecId(FakeModel.fingerprint, CodingParams(16).to_bytes(), "fake")
    with pytest.raises(ModelMismatchError, match=r"backend \(none\), here fake"):
        codec.for_decoding(bare, FakeModel(), None)
    with pytest.raises(ModelMismatchError, match="--backend exact"):
        codec.for_decoding(bare, str(TINY), None, backend="llama.cpp")


@pytest.mark.parametrize(
    ("binding", "error", "words"),
    [
        ({"backend": "fake"}, ModelError, "no backend 'fake'"),
        ({"threads": "2"}, ModelError, "no backend"),
    ],
)
def test_bindings_from_elsewhere(binding: dict[str, str], error: type[Exception], words: str) -> None:
    strange = CodecId(bytes(32), CodingParams(16, binding=binding).to_bytes(), "x")
    for force in (False, True):
        with pytest.raises(error, match=words):
            codec.for_decoding(strange, str(TINY), None, force=force)


@pytest.mark.parametrize(
    "binding",
    [
        {},
        {"threads": "0"},
        {"threads": "9" * 5},
        {"threads": "1", "gpu-layers": "x"},
        {"threads": "1", "lanes": "x"},
    ],
)
def test_settings_that_cannot_be_had(binding: dict[str, str]) -> None:
    with pytest.raises(ModelMismatchError, match="impossible here"):
        bound.Settings.recorded(binding)


def test_settings_come_from_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NACRITH_DEVICE", "cuda:3")
    monkeypatch.setenv("NACRITH_GPU_LAYERS", "7")
    monkeypatch.setenv("NACRITH_LANES", "8")
    monkeypatch.setenv("NACRITH_KV_CACHE", "dynamic")
    recorded = {"threads": "5", "device": "cpu", "dtype": "bfloat16", "gpu-layers": "0"}
    recorded |= {"cache": "static", "lanes": "3"}
    assert bound.Settings.recorded(recorded) == bound.Settings(5, "cpu", "bfloat16", 0, "static", 3)
    here = bound.Settings.recorded(recorded, device_here=True)
    assert here == bound.Settings(5, "cuda:3", "bfloat16", 7, "static", 3)
    assert bound.Settings.recorded({"threads": "5"}) == bound.Settings(5)
    assert bound.Settings.of_environment(2) == bound.Settings(2, "cuda:3", "float32", 7, lanes=8)
    for name in ("NACRITH_GPU_LAYERS", "NACRITH_LANES"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "many")
            with pytest.raises(ModelError, match=f"{name}=many"):
                bound.Settings.of_environment(2)
