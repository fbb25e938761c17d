"""Downloads that are interrupted and resumed, and what the token and redirects may do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from fake_hub import COMMIT, REPO, TINY_FILES, FakeHub, left
from paths import TINY_HF

from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import store
from nacrith.models.exact import modelfile
from nacrith.models.hub import client as hub
from nacrith.models.hub.pull import pull
from nacrith.models.store import downloads

WEIGHTS = TINY_FILES["model.safetensors"]
LENGTH = len(WEIGHTS)


# --- interruptions ---


def test_a_cut_connection_is_taken_up_again(fake: FakeHub) -> None:
    fake.cuts = [1000, 0, 0, 5000, 0]
    counts: list[int] = []
    path, _ = pull(REPO, watch=lambda name, size: _Counter(counts, size))
    assert modelfile.fingerprint(path) == modelfile.fingerprint(store.convert(TINY_HF))
    ranges = [r.range for r in fake.log if r.server == "content"]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=1000-", "bytes=6000-", "bytes=6000-"]
    assert fake.sent == LENGTH
    assert sum(counts) == sum(map(len, TINY_FILES.values()))


class _Counter:
    """Stands for a progress bar."""

    def __init__(self, counts: list[int], size: int) -> None:
        assert size == sum(map(len, TINY_FILES.values()))
        self.counts = counts

    def __enter__(self):  # type: ignore[no-untyped-def]
        return self.counts.append

    def __exit__(self, *error: object) -> None:
        pass


def test_an_interrupted_download_leaves_a_partial_file_that_is_resumed(fake: FakeHub, cache: Path) -> None:
    fake.cuts = [1000] + [0] * hub.ATTEMPTS
    with pytest.raises(ModelError, match=rf"model\.safetensors: stopped at 1,000 of {LENGTH:,} bytes.*again"):
        pull(REPO)
    assert left(cache) == ["config.json", "model.safetensors.partial", "nacrith.json", "tokenizer.json"]
    (download,) = downloads.kept(cache)
    assert not download.complete
    assert download.missing() == LENGTH - 1000
    with pytest.raises(ModelMissingError, match=f"nacrith models pull {REPO}"):
        store.find(REPO)
    fake.cuts.clear()
    fake.sent = 0
    path, _ = pull(REPO)
    assert fake.sent == LENGTH - 1000
    assert len(fake.requests("GET", "config.json")) == 2  # a small file's redirect, once
    assert left(cache) == []
    assert path.exists()


def test_a_server_without_ranges(fake: FakeHub, cache: Path) -> None:
    fake.ranges = False
    fake.partly("model.safetensors", WEIGHTS[:777], cache)
    counts: list[int] = []
    pull(REPO, watch=lambda name, size: _Counter(counts, size))
    assert fake.sent == LENGTH
    assert sum(counts) == sum(map(len, TINY_FILES.values()))


def test_a_server_without_ranges_that_always_breaks_off_is_given_up(fake: FakeHub) -> None:
    fake.ranges = False
    fake.cuts = [1000] * 100
    with pytest.raises(ModelError, match=r"stopped at 1,000"):
        pull(REPO)
    assert len(fake.cuts) == 100 - 1 - hub.ATTEMPTS


@pytest.mark.parametrize("start", [b"x" * 500, b"x" * LENGTH, WEIGHTS + b"x", WEIGHTS])
def test_whatever_the_partial_file_holds(fake: FakeHub, cache: Path, start: bytes) -> None:
    """Rubbish shows in the hash, too much is thrown away, and a whole file is not fetched again."""
    fake.partly("model.safetensors", start, cache)
    if start.startswith(b"x"):
        with pytest.raises(ModelError, match="hash"):
            pull(REPO)
        assert not any(name.endswith(".partial") for name in left(cache))
    path, _ = pull(REPO)
    assert modelfile.fingerprint(path) == modelfile.fingerprint(store.convert(TINY_HF))
    assert fake.sent == {500: 2 * LENGTH - 500, LENGTH + 1: LENGTH}.get(
        len(start), 0 if start == WEIGHTS else LENGTH
    )


def test_a_server_that_refuses_the_range(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partial = fake.partly("model.safetensors", WEIGHTS[:500], cache)
    pieces = [416, 206]
    real = fake._content

    def content(request, body):  # type: ignore[no-untyped-def]
        if not pieces:
            real(request, body)
        elif pieces.pop(0) == 416:
            fake._reply(request, 416)
        else:  # the wrong place
            fake._reply(request, 206, {"Content-Range": f"bytes 7-{LENGTH - 1}/{LENGTH}"}, body[7:])

    monkeypatch.setattr(fake, "_content", content)
    path, _ = pull(REPO)
    assert modelfile.fingerprint(path) == modelfile.fingerprint(store.convert(TINY_HF))
    assert not partial.exists()


def test_two_processes_do_not_write_one_file(fake: FakeHub, cache: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with open(fake.partly("config.json", b"", cache), "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process"):
            pull(REPO)
    pull(REPO)


# --- the token ---


def test_the_token_goes_to_the_hub_only(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_secret\n")
    pull(REPO)
    tokens = {server: {r.token for r in fake.log if r.server == server} for server in ("hub", "content")}
    assert tokens == {"hub": {"Bearer hf_secret"}, "content": {None}}
    assert fake.requests("GET", "/api/resolve-cache/")  # redirected within the hub, with the token


def test_a_redirect_back_does_not_give_the_token_again(
    fake: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever serves content could otherwise have the token used where it likes."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def content(request, body):  # type: ignore[no-untyped-def]
        fake._reply(request, 302, {"Location": f"{fake.address()}/back"})

    monkeypatch.setattr(fake, "_content", content)
    with pytest.raises(ModelError, match="404"):
        pull(REPO)
    assert {r.token for r in fake.requests("GET", "/back")} == {None}


@pytest.mark.parametrize("token", [None, "hf_wrong"])
def test_messages_about_the_token(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    fake.token = "hf_secret"
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(
        ModelError, match="401.*set HF_TOKEN" if token is None else "refuses the token"
    ) as caught:
        pull(REPO)
    assert "hf_" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "a\nb")
    with pytest.raises(ModelError, match="HF_TOKEN"):
        pull(REPO)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "//", "http://[", "/loop"])
def test_odd_redirects(fake: FakeHub, cache: Path, location: str) -> None:
    fake.files["loop"] = b""
    fake.location = f"/{REPO}/resolve/{COMMIT}/model.safetensors" if location == "/loop" else location
    with pytest.raises(ModelError, match=REPO) as caught:
        pull(REPO)
    assert "secret" not in str(caught.value)


def test_a_cache_that_cannot_lock_or_synchronise(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As network and cloud mounts answer."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    path, new = pull(REPO)
    assert new
    modelfile.read(path)
