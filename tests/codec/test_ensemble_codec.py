"""Coding 3: two tiny models of different vocabularies code bytes together."""

from __future__ import annotations

import json
from pathlib import Path

import archive_plain_reader
import ensemble_plain
import numpy as np
import plain_blocks
import pytest
from archive_fakes import short_stream
from clirunner import nacrith as run
from coding_plain import counts_alone
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import TINY
from two_models import write_second

import nacrith
from nacrith import loaded
from nacrith.archive.wire import MODEL
from nacrith.bytelevel.joined import MOST_MEMBERS, JoinedModel
from nacrith.codec import for_decoding, for_encoding
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import MEMBER, MEMBERS, CodingParams
from nacrith.errors import (
    CorruptError,
    ModelError,
    ModelMismatchError,
    ModelMissingError,
    NacrithError,
    PrefixError,
    UnsupportedFormatError,
)
from nacrith.models import load_model, store
from nacrith.native import choice

TEXT = b"The old ferry left the harbour a little after nine, when the fog had lifted from the water.\n" * 2
PROSE = TEXT[:93] + (
    b"Nobody on board had asked the captain where she was going to, and the passengers kept to their cabins;"
    b" only the boy with the red cap stood at the rail and looked back at the houses of the town.\n"
)
NASTY = "Gr\u00fc\u00dfe, \u4f60\u597d \U0001f600".encode() + b"\x00\xff\xe2\x80 \xf1\x80\r\n\xc0"


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_second(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def ensemble(second: Path) -> JoinedModel:
    return nacrith.load_ensemble(str(TINY), str(second), threads=1)


def test_archives_come_back_and_a_payload_is_smaller_than_that_of_a_member(ensemble: JoinedModel) -> None:
    assert ensemble.models[0].tokenizer.encode(TEXT) != ensemble.models[1].tokenizer.encode(TEXT)
    archive = nacrith.compress(TEXT, model=ensemble)
    assert nacrith.decompress(archive, model=ensemble) == TEXT
    assert nacrith.compress(TEXT, model=ensemble) == archive
    from nacrith.learner import codec as learner

    together, alone = (
        for_encoding(6, ensemble, 1).encode([TEXT])[0],
        learner.encode(TEXT, learner.Shape.TEXT, 22),
    )
    assert alone is not None
    assert len(together) < 0.7 * len(alone)


@pytest.mark.parametrize("length", [None, 40], ids=["short prefix", "prefix longer than a lane"])
def test_an_ensemble_codes_after_a_prefix(
    ensemble: JoinedModel, monkeypatch: pytest.MonkeyPatch, length: int | None
) -> None:
    """Also where a lane of the model begins anew in the prefix, and again in the text."""
    if length is not None:
        monkeypatch.setattr(ensemble, "max_length", length)
    prefix, text = PROSE[:93], TEXT[:93]
    small = nacrith.compress(text, model=ensemble, prefix=prefix)
    (stream,) = nacrith.info(small)
    assert stream.codec is not None
    assert len(CodingParams.from_bytes(stream.codec.params).members) == 2
    assert nacrith.decompress(small, model=ensemble, prefix=prefix) == text
    assert len(small) < len(nacrith.compress(text, model=ensemble))
    with pytest.raises(PrefixError):
        nacrith.decompress(small, model=ensemble)


@settings(max_examples=5, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.just(NASTY)))
def test_any_bytes_come_back(ensemble: JoinedModel, data: bytes) -> None:
    codec = for_encoding(6, ensemble, 1)
    [payload] = codec.encode([data])
    assert codec.decode([(payload, len(data))]) == [data]


def test_rows_do_not_depend_on_the_calls(ensemble: JoinedModel) -> None:
    """What an encoder finds in one call, a decoder finds byte by byte, in whatever lane."""
    start, data = ensemble.bos_id, TEXT[:30] + NASTY
    whole = ensemble.session(1).extend([[start, *data]])[0]
    session = ensemble.session(2)
    singly = [session.extend([[9] if i == 7 else [], [t]])[1] for i, t in enumerate([start, *data])]
    assert np.array_equal(whole, np.concatenate(singly))
    session.rollback(1, 20)
    assert session.lengths == [1, 20]
    assert np.array_equal(session.extend([[], data[19:25]])[1], whole[20:26])
    tree = session.extend_tree([[], [*data[25:27], 0]], [[], [-1, 0, 0]])[1]
    assert np.array_equal(tree[:2], whole[26:28])
    session.keep(1, [0, 1])
    assert np.array_equal(session.extend([[], data[27:28]])[1], whole[28:29])
    with pytest.raises(ValueError, match="no path"):
        session.keep(1, [0])
    session.rollback(1, 0)
    assert np.array_equal(session.extend([[], [start]])[1], whole[:1])
    with pytest.raises(ValueError, match="no first 3"):
        session.rollback(1, 3)


def test_a_lane_begins_anew_where_a_member_is_full(
    ensemble: JoinedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "max_length", 32)
    codec = for_encoding(6, ensemble, 1)
    [payload] = codec.encode([TEXT[:80]])
    assert codec.decode([(payload, 80)]) == [TEXT[:80]]


