"""`nacrith info` and `nacrith test`: what they print, for people and as JSON, and their exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from archive_fakes import full_stream, short_stream
from clirunner import MODEL, TEXT, nacrith

from nacrith import info, load_model
from nacrith.archive import ArchiveReader, wire
from nacrith.cli.console import ERROR, OK
from nacrith.cli.console import MODEL as MODEL_CODE
from nacrith.fallback import CODECS
from nacrith.loaded import for_decoding


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """short.nac, full.nac (with a stored name), binary.nac, empty.nac, bad.nac (one bit flipped)."""
    made = tmp_path_factory.mktemp("archives")
    (made / "book.txt").write_bytes(TEXT)
    os.utime(made / "book.txt", ns=(0, 86_400 * 10**9))
    (made / "book.txt").chmod(0o600)
    assert nacrith("-N", "-o", "full.nac", "book.txt", cwd=made).code == OK
    assert nacrith("-o", "short.nac", "book.txt", cwd=made).code == OK
    assert nacrith("-o", "binary.nac", stdin=bytes(range(256)) * 9, cwd=made).code == OK
    assert nacrith("-o", "empty.nac", cwd=made).code == OK
    short, bad = (made / "short.nac").read_bytes(), bytearray((made / "full.nac").read_bytes())
    size = info(short)[0].blocks[0].payload_size
    payload = short[-4 - size : -4]  # the same in both; only decoding looks at it
    bad[bad.index(payload) + size // 2] ^= 1
    (made / "bad.nac").write_bytes(bad)
    return made


NO_MODEL = {"NACRITH_MODEL": "", "NACRITH_MODEL_DIR": "/nonexistent"}


def test_info_table(directory: Path) -> None:
    done = nacrith("info", "full.nac", "short.nac", "empty.nac", cwd=directory, **NO_MODEL)
    assert (done.code, done.err) == (OK, "")
    head, full, short, empty = done.out.decode().splitlines()
    fingerprint = load_model(str(MODEL)).fingerprint.hex()
    size = (directory / "full.nac").stat().st_size
    for word in ("form", "archive", "content", "ratio", "bpb", "blocks", "model", "check", "file"):
        assert word in head.split()
    for word in ("full, 1", str(size), str(len(TEXT)), f"{8 * size / len(TEXT):.3f}", "1 model"):
        assert word in full
    assert f"tiny {fingerprint[:8]}" in full
    assert full.split()[-2:] == ["book.txt", "full.nac"]
    assert "short, 1" in short
    assert fingerprint[:8] in short
    assert empty.split()[-1] == "empty.nac"


def test_info_in_full(directory: Path) -> None:
    text = nacrith("-lv", "full.nac", cwd=directory, **NO_MODEL).out.decode()
    for word in (
        f"fingerprint {load_model(str(MODEL)).fingerprint.hex()}",
        "window ",
        "name book.txt",
        "modified 1970-01-02T00:00:00+00:00",
        "mode 0600",
        "blake2b-128 ",
        "1 blocks model",
    ):
        assert word in text


def test_info_as_json(directory: Path) -> None:
    done = nacrith("info", "--json", "full.nac", "binary.nac", cwd=directory, **NO_MODEL)
    full, binary = map(json.loads, done.out.splitlines())
    (stream,) = info(directory / "full.nac")
    assert full["file"] == "full.nac"
    assert full["size"] == stream.size
    assert full["content_size"] == len(TEXT)
    assert full["streams"][0]["model"]["name"] == "tiny"
    assert full["streams"][0]["metadata"]["name"] == "book.txt"
    assert binary["streams"][0]["model"] is None
    assert binary["streams"][0]["blocks"][0]["content_size"] == 256 * 9


def test_info_of_standard_input_and_of_what_is_no_archive(directory: Path) -> None:
    packed = (directory / "full.nac").read_bytes()
    assert nacrith("-l", stdin=packed + packed).out.decode().splitlines()[1].endswith("(stdin)")
    done = nacrith("info", "book.txt", "none", "short.nac", cwd=directory)
    assert done.code == ERROR
    assert done.said("book.txt: not a nacrith archive", "none: no such file")
    assert b"short.nac" in done.out
    assert nacrith("info", stdin=packed[:-1]).said("(stdin): ", "truncated")


def test_info_of_a_pipe_that_is_full(directory: Path) -> None:
    done = nacrith("info", "/dev/full", cwd=directory)
    assert done.code == ERROR  # reads zero bytes for ever, but they are no archive
    assert done.said("not a nacrith archive")


def test_test_reports(directory: Path) -> None:
    done = nacrith("test", "full.nac", "binary.nac", "bad.nac", "empty.nac", cwd=directory)
    assert done.code == ERROR
    lines = done.out.decode().splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        f"full.nac: ok, {len(TEXT)} bytes",
        "binary.nac: ok, 2,304 bytes",
        "empty.nac: ok, 0 bytes",
    ]
    assert done.said("bad.nac: ", "damaged")
    assert nacrith("-tq", "full.nac", cwd=directory).out == b""


def test_test_as_json(directory: Path) -> None:
    done = nacrith("-t", "--json", "bad.nac", "full.nac", "-qq", cwd=directory)
    assert (done.code, done.err) == (ERROR, "")
    bad, full = map(json.loads, done.out.splitlines())
    assert full == {"file": "full.nac", "ok": True, "size": len(TEXT)}
    assert (bad["ok"], bad["error"], bad["code"]) == (False, "CorruptError", ERROR)


def test_model_that_is_not_there(directory: Path, tmp_path: Path) -> None:
    """What needs no model works all the same; what does ends with a code of its own."""
    done = nacrith("test", "full.nac", "binary.nac", cwd=directory, **NO_MODEL)
    assert done.code == MODEL_CODE
    assert done.said("full.nac: ", "tiny")
    assert done.out.startswith(b"binary.nac: ok")
    done = nacrith("-d", "-o", tmp_path / "out", "full.nac", cwd=directory, **NO_MODEL)
    assert done.code == MODEL_CODE
    assert os.listdir(tmp_path) == []


def test_model_in_the_environment_that_cannot_be_used(directory: Path) -> None:
    """It is a preference only; archives that need no model do not mind."""
    done = nacrith("test", "binary.nac", cwd=directory, NACRITH_MODEL="no-such-model")
    assert (done.code, done.err) == (OK, "")


def test_keep_partial(directory: Path, tmp_path: Path) -> None:
    whole, bad = (directory / "full.nac").read_bytes(), (directory / "bad.nac").read_bytes()
    (tmp_path / "x.nac").write_bytes(whole + bad)
    done = nacrith("-d", "--keep-partial", "--rm", "x.nac", cwd=tmp_path)
    assert done.code == ERROR
    assert done.said("x.nac: ", f"the {len(TEXT)} bytes that could be verified are in x.partial")
    assert sorted(os.listdir(tmp_path)) == ["x.nac", "x.partial"]
    assert (tmp_path / "x.partial").read_bytes() == TEXT
    (tmp_path / "x.nac").write_bytes(bad)
    (tmp_path / "x.partial").unlink()
    assert nacrith("-d", "--keep-partial", "x.nac", cwd=tmp_path).code == ERROR
    assert os.listdir(tmp_path) == ["x.nac"]  # nothing verified, so nothing kept


def test_keep_partial_keeps_every_whole_block(tmp_path: Path) -> None:
    blocks = [(wire.RAW, bytes([65 + i]) * 1000) for i in range(4)]
    archive = bytearray(full_stream([blocks[:3], blocks[3:]]))
    archive[archive.index(b"B" * 1000) + 500] ^= 1
    (tmp_path / "x.nac").write_bytes(archive)
    done = nacrith("-d", "--keep-partial", "x.nac", cwd=tmp_path)
    assert done.code == ERROR
    assert done.said("content offset 1000: raw block of 1000 bytes: its payload is damaged")
    assert done.said("missing of the content: 1,000 bytes at offset 1,000;")
    assert done.said("the 3,000 bytes that could be verified are in x.partial")
    assert (tmp_path / "x.partial").read_bytes() == b"A" * 1000 + b"C" * 1000 + b"D" * 1000
    assert nacrith("-dc", "x.nac", cwd=tmp_path).out == b"A" * 1000  # before the damage
    (tmp_path / "x.nac").write_bytes(archive[:3000])
    done = nacrith("-df", "--keep-partial", "x.nac", cwd=tmp_path)
    assert done.said("1,000 bytes at offset 2,000, an unknown number of bytes from offset 3,000 on")


def test_info_of_many_streams(tmp_path: Path) -> None:
    """Nothing is printed of a file that turns out to be damaged at its end."""
    streams = short_stream(wire.RAW, b"x") * 300 + full_stream([], metadata=b"\x02\x01n") * 20
    (tmp_path / "many.nac").write_bytes(streams)
    (tmp_path / "bad.nac").write_bytes(streams + b"?")
    done = nacrith("info", "--json", "many.nac", "bad.nac", cwd=tmp_path)
    (line,) = done.out.splitlines()
    told = json.loads(line)
    assert (told["size"], told["content_size"], len(told["streams"])) == (len(streams), 300, 320)
    assert told["streams"][-1]["metadata"]["name"] == "n"
    assert done.said("bad.nac: ", "appended")
    lines = nacrith("info", "-v", "many.nac", cwd=tmp_path).out.decode().splitlines()
    assert lines[1].split()[-2:] == ["n", "many.nac"]
    assert "300 raw" in lines[1]
    assert sum("stream " in line for line in lines) == 320


def test_time_that_no_archive_can_state(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_bytes(TEXT)
    os.utime(tmp_path / "new.txt", (0, 10**10))  # the year 2286
    done = nacrith("-N", "new.txt", cwd=tmp_path)
    assert done.said("new.txt: its time of modification is beyond 2262 and is not stored")
    (stream,) = info(tmp_path / "new.txt.nac")
    assert (stream.metadata.name, stream.metadata.mtime_ns) == ("new.txt", None)


def test_one_block_shows_how_far_it_is(directory: Path) -> None:
    told: list[int] = []
    codec = for_decoding(info(directory / "short.nac")[0].codec, str(MODEL), 1)
    with (directory / "short.nac").open("rb") as file:
        assert b"".join(ArchiveReader(file, lambda _: codec, CODECS, progress=told.append)) == TEXT
    assert sum(told) == len(TEXT)
    assert len(told) > 5
