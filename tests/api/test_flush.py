"""Groups that end where the writer says so, and short ones for reading at random."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest
from clirunner import MODEL
from clirunner import nacrith as command

import nacrith
from nacrith import loaded
from nacrith.archive import blocks
from nacrith.archive.layout import find_layout
from nacrith.archive.wire import Source
from nacrith.fallback import CODECS
from nacrith.models.protocol import LanguageModel

LINES = [b"The ferry left at nine, and nobody asked why.\n", b"The gulls came back.\n" * 3, b"\0\xff\x07" * 9]


def groups(archive: bytes) -> int:
    layout = find_layout(Source(io.BytesIO(archive)), CODECS.names)
    return len(list(layout.extents()))


@pytest.fixture(scope="module")
def model() -> Iterator[LanguageModel]:
    yield nacrith.load_model(str(MODEL))
    loaded.forget()


def test_what_was_flushed_can_be_read_before_more_comes(model: LanguageModel) -> None:
    compressor, decompressor = nacrith.Compressor(model=model), nacrith.Decompressor(model=model)
    for line in LINES:
        part = compressor.compress(line[:5]) + compressor.compress(line[5:])
        assert not decompressor.decompress(part)
        assert decompressor.decompress(compressor.flush(compressor.FLUSH_BLOCK)) == line
        assert compressor.flush(compressor.FLUSH_BLOCK) == b"", "there is nothing new"
    assert decompressor.decompress(compressor.flush()) == b""
    assert decompressor.eof
    with pytest.raises(ValueError, match="has been flushed"):
        compressor.flush(compressor.FLUSH_BLOCK)


def test_flushing_decides_the_groups_and_nothing_else(model: LanguageModel) -> None:
    compressor = nacrith.Compressor(model=model)
    assert compressor.flush(compressor.FLUSH_BLOCK) == b""
    archive = b"".join(compressor.compress(line) + compressor.flush(compressor.FLUSH_BLOCK) for line in LINES)
    archive += compressor.flush(compressor.FLUSH_FRAME)
    assert nacrith.decompress(archive, model=model) == b"".join(LINES)
    assert groups(archive) == 3
    with pytest.raises(ValueError, match="neither FLUSH_BLOCK nor FLUSH_FRAME"):
        nacrith.Compressor(model=model).flush(3)


def test_a_truncated_file_keeps_what_was_flushed(model: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "log.nac"
    with nacrith.open(path, "wb", model=model) as file:
        file.write(LINES[0])
        file.flush()
        held = path.read_bytes()
        file.write(LINES[1])
    (tmp_path / "cut.nac").write_bytes(held)
    with nacrith.open(tmp_path / "cut.nac", model=model) as file:
        assert file.read(len(LINES[0])) == LINES[0]
        with pytest.raises(nacrith.TruncatedError):
            file.read()
    done = command("-d", "--keep-partial", "cut.nac", cwd=tmp_path)
    assert done.code == 1
    (kept,) = tmp_path.glob("*.partial")
    assert kept.read_bytes() == LINES[0]


def test_a_text_file_ends_no_group_when_it_is_closed(model: LanguageModel) -> None:
    text = LINES[0].decode()
    raw = io.BytesIO()
    with nacrith.open(raw, "wt", model=model, encoding="utf-8") as file:
        file.write(text)
    assert raw.getvalue() == nacrith.compress(text.encode(), model=model)
    raw = io.BytesIO()
    with nacrith.open(raw, "wt", model=model, encoding="utf-8") as file:
        print(text, end="", file=file, flush=True)
        assert nacrith.Decompressor(model=model).decompress(raw.getvalue()).decode() == text
        file.write(text)
    assert groups(raw.getvalue()) == 2


@pytest.mark.parametrize("kind", ["text", "noise", "model"])
def test_reading_at_random_decodes_one_short_block(
    kind: str, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 1 << 14 if kind == "model" else 1 << 16
    rng = random.Random(5)
    words = [rng.choice([b"ferry", b"harbour", b"gulls", b"nine\n", b"fog"]) for _ in range(40000)]
    content = rng.randbytes(200_000) if kind == "noise" else b" ".join(words)
    chosen = {"model": model} if kind == "model" else {"level": 1}
    content = content[: 3 * size] if kind == "model" else content
    archive = nacrith.compress(content, group_size=size, **chosen)  # type: ignore[arg-type]
    decoded: list[int] = []
    monkeypatch.setattr(blocks, "crc32", lambda data: decoded.append(len(data)) or crc32(data))
    with nacrith.open(io.BytesIO(archive), model=model if kind == "model" else None) as file:
        file.seek(size + 100)
        assert file.read(50) == content[size + 100 : size + 150]
    assert sum(decoded) <= 4 * size


def test_group_sizes_that_are_none() -> None:
    with pytest.raises(ValueError, match="is less than 16384"):
        nacrith.compress(b"", group_size=1000)
    with pytest.raises(TypeError, match="group_size is an int"):
        nacrith.compress(b"", group_size="64K")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="group_size are for writing"):
        nacrith.open(io.BytesIO(), group_size=1 << 16)
