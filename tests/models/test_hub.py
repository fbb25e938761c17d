"""Pulling from a fake hub: what comes, from where, with which token, and what every fault ends in."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import gguf
import pytest
from fake_hub import COMMIT, REPO, TINY_FILES, FakeHub, left
from paths import TINY_HF
from small_models import tiny
from tiny_source import write_gguf

from nacrith.errors import ModelError, ModelMissingError
from nacrith.models import store
from nacrith.models.exact import modelfile
from nacrith.models.hub import client as hub
from nacrith.models.hub.pull import pull
from nacrith.models.store import reference
from nacrith.models.store.reference import Reference

WEIGHTS = TINY_FILES["model.safetensors"]
LENGTH = len(WEIGHTS)


def info(path: Path) -> dict[str, str]:
    return modelfile.read(path).info


# --- what comes of it ---


def test_a_pulled_model_is_the_converted_directory(fake: FakeHub, cache: Path) -> None:
    path, new = pull(REPO)
    assert new
    assert path.parent == cache
    want = store.convert(TINY_HF, "want")
    assert modelfile.fingerprint(path) == modelfile.fingerprint(want)
    assert path.name == f"tiny-llama-{modelfile.fingerprint(path).hex()[:16]}.nacm"
    assert info(path) == {"name": REPO, "source": f"{REPO}@{COMMIT}", "licence": "apache-2.0"}
    assert left(cache) == []
    for name in (REPO, f"{REPO}@{COMMIT}", f"{REPO}@{COMMIT[:8]}", "tiny-llama", path.stem):
        assert store.find(name) == path
    assert fake.sent == LENGTH


def test_what_is_here_is_not_fetched_again(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = pull(REPO)
    fake.log.clear()
    assert pull(REPO) == (path, False)
    assert [r.method for r in fake.log] == ["GET"]  # is main still this commit?
    fake.log.clear()
    assert pull(f"{REPO}@{COMMIT}") == (path, False)
    assert fake.log == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull(REPO) == (path, False)
    assert fake.log == []


def test_a_new_commit_is_another_model(fake: FakeHub) -> None:
    path, _ = pull(REPO)
    fake.commits["main"] = other = "f" * 40
    with pytest.raises(ModelError, match="404"):  # the fake has content for one commit only
        pull(REPO)
    assert fake.requests("HEAD", other)
    assert store.find(REPO) == path


def test_names_of_ones_own(fake: FakeHub) -> None:
    path, _ = pull(REPO, name="My Model")
    assert store.find("my-model") == path
    assert info(path)["name"] == REPO
    assert pull(REPO) == (path, False)
    again, new = pull(REPO, name="second")
    assert new
    assert again.name.startswith("second-")


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "v1.0"])
def test_revisions_become_commits(fake: FakeHub, revision: str) -> None:
    fake.commits[revision] = COMMIT
    path, _ = pull(f"{REPO}@{revision}")
    assert info(path)["source"] == f"{REPO}@{COMMIT}"
    assert fake.log[0].path.endswith(f"/revision/{revision}")


def test_shards(fake: FakeHub) -> None:
    index = TINY_FILES["config.json"].replace(
        b"{", b'{"weight_map": {"x": "model-00001-of-00001.safetensors"},', 1
    )
    del fake.files["model.safetensors"]
    fake.files["model-00001-of-00001.safetensors"] = WEIGHTS
    fake.files["model.safetensors.index.json"] = index
    fake.files["consolidated.safetensors"] = b"the same once more"
    path, _ = pull(REPO)
    assert modelfile.fingerprint(path) == modelfile.fingerprint(store.convert(TINY_HF))
    assert not fake.requests("HEAD", "consolidated")


@pytest.fixture
def gguf_bytes(tmp_path: Path) -> bytes:
    write_gguf(tmp_path / "t.gguf", gguf.GGMLQuantizationType.F32)
    return (tmp_path / "t.gguf").read_bytes()


def test_gguf_files(fake: FakeHub, cache: Path, gguf_bytes: bytes) -> None:
    fake.files = {"README.md": b"x", "q/tiny-f32.gguf": gguf_bytes}
    path, _ = pull(REPO)
    assert info(path)["source"] == f"{REPO}@{COMMIT}:q/tiny-f32.gguf"
    assert info(path)["name"] == f"{REPO}:q/tiny-f32.gguf"
    assert path.name.startswith("tiny-f32-")
    assert modelfile.read(path).config == tiny().config
    fake.files["q/tiny-q4.gguf"] = b""
    with pytest.raises(ModelError, match=r"2 GGUF files.*q/tiny-f32\.gguf, q/tiny-q4\.gguf"):
        pull(REPO)
    assert pull(f"{REPO}:q/tiny-f32.gguf") == (path, False)
    with pytest.raises(ModelError, match=r"no file none\.gguf; it has q/"):
        pull(f"{REPO}:none.gguf")
    assert left(cache) == []


def test_a_source_can_be_kept(fake: FakeHub, cache: Path) -> None:
    folder, new = pull(REPO, keep_source=True)
    assert new
    assert left(cache) == ["config.json", "model.safetensors", "nacrith.json", "tokenizer.json"]
    assert pull(REPO, keep_source=True) == (folder, False)
    sent = fake.sent
    path = store.find(REPO)  # converts what is here
    assert info(path)["source"] == f"{REPO}@{COMMIT}"
    assert pull(REPO) == (path, False)
    path.unlink()
    pull(REPO)
    assert fake.sent == sent
    assert folder.is_dir()


def test_an_unsupported_model_costs_no_weights(fake: FakeHub, cache: Path) -> None:
    fake.files["config.json"] = TINY_FILES["config.json"].replace(b"LlamaForCausalLM", b"GPT2LMHeadModel")
    with pytest.raises(ModelError, match=r"GPT2LMHeadModel.*--no-convert"):
        pull(REPO)
    assert fake.sent == 0
    assert left(cache) == []
    pull(REPO, keep_source=True)
    with pytest.raises(ModelError, match="GPT2LMHeadModel"):
        pull(REPO)
    assert "model.safetensors" in left(cache)


# --- faults ---


def test_a_wrong_hash_leaves_nothing(fake: FakeHub, cache: Path) -> None:
    fake.corrupt = True
    with pytest.raises(ModelError, match=r"model\.safetensors.*hash"):
        pull(REPO)
    assert left(cache) == ["config.json", "nacrith.json", "tokenizer.json"]
    fake.corrupt = False
    pull(REPO)


def test_small_files_are_checked_too(fake: FakeHub, cache: Path) -> None:
    fake.headers = {"ETag": f'"{"0" * 40}"'}
    with pytest.raises(ModelError, match=r"config\.json.*hash"):
        pull(REPO)
    assert left(cache) == ["nacrith.json"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"X-Linked-Etag": '"1234"', "ETag": None}, "no hash"),
        ({"X-Linked-Etag": None, "ETag": None}, "no hash"),
        ({"X-Linked-Size": None, "Content-Length": None}, "size None"),
        ({"X-Linked-Size": "-5"}, "size '-5'"),
        ({"X-Linked-Size": "9" * 30}, "size '9999"),
        ({"X-Repo-Commit": "f" * 40}, "another commit"),
    ],
)
def test_odd_answers_about_a_file(
    fake: FakeHub, cache: Path, headers: dict[str, str | None], message: str
) -> None:
    fake.headers = headers
    with pytest.raises(ModelError, match=message):
        pull(REPO)
    assert left(cache) == []


@pytest.mark.parametrize(
    "listing",
    [b"<html>", b"[]", b"{}", b'{"sha": "main", "siblings": []}', b'{"sha": 5, "siblings": 5}', b"[" * 9999],
)
def test_odd_listings(fake: FakeHub, listing: bytes) -> None:
    fake.listing = listing
    with pytest.raises(ModelError, match="HF_ENDPOINT"):
        pull(REPO)


def test_a_huge_listing_is_not_read(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_ANSWER_MAX", 100)
    with pytest.raises(ModelError, match="more than 100 bytes"):
        pull(REPO)


def test_a_commit_must_stay_what_it_is(fake: FakeHub) -> None:
    fake.commits[COMMIT] = "f" * 40
    with pytest.raises(ModelError, match="for revision"):
        pull(f"{REPO}@{COMMIT}")


@pytest.mark.parametrize("files", [{}, {"README.md": b""}, {"model.safetensors": b""}, {"../x.gguf": b""}])
def test_repositories_without_a_model(fake: FakeHub, cache: Path, files: dict[str, bytes]) -> None:
    fake.files = files
    with pytest.raises(ModelError, match="nor a GGUF"):
        pull(REPO)
    assert left(cache) == []


def test_sizes_are_bounded(fake: FakeHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"more than the 1,000 .*--max-size"):
        pull(REPO, max_size=1000)
    fake.headers = {"X-Linked-Size": str(1 << 50)}
    with pytest.raises(ModelError, match="more than the"):
        pull(REPO)
    assert left(cache) == []
    with pytest.raises(ModelError, match="bytes free"):
        pull(REPO, max_size=1 << 60)
    assert fake.sent == 0


def test_more_than_stated_is_not_taken(fake: FakeHub) -> None:
    fake.headers = {"X-Linked-Size": "1000"}
    with pytest.raises(ModelError, match="hash"):
        pull(REPO)


@pytest.mark.parametrize(("status", "message"), [(401, "name"), (403, "terms"), (404, "404"), (400, "400")])
def test_refusals(fake: FakeHub, status: int, message: str) -> None:
    fake.statuses = [status]
    with pytest.raises(ModelError, match=message) as caught:
        pull(REPO)
    assert REPO in str(caught.value)
    assert len(fake.log) == 1


def test_unknown_revision_and_repository(fake: FakeHub) -> None:
    with pytest.raises(ModelError, match=f"{REPO}@v9.*404"):
        pull(f"{REPO}@v9")
    with pytest.raises(ModelError, match=r"no/one.*404"):
        pull("no/one")


def test_a_busy_hub_is_asked_again(fake: FakeHub) -> None:
    fake.statuses = [503, 429, 500]
    pull(REPO)
    fake.statuses = [429] * hub.ATTEMPTS
    with pytest.raises(ModelError, match=r"429.*wait"):
        pull(f"{REPO}@main", name="other")
    assert fake.statuses == []


def test_nobody_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"cannot reach http://127\.0\.0\.1.*refused"):
            pull(REPO)


@pytest.mark.parametrize("endpoint", ["file:///etc", "ftp://x", "huggingface.co", "http://"])
def test_odd_endpoints(cache: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ModelError, match="HF_ENDPOINT"):
        pull(REPO)


@pytest.mark.parametrize("name", ["NACRITH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(fake: FakeHub, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ModelMissingError, match=name):
        pull(REPO)
    assert fake.log == []


# --- references ---


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a/b", Reference("a/b")),
        ("a/b.c-d_e@v1.0", Reference("a/b.c-d_e", "v1.0")),
        ("a/b@refs/pr/1:sub/x.gguf", Reference("a/b", "refs/pr/1", "sub/x.gguf")),
        ("a/b:x.Q4_K_M.gguf", Reference("a/b", None, "x.Q4_K_M.gguf")),
    ],
)
def test_references(text: str, want: Reference) -> None:
    assert Reference.parse(text) == want
    assert str(want) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "/a", "a/", "a/b/c", "../b", "a/..", "./b", "a/b@", "a/b:", "a/b:x.bin", "a/b;rm", "a/b c",
     "a/b\n", "-a/b", "a/b@-x", "a/b:/etc/x.gguf", "a/b:../x.gguf", "ä/b", "a/b$(x)"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    assert Reference.parse(text) is None


def test_git_hashes() -> None:
    path = TINY_HF / "config.json"
    content = path.read_bytes()
    want = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    assert reference.hash_of(path, "0" * 40, len(content)) == want