def test_the_reference_makes_the_same_bytes(ensemble: JoinedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = for_encoding(6, ensemble, 1)
    native = codec.encode([TEXT[:50]])
    monkeypatch.setattr(choice, "library", lambda: None)
    assert codec.encode([TEXT[:50]]) == native
    assert codec.decode([(native[0], 50)]) == [TEXT[:50]]


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_damage_is_found(ensemble: JoinedModel, data: st.DataObject) -> None:
    archive = bytearray(nacrith.compress(TEXT[:60], model=ensemble))
    place = data.draw(st.integers(0, len(archive) - 1))
    archive[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NacrithError):
        assert nacrith.decompress(bytes(archive), model=ensemble) == TEXT[:60]


def test_params_name_the_members(ensemble: JoinedModel) -> None:
    params = for_encoding(6, ensemble, 1).params
    assert params.members == tuple(m.fingerprint[:MEMBER] for m in ensemble.models)
    data = params.to_bytes()
    assert data[0] == 3
    assert CodingParams.from_bytes(data) == params
    for bad in (data[:-1], data[:-MEMBER], data + bytes(7 * MEMBER), data[: -2 * MEMBER]):
        with pytest.raises(CorruptError, match="ensemble"):
            CodingParams.from_bytes(bad)
    with pytest.raises(UnsupportedFormatError, match="version 4"):
        CodingParams.from_bytes(b"\x04" + data[1:])
    assert [*MEMBERS] == [*range(2, MOST_MEMBERS + 1)]


def test_a_member_that_is_missing_is_named(
    ensemble: JoinedModel, second: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The models of this test are in no cache, so both are missing until they are given."""
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("NACRITH_MODEL", "")
    loaded.forget()
    codec_id = for_encoding(6, ensemble, 1).id
    with pytest.raises(ModelMissingError, match="needs the model tiny"):
        for_decoding(codec_id, None, 1)
    with pytest.raises(ModelMissingError, match="needs the model second"):
        for_decoding(codec_id, str(TINY), 1)
    monkeypatch.setenv("NACRITH_MODEL", str(TINY))
    found = for_decoding(codec_id, str(second), 1)
    assert found.model.fingerprint == ensemble.fingerprint
    other = nacrith.load_ensemble(str(second), str(TINY), threads=1)
    with pytest.raises(ModelMismatchError, match="fingerprint"):
        for_decoding(codec_id, other, 1)
    with pytest.raises(ModelMismatchError, match="no member"):
        for_decoding(codec_id, store.EMBEDDED["nacrith-36m"].as_posix(), 1)


def test_a_member_does_not_stand_for_its_ensemble(
    ensemble: JoinedModel, second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NACRITH_MODEL", str(TINY))
    archive = nacrith.compress(TEXT[:40], model=ensemble)
    assert nacrith.decompress(archive, model=str(second)) == TEXT[:40]
    made = loaded.for_encoding(6, str(second), 1)
    assert isinstance(made, ModelCodec)
    assert not isinstance(made.model, JoinedModel)


def test_what_makes_no_ensemble(ensemble: JoinedModel) -> None:
    tiny = load_model(str(TINY))

    class Floats:
        portable, name = False, "floating"

    with pytest.raises(ModelError, match="2 to 8 models, not 1"):
        JoinedModel([tiny])
    with pytest.raises(ModelError, match="floating point"):
        JoinedModel([tiny, Floats()])  # type: ignore[list-item]


def test_the_command_line(second: Path, tmp_path: Path) -> None:
    text, names = tmp_path / "text", f"{TINY},{second}"
    text.write_bytes(PROSE)
    done = run("--ensemble", names, "-1", "-N", str(text))
    assert not done.code, done.err
    archive = tmp_path / "text.nac"
    back = run("-dc", "-m", str(second), str(archive), NACRITH_MODEL=str(TINY))
    assert back.out == PROSE, back.err
    missing = run("-dc", str(archive))
    assert missing.code
    assert "needs the model second" in missing.err
    [stream] = json.loads(run("info", "--json", str(archive)).out)["streams"]
    first, other = (load_model(str(p)).fingerprint.hex()[:8] for p in (TINY, second))
    assert stream["model"]["members"] == f"{first} {other}"
    assert stream["model"]["name"] == "tiny+second"
    for options in (["--ensemble", str(TINY)], ["--ensemble", names, "-m", "none"]):
        assert run("-c", *options, stdin=b"x").code


def test_rows_are_those_of_the_specification(ensemble: JoinedModel) -> None:
    """Many rows by sections 2 and 4 alone, of the members' own distributions."""
    data = PROSE[:60]
    members = []
    for member in ensemble.members:
        state = member.start()
        members.append(np.vstack([state.distributions(data), state.next_byte()]).tolist())
    joined = ensemble_plain.Mixed(len(members))
    expected = []
    for i, distributions in enumerate(zip(*members, strict=True)):
        if i:
            joined.learn(data[i - 1])
        expected.append(joined.row(list(distributions)))
    assert ensemble.session(1).extend([[256, *data]])[0].tolist() == expected


def test_an_archive_is_read_by_the_documents_alone(ensemble: JoinedModel) -> None:
    text = "b\u00e9, 9's\n".encode() + b"\xff\xe2\x80 "
    params = CodingParams(100, bits=16, members=for_encoding(6, ensemble, 1).params.members)
    archive = short_stream(MODEL, text, ModelCodec(ensemble, params, threads=1))  # type: ignore[arg-type]
    assert archive_plain_reader.read(archive, plain_blocks.ensemble(ensemble.models)) == text  # type: ignore[arg-type]


def test_weights_are_exact_multiples_of_counts(ensemble: JoinedModel) -> None:
    """Of a tokenizer that spells some bytes; the products have more than 24 bits."""
    alphabet, model = ensemble.members[0].rules.alphabet, ensemble.models[0]
    row = model.session(1).extend([[model.bos_id, 54]])[0][-1]
    weights, _ = alphabet.weights(row)
    assert weights.max() > 1 << 24
    places = [rank for rank in range(alphabet.size) if len(alphabet.ids_of(rank)) == 1]
    spelt = alphabet.size - len(places)
    plain = counts_alone(row.tolist())
    assert [weights[r] for r in places] == [spelt * plain[alphabet.ids_of(r)[0]] for r in places]
