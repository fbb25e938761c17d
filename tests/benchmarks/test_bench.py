"""The benchmark of sizes: tables, resumption, and that a broken round trip cannot go unseen."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from backend_checks import TEXT as PROSE
from clirunner import MODEL
from paths import ROOT

import nacrith
from bench import common
from bench.coding import coder
from bench.engines import backends
from bench.files import peers, ratio
from bench.jobs import batch
from nacrith.archive import ArchiveWriter
from nacrith.codec.levels import LEVELS
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.fallback import CODECS

PEER_NAMES = list(peers.PEERS)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "a.txt").write_bytes(b"the cat sat on the mat, the dog did not. " * 40)
    (folder / "empty").write_bytes(b"")
    (folder / "INDEX.md").write_text("not a data file")
    return folder


@pytest.mark.parametrize("name", PEER_NAMES)
@pytest.mark.parametrize(
    "content",
    [b"", b"\x00", b"\x00" * 5000, bytes(range(256)) * 20, b"ab" * 1000 + b"\x00"],
    ids=["empty", "nul", "nuls", "bytes", "text"],
)
def test_peers_give_the_file_back(name: str, content: bytes) -> None:
    version, compress, decompress = peers.PEERS[name].load()
    assert version
    assert decompress(compress(content)) == content


@pytest.mark.parametrize("name", list(peers.OWN))
def test_parts_of_nacrith_give_the_file_back(name: str) -> None:
    _, compress, decompress = peers.OWN[name].load()
    for content in (b"", b"the cat sat on the mat"):
        assert decompress(compress(content)) == content


def test_tables_and_resumption(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "PEERS", {n: peers.PEERS[n] for n in ("gzip -9", "xz -9e")})
    monkeypatch.setattr(peers, "OWN", {})
    out = tmp_path / "out"
    arguments = ["--data", str(data), "--out", str(out), "--peers-only", "--head", "1000"]
    monkeypatch.setattr(ratio, "draw", lambda rows, path: None)
    assert ratio.main(arguments) == 0
    shown = capsys.readouterr().out
    result = json.loads((out / "ratio-head1000.json").read_text())
    assert [(r["file"], r["bytes"], r["program"]) for r in result["rows"]] == [
        ("empty", 0, "gzip -9"),
        ("empty", 0, "xz -9e"),
        ("texts/a.txt", 1000, "gzip -9"),
        ("texts/a.txt", 1000, "xz -9e"),
    ]
    for row in result["rows"]:
        assert f"{row['compressed']:,}" in shown or row["bytes"] == 0
        assert row["compress_mb"] > 1
        assert row["bpb"] is None or row["bpb"] == pytest.approx(8 * row["compressed"] / 1000)
    assert (out / "ratio-head1000.md").read_text() in shown
    assert len((out / "ratio-head1000.csv").read_text().splitlines()) == 5

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(ratio, "measure", never)
    assert ratio.main(arguments) == 0
    with pytest.raises(AssertionError, match="measured again"):
        ratio.main([*arguments, "--fresh"])


def test_a_broken_round_trip_is_reported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(direction: str, source: Path, target: Path) -> common.Cost:
        target.write_bytes(source.read_bytes() + b"!")
        return common.Cost(0.0, 1.0)

    monkeypatch.setattr(ratio, "programs", lambda options: {"broken": ("1", step)})
    assert ratio.main(["--data", str(data), "--out", str(tmp_path)]) == 1
    assert "ROUND TRIP FAILED" in capsys.readouterr().err
    assert not (tmp_path / "ratio.json").exists()


def test_a_failing_child_is_an_error() -> None:
    with pytest.raises(common.ChildError, match="exit code 7: no space"):
        common.run_child([sys.executable, "-c", "print('x\\nno space'); raise SystemExit(7)"])


def test_cost_of_a_child() -> None:
    script = "import time; x = bytearray(60_000_000); time.sleep(0.2); print('done')"
    cost, output = common.run_child([sys.executable, "-c", script])
    assert output == "done\n"
    assert cost.seconds >= 0.2
    assert cost.peak_mb >= 60


def test_files_are_chosen_by_name_or_path(data: Path) -> None:
    def names(*patterns: str) -> list[str]:
        return [p.relative_to(data).as_posix() for p in common.data_files(data, patterns)]

    assert names() == ["empty", "texts/a.txt"]
    assert names("a.*") == names("texts/*") == ["texts/a.txt"]
    assert names("nothing") == []


def test_no_data_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(common.DATA_VARIABLE, raising=False)
    for arguments in ([], ["--data", str(tmp_path / "none")], ["--data", str(tmp_path)]):
        with pytest.raises(SystemExit) as end:
            ratio.main([*arguments, "--out", str(tmp_path), "--peers-only"])
        assert end.value.code


@pytest.mark.parametrize("power", coder.POWERS)
def test_lengths_of_the_coder_add_up(power: float) -> None:
    lengths = coder.measure(power, vocabulary=300, symbols=200)
    floor = 200 * 300 / 2**coder.PRECISION / 0.69  # the floor of one count, in bits, and rounding
    assert lengths.ideal <= lengths.counted + 0.01
    assert lengths.counted <= lengths.ideal + floor + 0.01
    assert lengths.counted - 8 <= lengths.coded <= lengths.counted + 16


def test_backends_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "f.txt", tmp_path / "backends.json"
    file.write_bytes(PROSE)
    arguments = [str(file), "--level", "1", "--model", str(MODEL), "--backends", "exact", "--out", str(out)]
    backends.main(arguments)
    rows = json.loads(out.read_text())["rows"]
    assert [(row["backend"], row["set"]) for row in rows] == [("exact", 0), ("exact", 1)]
    model = nacrith.load_model(str(MODEL))
    level = LEVELS[1]
    for row in rows:
        params = CodingParams(512, row["set"], level.capacity if row["set"] else 0, level.bits)
        alone = io.BytesIO()
        with ArchiveWriter(alone, ModelCodec(model, params), CODECS, block_bytes=level.group) as writer:
            writer.write(PROSE)
        assert row["bytes"] == len(alone.getvalue())
    assert rows[0]["encode_tokens"] == rows[1]["decode_tokens"]
    assert capsys.readouterr().out.count("exact") == 2

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(ModelCodec, "encode", never)
    monkeypatch.setattr(ModelCodec, "decode", never)
    backends.main(arguments)
    assert json.loads(out.read_text())["rows"] == rows
    with pytest.raises(AssertionError, match="measured again"):
        backends.main([*arguments, "--fresh"])


def test_backends_over_several_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = tmp_path / "f.txt", tmp_path / "backends.json"
    file.write_bytes(PROSE)
    monkeypatch.setitem(LEVELS, 1, replace(LEVELS[1], group=600))
    sizes = []
    for more in (["--workers", "2"], ["--fresh"]):
        arguments = [str(file), "--level", "1", "--model", str(MODEL), "--backends", "exact", "--sets", "1"]
        backends.main([*arguments, "--threads", "1", *more, "--out", str(out)])
        sizes.append(json.loads(out.read_text())["rows"][0]["bytes"])
        assert len(list((tmp_path / "backends.kept").iterdir())) > 2  # blocks, and what decoded them
    assert sizes[0] == sizes[1]


def test_many_small_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "long").write_bytes((ROOT / "README.md").read_bytes())
    arguments = ["--data", str(tmp_path), "--model", str(MODEL), "--level", "1"]
    batch.main([*arguments, "--count", "3", "--loop", "1"])
    shown = capsys.readouterr().out
    assert shown.count("| compress ") == shown.count("| decompress ") == 2
    assert "the loop: 1 of them" in shown
    (tmp_path / "long").write_bytes(b"short")
    with pytest.raises(SystemExit, match="longer files"):
        batch.main(arguments)
