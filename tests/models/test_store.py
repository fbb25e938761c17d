"""Where models are found: names, records of conversions, and what an archive's reader is told."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clirunner import PATIENCE
from paths import ROOT, TINY_HF
from small_models import TINY, tiny

from nacrith import atomic, codec
from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import store
from nacrith.models.exact import conversion as convert_module
from nacrith.models.exact import modelfile
from nacrith.models.store import library, records


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("NACRITH_MODEL", raising=False)
    monkeypatch.setenv("NACRITH_MODEL_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cached_entries() -> Iterator[library.Entry]:
    return (entry for entry in library.entries() if entry.kind != "embedded")


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The conversions that really happen."""
    done: list[Path] = []
    real = convert_module.convert

    def convert(source, path, **options):  # type: ignore[no-untyped-def]
        done.append(path)
        return real(source, path, **options)

    monkeypatch.setattr(convert_module, "convert", convert)
    return done


def settle(directory: Path) -> None:
    """Make files look as if they had been here for long; only then is what was seen of them recalled."""
    for path in directory.iterdir():
        os.utime(path, (1e9, 1e9))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    target = tmp_path / "My_Model"
    shutil.copytree(TINY_HF, target)
    settle(target)
    return target


def test_a_source_is_converted_once(cache: Path, source: Path, conversions: list[Path]) -> None:
    first = store.find(str(source))
    assert first.name == f"my-model-{modelfile.fingerprint(first).hex()[:16]}.nacm"
    assert store.find(str(source)) == first
    moved = source.rename(source.with_name("elsewhere"))
    assert store.find(str(moved)) == first
    assert len(conversions) == 1


def test_another_content_is_another_model(cache: Path, source: Path, conversions: list[Path]) -> None:
    """Same path, size and, as far as anyone can set them, times."""
    first = store.find(str(source))
    config = source / "config.json"
    config.write_bytes(config.read_bytes().replace(b'"rope_theta": 1', b'"rope_theta": 2'))
    settle(source)
    assert store.find(str(source)) != first
    assert len(conversions) == 2


