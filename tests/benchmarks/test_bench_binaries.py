"""The benchmark of binaries: its files are what they say, the same every time, and its sums are right."""

from __future__ import annotations

import io
import struct
import tarfile
import wave

import pytest

from bench.files import binaries


def test_files_are_of_their_kinds_and_the_same_every_time() -> None:
    made = binaries.files(300_000)
    assert made == binaries.files(300_000)
    assert 100_000 < sum(map(len, made.values())) <= 310_000
    with tarfile.open(fileobj=io.BytesIO(made["stdlib.tar"])) as archive:
        assert len(archive.getnames()) > 5
    with wave.open(io.BytesIO(made["notes.wav"])) as sound:
        assert sound.getnframes() * 4 == len(sound.readframes(1 << 20)) > 10_000
    size, width, height = struct.unpack("<2xI12xII", made["shades.bmp"][:26])
    assert size == len(made["shades.bmp"]) == 54 + 3 * width * height


def test_the_sums_of_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        binaries, "files", lambda _: {"one": bytes(range(99)) * 3, "two": b"to and fro, " * 30}
    )
    assert binaries.main(["-1"]) == 0
    rows = [
        [cell.strip().replace(",", "") for cell in line.split("|")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("| one", "| two", "| all"))
    ]
    one, two, every = rows
    assert (
        [int(every[i]) for i in (1, 2)] == [int(one[i]) + int(two[i]) for i in (1, 2)] == [657, int(every[2])]
    )
    best = sum(min(map(int, row[3:6])) for row in (one, two))
    assert float(every[6]) == pytest.approx(100 * int(every[2]) / best - 100, abs=0.06)
