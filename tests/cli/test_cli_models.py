"""`nacrith models`, as a user runs it, against a fake hub."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clirunner import (
    COMMAND,
    PATIENCE,
    RECIPIENT,
    ROOT,
    Result,
    environment,
    hearing,
    nacrith,
    on_terminal,
    wait_until,
)
from fake_hub import COMMIT, REPO, TINY_FILES, FakeHub
from paths import TINY_HF
from small_models import TINY, tiny

from nacrith.models import store
from nacrith.models.exact import modelfile

# Long enough that the model's entry in the long form pays.
PROSE = (ROOT / "README.md").read_bytes()[10:900]
HEAVY = {"numpy", "torch", "tokenizers", "gguf", "huggingface_hub"}


class Here:
    """A model cache, and a hub to fill it from."""

    def __init__(self, directory: Path, hub: FakeHub) -> None:
        self.cache = directory
        self.hub = hub

    def env(self) -> dict[str, str]:
        return {
            "NACRITH_MODEL_DIR": str(self.cache),
            "HF_ENDPOINT": self.hub.address(),
            "HF_TOKEN": "",
            "HF_HUB_OFFLINE": "",
            "no_proxy": "*",
        }

    def models(self, *arguments: str | Path, **env: str) -> Result:
        return nacrith("models", *arguments, **{**self.env(), **env})

    def listed(self) -> list[dict[str, object]]:
        """What the cache has, of `list --json`."""
        rows = [json.loads(line) for line in self.models("list", "--json").out.splitlines()]
        return [row for row in rows if row["kind"] not in ("embedded", "known")]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    fake = FakeHub()
    yield Here(tmp_path / "cache", fake)
    fake.close()


@pytest.mark.parametrize("words", [[], ["list"], ["pull"], ["convert"], ["verify"], ["rm"], ["path"]])
def test_help_is_light(words: list[str]) -> None:
    script = (
        "import sys\nfrom nacrith.cli import main\n"
        f"sys.argv = ['nacrith', 'models', *{words}, '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print('LOADED', *{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([*COMMAND[:1], "-c", script], capture_output=True, text=True, env=environment())
    assert done.stdout.startswith("Usage: nacrith models")
    assert not HEAVY & set(done.stdout.rpartition("LOADED")[2].split())


def test_pull_use_and_remove(here: Here, tmp_path: Path) -> None:
    """A model's whole life, and that of an archive made with it."""
    done = here.models("pull", REPO)
    assert done.code == 0
    path = Path(here.models("path", REPO).out.decode().strip())
    assert str(path) in done.out.decode()
    assert path.parent == here.cache
    again = here.models("pull", f"{REPO}@{COMMIT}")
    assert (again.code, b"here already" in again.out) == (0, True)

    text, archive = tmp_path / "x", tmp_path / "x.nac"
    text.write_bytes(PROSE)
    command = f"nacrith models pull {REPO}"
    done = nacrith("-N", "-m", REPO, text, **here.env())  # -N: the long form, with all names
    assert done.code == 0
    assert done.note == f"{RECIPIENT}the model {REPO}: run {command}\n"
    assert nacrith("-dc", archive, **here.env()).out == PROSE
    assert REPO.encode() in nacrith("info", "-v", archive).out

    assert here.models("verify", REPO).out.decode().startswith(path.stem)
    (row,) = here.listed()
    assert (row["kind"], row["name"], row["source"]) == ("model", "tiny-llama", f"{REPO}@{COMMIT}")
    assert row["last_used"] is not None
    assert here.models("rm", REPO).said("use -f")
    assert path.exists()
    assert here.models("rm", "-f", REPO) == Result(0, b"", "")
    assert here.listed() == []

    count = len(here.hub.log)
    done = nacrith("-dc", archive, **here.env())
    assert done.code == 3
    assert done.out == b""
    assert done.said(command)
    assert len(here.hub.log) == count  # and nothing was asked of the hub