@pytest.mark.parametrize("fault", ["gone", "another", "garbage", "version", "force"])
def test_a_record_that_does_not_fit_counts_as_none(
    cache: Path, source: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    first = store.convert(source)
    if fault == "gone":
        first.unlink()
    elif fault == "another":
        shutil.copy(TINY, first)
        assert tiny().fingerprint != modelfile.fingerprint(store.convert(source))
    elif fault == "garbage":
        for record in (cache / ".records").iterdir():
            record.write_text("[5")
    elif fault == "version":
        monkeypatch.setattr(records, "CONVERSION", 1 << 30)
    assert store.convert(source, again=fault == "force") == first
    assert len(conversions) == 2


def test_sources_are_read_once(cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "_SETTLED", -60.0)  # the copies were made just now
    want = records.digest(cache, source)
    monkeypatch.setattr(records.hashlib, "file_digest", None)
    assert records.digest(cache, source) == want


def test_a_file_written_just_now_is_read_again(cache: Path, source: Path) -> None:
    """Its times could stay the same when it is written once more."""
    records.digest(cache, source)
    assert not (cache / ".records").exists()


def test_names(cache: Path, source: Path) -> None:
    path = store.convert(source, "Some Name!")
    digits = modelfile.fingerprint(path).hex()
    for name in ("some-name", path.stem, digits, digits[:8]):
        assert store.find(name) == path
    for name in (digits[:7], "some", "some-name-", "0" * 8, "x" * 300, "a\0b"):
        with pytest.raises(ModelMissingError, match=r"no model is called .*smollm2-135m.*some-name"):
            store.find(name)
    assert len(store.slug("é" * 100 + "x" * 100)) <= store.NAME_MAX
    shutil.copy(TINY, cache / "by-hand.nacm")
    assert store.find("by-hand") == cache / "by-hand.nacm"


def test_the_package_brings_the_default_model(cache: Path) -> None:
    path = store.find(None)
    file = modelfile.read(path)
    assert (file.name, path.stem) == (store.DEFAULT_MODEL, store.DEFAULT_MODEL)
    card = (path.parent / "README.md").read_text()
    assert file.fingerprint.hex() in card
    assert store.find_by_fingerprint(file.fingerprint[:4], "") == path
    assert store.find(str(path)) == path
    assert modelfile.size(path) <= 40_000_000
    assert all(part.stat().st_size <= 16 << 20 for part in path.iterdir())
    with pytest.raises(ModelMissingError, match="exact engine alone"):
        store.find_source(store.DEFAULT_MODEL)
    assert not cache.exists()


def test_the_large_model_is_preferred_where_it_is(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = store.CARRIERS[store.LARGE_MODEL]
    monkeypatch.setitem(store.CARRIERS, store.LARGE_MODEL, dataclasses.replace(carrier, package="no_such"))
    assert store.preferred(large=True) == store.preferred(large=False) == store.DEFAULT_MODEL
    cache.mkdir()
    shutil.copy(TINY, cache / f"{store.LARGE_MODEL}-{carrier.fingerprint[:16]}.nacm")
    assert store.preferred(large=True) == store.LARGE_MODEL
    assert store.preferred(large=False) == store.DEFAULT_MODEL
    assert codec.default_model(9) == codec.default_model(1, "llama.cpp") == store.LARGE_MODEL
    assert codec.default_model(7) == store.DEFAULT_MODEL


def test_the_newest_of_a_name_is_meant(cache: Path, source: Path) -> None:
    old = store.convert(source, "x")
    new = cache / f"x-{tiny().fingerprint.hex()[:16]}.nacm"
    shutil.copy(TINY, new)
    os.utime(old, (1e9, 1e9))
    assert store.find("x") == new
    os.utime(new, (1e8, 1e8))
    assert store.find("x") == old


def test_a_known_name_is_not_for_anything_else(cache: Path, source: Path) -> None:
    for name in (*store.CARRIERS, *store.HUB_MODELS):
        store.convert(source, name)
        assert store.in_cache(name) == []
    with pytest.raises(ModelMissingError, match="run: nacrith models pull smollm2-135m-base"):
        store.find("smollm2-135m-base")


def test_long_file_names_still_make_archives(cache: Path, source: Path) -> None:
    path = store.convert(source.rename(source.with_name("m" * 200)))
    assert len(modelfile.read(path).name) == 64


@pytest.mark.parametrize(
    ("hint", "command"),
    [
        ("smollm2-135m-base", "run: nacrith models pull smollm2-135m-base; or"),
        ("owner/name", "run: nacrith models pull owner/name; or"),
        ("owner/name:a.gguf", "run: nacrith models pull owner/name:a.gguf; or"),
        ("x; rm -rf ~", ""),
        ("a/b$(reboot)", ""),
        ("", ""),
    ],
)
def test_a_reader_without_the_model_is_told_what_to_run(cache: Path, hint: str, command: str) -> None:
    with pytest.raises(ModelMissingError, match="give its file with -m") as caught:
        store.find_by_fingerprint(b"\x77" * 32, hint)
    assert caught.value.exit_code == 3
    assert command in str(caught.value)
    assert ("run: " in str(caught.value)) == bool(command)


@pytest.mark.parametrize(
    "name", ["none.gguf", "none.nacm", "./none", "/a/b/c", "models/none.gguf", "/" + "x" * 300]
)
def test_paths_to_nothing(cache: Path, name: str) -> None:
    with pytest.raises(ModelMissingError, match="no such"):
        store.find(name)


def test_what_is_no_model(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    for path in (tmp_path / "x.bin", tmp_path):
        with pytest.raises(ModelError, match=str(tmp_path)):
            store.convert(path)


def test_a_cache_that_is_only_read(cache: Path, source: Path) -> None:
    """Nothing to record, no error: as root the mode means nothing, hence a file in the way."""
    path = store.convert(source)
    shutil.rmtree(cache / ".records")
    (cache / ".records").write_text("")
    assert store.find(path.stem) == path
    assert store.convert(source, again=True) == path
    assert records.last_used(cache, path) is None


def test_last_use(cache: Path, source: Path) -> None:
    path = store.convert(source)
    assert next(cached_entries()).last_used is None
    store.find_by_fingerprint(modelfile.fingerprint(path)[:4], "")
    used = next(cached_entries()).last_used
    assert used is not None
    assert used >= path.stat().st_mtime - 1
    store.find(str(TINY))
    assert len(list((cache / ".records").glob("used-*"))) == 1


def test_removal_takes_the_records_along(cache: Path, source: Path, conversions: list[Path]) -> None:
    store.find(str(source))
    (entry,) = library.select("my-model")
    library.remove(entry)
    assert [p for p in cache.rglob("*") if p.is_file() and not p.name.startswith("seen-")] == []
    store.find(str(source))
    assert len(conversions) == 2


def test_verification(cache: Path, source: Path) -> None:
    path = store.convert(source)
    (entry,) = cached_entries()
    library.verify(entry)
    other = path.rename(cache / f"{entry.name}-{'0' * 16}.nacm")
    with pytest.raises(ModelError, match="not what its name says"):
        library.verify(library.select(entry.name)[0])
    known = other.rename(cache / f"smollm2-135m-{entry.fingerprint[:16]}.nacm")
    with pytest.raises(ModelError, match="another model than the smollm2-135m"):
        library.verify(next(cached_entries()))
    data = bytearray(known.read_bytes())
    data[-1] ^= 1
    known.unlink()
    path.write_bytes(data)
    with pytest.raises(ModelError, match="fingerprint"):
        library.verify(next(cached_entries()))
    path.unlink()
    path.write_bytes(data[:50])
    (entry,) = cached_entries()
    assert entry.kind == "damaged"
    with pytest.raises(ModelError, match=path.name):
        library.verify(entry)


def test_foreign_files_are_no_downloads(cache: Path) -> None:
    folder = cache / "sources" / "a--b" / "c"
    folder.mkdir(parents=True)
    for text in ("", "5", "{}", json.dumps({"source": "../x", "files": []}), json.dumps({"source": "a/b"})):
        (folder / "nacrith.json").write_text(text)
        assert list(cached_entries()) == []


# --- others at the same time, and before ---

CONVERT = """
import logging, sys
from pathlib import Path
from nacrith.models import store
from nacrith.models.exact import conversion as convert
real = convert.convert
def counted(*args, **options):
    print("converts", flush=True)
    return real(*args, **options)
convert.convert = counted
logging.basicConfig(level=logging.INFO)
if "noflock" in sys.argv:
    import fcntl
    def refuse(*args): raise OSError(95, "Operation not supported")
    fcntl.flock = refuse
if "samepid" in sys.argv:  # as in two containers
    import os
    os.getpid = lambda: 7
print(store.find(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["", "samepid", "noflock"])
def test_several_convert_the_same_at_once(cache: Path, source: Path, how: str) -> None:
    """With locks one does, and the others wait for it; without them all do, and the result is right."""
    command = [sys.executable, "-c", CONVERT, str(source), how]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) for _ in range(3)]
    said = [process.communicate(timeout=PATIENCE)[0].split() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len({lines[-1] for lines in said}) == 1
    path = Path(said[0][-1])
    assert path.parent == cache
    modelfile.read(path)
    if how != "noflock":
        assert sum("converts" in lines for lines in said) == 1
        assert [p for p in (cache / ".records").iterdir() if p.name.startswith("lock-")] == []
    assert [p for p in cache.iterdir() if p.is_file()] == [path]


def test_a_failed_conversion_leaves_nothing(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError):
        store.convert(source)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


def test_a_source_that_changes_while_it_is_converted(
    cache: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = convert_module.convert

    def convert(llama, path, **options):  # type: ignore[no-untyped-def]
        config = source / "config.json"
        config.write_bytes(config.read_bytes().replace(b'"rope_theta": 1', b'"rope_theta": 2'))
        return real(llama, path, **options)

    monkeypatch.setattr(convert_module, "convert", convert)
    with pytest.raises(ModelError, match="was changed while it was read"):
        store.convert(source)
    assert list(cache.glob("*.nacm")) == []


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_others_may_read_what_the_umask_lets_them(cache: Path, source: Path) -> None:
    before = os.umask(0o027)
    try:
        store.convert(source)
    finally:
        os.umask(before)
    files = [p for p in cache.rglob("*") if p.is_file()]
    assert len(files) > 1
    assert {p.stat().st_mode & 0o777 for p in files} == {0o640}


def test_what_a_killed_conversion_left_goes_with_the_next(cache: Path, source: Path) -> None:
    cache.mkdir()
    for name in ("another", "my-model"):
        (cache / f".{name}.nacm.0{atomic.SUFFIX}").write_bytes(bytes(1000))
    path = store.convert(source)
    assert [p for p in cache.iterdir() if p.is_file()] == [path]


def test_no_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a user that the system does not know: the model of the package works all the same."""
    for name in ("NACRITH_MODEL_DIR", "XDG_CACHE_HOME", "NACRITH_MODEL"):
        monkeypatch.delenv(name, raising=False)

    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nowhere)
    assert store.find(None) == store.EMBEDDED[store.DEFAULT_MODEL]
    assert [entry.kind for entry in library.entries()] == ["embedded"]
    assert list(library.known())
    with pytest.raises(ModelMissingError):
        store.find("none")
    with pytest.raises(ModelMissingError):
        store.find_by_fingerprint(b"\x77" * 32, "")
    with pytest.raises(ModelError, match="set NACRITH_MODEL_DIR"):
        store.convert(TINY_HF)
