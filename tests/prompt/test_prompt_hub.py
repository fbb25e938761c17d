"""Token-classification checkpoints by their name on the hub: fetched on request, and found again offline."""

from __future__ import annotations

from pathlib import Path

import pytest
from clirunner import nacrith
from fake_hub import COMMIT, REPO, FakeHub
from small_checkpoint import write_checkpoint

from nacrith.errors import ModelError, ModelMissingError
from nacrith.prompt.scorers import make

for package in ("torch", "transformers"):
    pytest.importorskip(package, reason="token classifiers need torch and transformers: '.[prompt]'")

TEXT = b"A banana and the bit, the cat and a dog with us."
COMMAND = ("prompt", "--scorer", "classifier", "--rate", "0.5")


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_fetched_unasked(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelMissingError, match="--download"):
        make("classifier", model=REPO)
    monkeypatch.setenv("NACRITH_OFFLINE", "1")
    with pytest.raises(ModelMissingError, match="NACRITH_OFFLINE forbids"):
        make("classifier", model=REPO, download=True)
    with pytest.raises(ModelError, match="no such directory"):
        make("classifier", model="no/such/folder", download=True)
    assert not fake.log


def test_a_checkpoint_of_the_hub(tmp_path: Path, fake: FakeHub) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    fake.files = {p.name: p.read_bytes() for p in folder.iterdir()}
    env = {"HF_ENDPOINT": fake.address(), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    expected = nacrith(*COMMAND, "-m", folder, stdin=TEXT, **env)
    assert expected.code == 0, expected.err
    assert 0 < len(expected.out) < len(TEXT)
    assert not fake.log

    found = nacrith(*COMMAND, "-m", REPO, "--download", stdin=TEXT, **env)
    assert (found.code, found.out) == (0, expected.out), found.err
    assert fake.requests("GET", "model.safetensors")
    seen = len(fake.log)
    for name in (REPO, f"{REPO}@{COMMIT}"):
        again = nacrith(*COMMAND, "-m", name, stdin=TEXT, **env)
        assert (again.code, again.out) == (0, expected.out), again.err
    assert len(fake.log) == seen

    other = nacrith(*COMMAND, "-m", f"{REPO}@other", "--download", stdin=TEXT, **env)
    assert other.code == 1
    assert f"{REPO}@other: no token-classification checkpoint" in other.err
    assert "Traceback" not in other.err