def test_list(here: Here) -> None:
    done = here.models()
    assert done == here.models("list")
    assert b"not here; run: nacrith models pull smollm2-135m-base" in done.out
    assert not here.cache.exists()
    here.cache.mkdir()
    shutil.copy(TINY, here.cache / "tiny.nacm")
    (here.cache / "bad.nacm").write_bytes(b"")
    lines = here.models("list", "-v").out.decode().splitlines()
    assert lines[0].split() == ["name", "fingerprint", "size", "used", "source"]
    assert lines[1].startswith(store.DEFAULT_MODEL)
    assert lines[1].endswith("part of nacrith")
    assert lines[3].startswith("bad ")
    assert "model file" in lines[3]
    assert lines[5].split()[:4] == ["tiny", tiny().fingerprint.hex()[:16], f"{TINY.stat().st_size:,}", "-"]
    assert str(here.cache / "tiny.nacm") in lines[6]


def test_the_embedded_model(here: Here) -> None:
    assert here.models("verify").out.startswith(f"{store.DEFAULT_MODEL}: ok, ".encode())
    path = Path(here.models("path", store.DEFAULT_MODEL).out.decode().strip())
    assert path.is_dir()
    done = here.models("rm", "-f", store.DEFAULT_MODEL)
    assert done.code == 1
    assert done.said("part of nacrith")
    assert path.is_dir()
    text = here.cache.with_name("text")
    text.write_bytes(PROSE)
    done = nacrith("-k", "-m", store.DEFAULT_MODEL, text, **here.env())
    assert (done.code, done.err, done.note) == (0, "", "")  # nothing was pulled or converted
    assert nacrith("-dc", f"{text}.nac", **here.env()).out == PROSE
    assert not here.cache.exists()


def test_convert(here: Here) -> None:
    first = here.models("convert", "--name", "mine", TINY_HF)
    assert first.code == 0
    assert "converting" in first.err
    again = here.models("convert", "--name", "mine", TINY_HF)
    assert (again.code, again.out, again.err) == (0, first.out, "")
    assert "converting" in here.models("convert", "-f", "--name", "mine", TINY_HF).err
    done = here.models("convert", here.cache / "none.gguf", TINY_HF)
    assert done.code == 1
    assert done.said("none.gguf", "no such file")
    assert b"mine-" in done.out  # converted already, and no other name asked for


def test_a_kept_source(here: Here) -> None:
    assert here.models("pull", "--no-convert", REPO).code == 0
    folder = Path(here.models("path", REPO).out.decode().strip())
    assert (folder / "model.safetensors").read_bytes() == TINY_FILES["model.safetensors"]
    assert b"ok, " in here.models("verify", REPO).out
    (folder / "model.safetensors").write_bytes(b"x" * len(TINY_FILES["model.safetensors"]))
    done = here.models("verify")
    assert done.code == 1
    assert done.said("model.safetensors", f"nacrith models rm {REPO}@{COMMIT}")
    assert here.models("rm", "-f", f"{REPO}@{COMMIT}").code == 0
    assert here.listed() == []
    assert not (here.cache / "sources").exists()


def test_an_incomplete_download(here: Here) -> None:
    """A signal in the middle leaves what can be resumed, and nothing under its final name."""
    held = threading.Event()
    real = here.hub._content

    def content(request, body):  # type: ignore[no-untyped-def]
        here.hub.cuts = [1000]
        real(request, body)
        request.wfile.flush()
        held.wait(PATIENCE)

    here.hub._content = content  # type: ignore[method-assign]
    with hearing(signal.SIGINT):
        process = subprocess.Popen(
            [*COMMAND, "models", "pull", REPO], env=environment(**here.env()), stderr=subprocess.PIPE
        )
    partials = here.cache / "sources"
    wait_until(lambda: any(r.server == "content" for r in here.hub.log))
    wait_until(lambda: any(partials.rglob("model.safetensors.partial")))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == -signal.SIGINT
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    held.set()
    names = sorted(p.name for p in partials.rglob("*") if p.is_file())
    assert names == ["config.json", "model.safetensors.partial", "nacrith.json", "tokenizer.json"]
    (row,) = here.listed()
    assert row["kind"] == "partial"
    assert here.models("path", REPO).code == 3
    assert here.models("verify").said("not downloaded yet", f"nacrith models pull {REPO}@{COMMIT}")
    here.hub._content = real  # type: ignore[method-assign]
    here.hub.cuts = []
    assert here.models("pull", REPO).code == 0
    assert [row["kind"] for row in here.listed()] == ["model"]


