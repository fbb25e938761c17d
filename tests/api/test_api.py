"""The Python API: one-shot functions, files, incremental objects, the model that is kept."""

from __future__ import annotations

import io
import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clirunner import MODEL, ROOT, TEXT, environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nacrith
from nacrith import loaded
from nacrith.models.protocol import LanguageModel

NOISE = random.Random(3).randbytes(2000)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return nacrith.load_model(str(MODEL))


@pytest.fixture(scope="module")
def archive(model: LanguageModel) -> bytes:
    made = nacrith.compress(TEXT, model=model)
    assert nacrith.info(made)[0].codec is not None  # else these tests would not meet the model
    return made


@pytest.fixture(autouse=True)
def _small_default(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Archives name the tiny model; nothing else must be loaded in these tests."""
    loaded.forget()
    yield
    loaded.forget()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("content", [b"", b"x", TEXT], ids=["empty", "a byte", "text"])
def test_one_shot(kind: Any, content: bytes, model: LanguageModel) -> None:
    packed = nacrith.compress(kind(content), model=model)
    assert type(packed) is bytes
    assert nacrith.decompress(kind(packed), model=model) == content


def test_levels(model: LanguageModel) -> None:
    default = nacrith.compress(TEXT, model=model)
    assert default == nacrith.compress(TEXT, model=model, level=nacrith.COMPRESSION_LEVEL_DEFAULT, threads=1)
    for level in (1, 9):
        assert nacrith.decompress(nacrith.compress(TEXT, level=level, model=model), model=model)
    for bad in (0, 10, -1):
        with pytest.raises(ValueError, match=f"level {bad}"):
            nacrith.compress(TEXT, level=bad, model=model)


def test_str_is_a_type_error(model: LanguageModel) -> None:
    text: Any = "text"
    for call in (
        lambda: nacrith.compress(text, model=model),
        lambda: nacrith.decompress(text, model=model),
        lambda: nacrith.Compressor(model=model).compress(text),
        lambda: nacrith.Decompressor(model=model).decompress(text),
        lambda: nacrith.open(io.BytesIO(), "wb", model=model).write(text),
        lambda: nacrith.compress(b"", level=text, model=model),
    ):
        with pytest.raises(TypeError):
            call()


def test_bad_input_is_refused(archive: bytes, model: LanguageModel) -> None:
    def error(data: bytes) -> type[Exception]:
        with pytest.raises(nacrith.NacrithError) as caught:
            nacrith.decompress(data, model=model)
        with nacrith.open(io.BytesIO(data), model=model) as file, pytest.raises(caught.type):
            file.read()
        return caught.type

    assert issubclass(error(b""), EOFError)
    assert issubclass(error(archive[:-1]), nacrith.TruncatedError)
    assert issubclass(error(archive + b"\0"), nacrith.CorruptError)
    assert issubclass(error(b"PK\3\4" + bytes(40)), nacrith.UnsupportedFormatError)


def test_limit_on_size(archive: bytes, model: LanguageModel) -> None:
    assert nacrith.decompress(archive, model=model, max_size=len(TEXT)) == TEXT
    with pytest.raises(nacrith.NacrithError, match=str(len(TEXT) - 1)):
        nacrith.decompress(archive, model=model, max_size=len(TEXT) - 1)


def test_concatenated_streams(archive: bytes, model: LanguageModel) -> None:
    assert nacrith.decompress(archive * 3, model=model) == TEXT * 3
    with nacrith.open(io.BytesIO(archive * 3), model=model) as file:
        assert file.read() == TEXT * 3


def test_model_that_is_missing_or_another(archive: bytes, model: LanguageModel) -> None:
    with pytest.raises(nacrith.ModelMissingError):
        nacrith.compress(TEXT, model="no-such-model")

    class Other:
        """The tiny model under another fingerprint."""

        fingerprint = bytes(32)

        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

    other: Any = Other()
    with pytest.raises(nacrith.ModelMismatchError):
        nacrith.decompress(archive, model=other)


def test_info_needs_no_model(archive: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.nac"
    path.write_bytes(archive)
    (stream,) = nacrith.info(path)
    assert isinstance(stream, nacrith.StreamInfo)
    assert stream.content_size == len(TEXT)
    assert nacrith.info(str(path)) == nacrith.info(archive) == nacrith.info(io.BytesIO(archive))
    assert len(nacrith.info(archive + archive)) == 2
    with pytest.raises(nacrith.TruncatedError):
        nacrith.info(archive[:-1])


def test_file_round_trip(tmp_path: Path, archive: bytes, model: LanguageModel) -> None:
    path = tmp_path / "x.nac"
    with nacrith.open(path, "xb", model=model) as file:
        assert file.writable()
        assert not file.readable()
        assert not file.seekable()
        assert file.mode == "xb"
        assert file.name == str(path)
        assert file.write(TEXT[:100]) == 100
        assert file.write(memoryview(TEXT)[100:]) == len(TEXT) - 100
        assert file.tell() == len(TEXT)
        with pytest.raises(io.UnsupportedOperation):
            file.read()
    assert path.read_bytes() == archive
    with pytest.raises(FileExistsError):
        nacrith.open(path, "xb", model=model)
    with nacrith.open(path, model=model) as file:
        assert file.readable()
        assert list(file) == TEXT.splitlines(keepends=True)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"")
    file.close()
    for use in (file.read, file.tell, file.readable, file.fileno, file.peek):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_file_reads_like_bytesio(model: LanguageModel) -> None:
    """A random walk of reads and seeks, against `io.BytesIO`."""
    parts = [NOISE, b"x" * 1000, TEXT, b"", NOISE[:7]]
    packed = b"".join(nacrith.compress(part, model=model) for part in parts)
    plain = io.BytesIO(b"".join(parts))
    chance = random.Random(7)
    size = len(plain.getvalue())
    with nacrith.open(io.BytesIO(packed), model=model) as file:
        assert file.seekable()
        for _ in range(40):
            step = chance.randrange(6)
            n = chance.choice([0, 1, 17, 900, 10**6])
            if step == 0:
                at = chance.randrange(size + 100)
                assert file.seek(at) == plain.seek(at)
            elif step == 1:
                assert file.seek(-min(n, size), io.SEEK_END) == plain.seek(-min(n, size), 2)
            elif step == 2:
                assert file.read(n) == plain.read(n)
            elif step == 3:
                assert file.readline() == plain.readline()
            elif step == 4:
                ahead = file.peek(5)
                assert plain.getvalue()[plain.tell() :].startswith(ahead)
                assert ahead or plain.tell() >= size
                taken = file.read1(n)
                assert taken == plain.read(len(taken))
            else:
                ours, theirs = bytearray(n % 5000), bytearray(n % 5000)
                assert file.readinto(ours) == plain.readinto(theirs)
                assert ours == theirs
            assert file.tell() == plain.tell()
        for bad in ((-1, 0), (-size - 1, 2), (0, 9)):
            with pytest.raises(ValueError, match=r"position|whence"):
                file.seek(*bad)


def test_file_over_a_pipe_cannot_seek(archive: bytes, model: LanguageModel) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *arguments: int) -> int:
            raise io.UnsupportedOperation("seek")

    raw = Pipe(archive)
    with nacrith.open(raw, model=model) as file:
        assert not file.seekable()
        assert file.read(10) == TEXT[:10]
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0)
        assert file.read() == TEXT[10:]
    assert not raw.closed  # it is the caller's


def test_text_mode(tmp_path: Path, model: LanguageModel) -> None:
    path = tmp_path / "x.nac"
    with nacrith.open(path, "wt", model=model, encoding="latin-1", newline="\r\n") as file:
        file.write("Grüße\nund Küsse\n")
    with nacrith.open(path, "rb", model=model) as binary:
        assert binary.read().decode("latin-1") == "Grüße\r\nund Küsse\r\n"
    with nacrith.open(path, "rt", model=model, encoding="latin-1") as file:
        assert file.readlines() == ["Grüße\n", "und Küsse\n"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf_32", "utf-16-le"])
def test_text_of_every_encoding_comes_back(encoding: str, model: LanguageModel) -> None:
    out = io.BytesIO()
    with nacrith.open(out, "wt", model=model, encoding=encoding) as file:
        file.write("Grüße")
    assert nacrith.decompress(out.getvalue(), model=model) == "Grüße".encode(encoding)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("ab", {}),
        ("rw", {}),
        ("", {}),
        ("rbt", {}),
        ("rb", {"encoding": "utf-8"}),
        ("rb", {"level": 3}),
    ],
)
def test_bad_mode(mode: str, options: dict[str, Any], archive: bytes) -> None:
    with pytest.raises(ValueError, match=r"mode|text|level"):
        nacrith.open(io.BytesIO(archive), mode, **options)


def test_file_of_the_wrong_type() -> None:
    nothing: Any = 5
    with pytest.raises(TypeError):
        nacrith.open(nothing)


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=5))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_compressor_does_not_mind_the_cuts(cuts: list[int], archive: bytes, model: LanguageModel) -> None:
    edges = [0, *sorted(cuts), len(TEXT)]
    compressor = nacrith.Compressor(model=model)
    made = b"".join(compressor.compress(TEXT[a:b]) for a, b in itertools.pairwise(edges))
    assert made + compressor.flush() == archive


def test_compressor_is_flushed_once(model: LanguageModel) -> None:
    compressor = nacrith.Compressor(model=model)
    compressor.flush()
    for again in (compressor.flush, lambda: compressor.compress(b"x")):
        with pytest.raises(ValueError, match="flushed"):
            again()


@pytest.mark.parametrize("step", [1, 7, 10**6])
@pytest.mark.parametrize("limit", [-1, 100])
def test_decompressor(step: int, limit: int, archive: bytes, model: LanguageModel) -> None:
    decompressor = nacrith.Decompressor(model=model)
    got, at = b"", 0
    data = archive + b"what follows"
    while not decompressor.eof:
        assert decompressor.unused_data == b""
        chunk = b""
        if decompressor.needs_input:
            chunk, at = data[at : at + step], at + step
            assert chunk
        part = decompressor.decompress(chunk, limit)
        assert limit < 0 or len(part) <= limit
        got += part
    assert got == TEXT
    assert not decompressor.needs_input
    assert decompressor.unused_data == data[len(archive) : at]
    with pytest.raises(EOFError):
        decompressor.decompress(b"more")


def test_decompressor_stream_after_stream(archive: bytes, model: LanguageModel) -> None:
    """As callers do it that read a body of several members."""
    data, got = archive + archive, b""
    while data:
        decompressor = nacrith.Decompressor(model=model)
        got += decompressor.decompress(data)
        assert decompressor.eof
        data = decompressor.unused_data
    assert got == TEXT + TEXT


def test_decompressor_raises_and_stays_raised(archive: bytes, model: LanguageModel) -> None:
    bad = bytearray(archive)
    bad[len(bad) // 2] ^= 1
    decompressor = nacrith.Decompressor(model=model)
    with pytest.raises(nacrith.NacrithError):
        decompressor.decompress(bytes(bad))
    with pytest.raises(nacrith.NacrithError):
        decompressor.decompress(b"")
    with pytest.raises(nacrith.UnsupportedFormatError):
        nacrith.Decompressor(model=model).decompress(b"PK\3\4")


def test_last_model_is_kept(monkeypatch: pytest.MonkeyPatch, archive: bytes) -> None:
    import nacrith.models

    calls: list[object] = []
    load = nacrith.models.load_model

    def counted(*arguments: Any, **options: Any) -> LanguageModel:
        calls.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(nacrith.models, "load_model", counted)
    name = str(MODEL)
    for _ in range(2):
        assert nacrith.compress(TEXT, model=name) == archive
        assert nacrith.decompress(archive, model=name) == TEXT
        assert nacrith.decompress(archive) == TEXT  # the one held has the fingerprint
    assert len(calls) == 1
    nacrith.compress(TEXT, model=name, threads=1)
    assert len(calls) == 2
    loaded.forget()
    nacrith.decompress(archive, model=name)
    assert len(calls) == 3


def test_names() -> None:
    for name in nacrith.__all__:
        assert getattr(nacrith, name) is not None
        assert name in dir(nacrith)
    with pytest.raises(AttributeError):
        nacrith.nothing  # noqa: B018
    assert issubclass(nacrith.TruncatedError, EOFError)
    assert (ROOT / "nacrith" / "py.typed").exists()


def test_lazy_names_are_the_same_when_imported_in_a_fresh_process() -> None:
    script = "from nacrith import *; import nacrith; assert open is nacrith.open; print(info)"
    subprocess.run([sys.executable, "-c", script], check=True, env=environment())