def test_progress(here: Here) -> None:
    code, text = on_terminal(["models", "pull", REPO], "err", **here.env())
    assert code == 0
    assert "tiny-llama    0 %" in text


def test_asking_before_removal(here: Here) -> None:
    here.cache.mkdir()
    path = here.cache / "tiny.nacm"
    shutil.copy(TINY, path)
    for answer, code in (("n", 2), ("", 2), ("y", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [*COMMAND, "models", "rm", "tiny"],
            stdin=theirs,
            capture_output=True,
            env=environment(**here.env()),
        )
        os.close(ours)
        os.close(theirs)
        assert done.returncode == code
        assert b"remove tiny (" in done.stderr
        assert path.exists() == (code == 2)


def test_removal_of_what_could_be_several(here: Here) -> None:
    here.models("convert", "--name", "x", TINY_HF)
    shutil.copy(TINY, here.cache / f"x-{tiny().fingerprint.hex()[:16]}.nacm")
    done = here.models("rm", "-f", "x")
    assert done.code == 1
    assert done.said("matches several models: x-", tiny().fingerprint.hex()[:16])
    assert len(here.listed()) == 2
    assert here.models("rm", "-f", tiny().fingerprint.hex()[:8]).code == 0
    assert here.models("rm", "-f", "x").code == 0


def test_a_model_in_parts_is_removed_with_its_directory(here: Here) -> None:
    here.cache.mkdir(exist_ok=True)
    modelfile.split(TINY, here.cache / "y.nacm")
    assert here.models("rm", "-f", "y") == Result(0, b"", "")
    assert not (here.cache / "y.nacm").exists()
    modelfile.split(TINY, here.cache / "y.nacm")
    (here.cache / "y.nacm" / "notes").write_text("not ours")
    assert here.models("rm", "-f", "y").said("y.nacm: cannot remove it")
    assert {p.name for p in (here.cache / "y.nacm").iterdir()} == {"notes", "part00"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["pull"], 1, ["MODEL"]),
        (["pull", "--name", "x", "a/b", "c/d"], 1, ["--name"]),
        (["pull", "what"], 1, ["what", "OWNER/NAME"]),
        (["pull", "no/such"], 1, ["no/such", "404"]),
        (["pull", "--max-size", "1K", REPO], 1, ["--max-size"]),
        (["path", "what"], 3, ["nacrith models list"]),
        (["path", "smollm2-135m-base"], 3, ["nacrith models pull smollm2-135m-base"]),
        (["rm", "-f", "no/such"], 3, ["nacrith models pull no/such"]),
        (["verify", "what"], 3, ["what"]),
        (["nonsense"], 1, ["nonsense"]),
    ],
    ids=lambda a: " ".join(a) if isinstance(a, list) else str(a),
)
def test_errors(here: Here, arguments: list[str], code: int, words: list[str]) -> None:
    done = here.models(*arguments)
    assert done.code == code
    assert done.said(*words)
    assert here.listed() == []


def test_offline(here: Here) -> None:
    done = here.models("pull", REPO, NACRITH_OFFLINE="1")
    assert done.code == 3
    assert done.said("NACRITH_OFFLINE")
    assert here.hub.log == []


def test_several_models_one_bad(here: Here) -> None:
    done = here.models("pull", "no/such", REPO)
    assert done.code == 1
    assert [row["name"] for row in here.listed()] == ["tiny-llama"]
