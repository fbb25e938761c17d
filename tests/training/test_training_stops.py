"""Training that is interrupted, and what it computes with: the same weights come out, whatever happens."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clirunner import COMMAND, PATIENCE, environment, hearing, nacrith, wait_until
from lm_texts import write_texts

from nacrith.cli.console import ERROR, OK
from nacrith.models.exact import modelfile

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[train]'")

from torch.nn import functional  # noqa: E402

from nacrith.training.lm import fused, machine  # noqa: E402
from nacrith.training.lm.llama import Llama, Shape  # noqa: E402
from nacrith.training.lm.loop import Recipe, train  # noqa: E402
from nacrith.training.lm.stopping import Stopping  # noqa: E402

RECIPE = Recipe(steps=12, length=24, count=4, at_once=2, rate=1e-3, warmup=2)
IDS = np.random.default_rng(1).integers(1, 400, 5000).astype(np.uint16)
TINY = ["--scratch", "--layers", "1", "--vocab", "300", "--width", "64", "--length", "32", "--count", "2"]


def small(seed: int = 1) -> Llama:
    model = Llama(Shape(2, 96, 400, width=64, heads=4, kv_heads=2, head_dim=16, max_context=64))
    model.initialise(seed)
    return model


def silent(line: str) -> None:
    pass


def after(count: int) -> Callable[[], str]:
    """A reason to stop from the call of this number on."""
    calls = 0

    def stopping() -> str:
        nonlocal calls
        calls += 1
        return "enough" if calls > count else ""

    return stopping


@pytest.mark.parametrize("muon", [False, True])
def test_a_run_stopped_anywhere_ends_as_one_that_was_not(tmp_path: Path, muon: bool) -> None:
    """Also in the middle of a step, whose first half is then computed again."""
    recipe = replace(RECIPE, muon=muon)
    whole = small()
    assert train(whole, IDS, recipe, tmp_path / "whole", half=False, log=silent) == ""
    said: list[str] = []
    for count in (0, 1, 5, 3, 2):
        parts = small(seed=2)
        if count == 0:
            parts = small()
        reason = train(
            parts, IDS, recipe, tmp_path / "parts", half=False, stopping=after(count), log=said.append
        )
        assert reason == "enough"
        assert (tmp_path / "parts").exists()
    assert [line for line in said if "stopped" in line] == [
        f"stopped after step {done} of 12: enough" for done in (0, 0, 2, 3, 4)
    ]
    assert train(parts, IDS, recipe, tmp_path / "parts", half=False, log=silent) == ""
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


def test_states_are_saved_by_the_clock(tmp_path: Path) -> None:
    seen: list[int] = []

    def stopping() -> str:
        if (tmp_path / "state").exists():
            saved = torch.load(tmp_path / "state", weights_only=True)["step"]
            if saved not in seen:
                seen.append(saved)
        return ""

    train(small(), IDS, RECIPE, tmp_path / "state", save_every=0, half=False, stopping=stopping, log=silent)
    assert seen == list(range(1, 12))


def test_reasons_to_stop(tmp_path: Path) -> None:
    assert Stopping()() == ""
    assert Stopping(seconds=0)() == "the time is over"
    assert Stopping(seconds=1000)() == ""
    file = tmp_path / "stop"
    stopping = Stopping(file=file)
    assert stopping() == ""
    file.touch()
    assert stopping() == f"{file} is there"
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Stopping() as stopping:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping() == "SIGTERM"
            assert not heard
            os.kill(os.getpid(), signal.SIGTERM)  # the second one is not ours
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("rows", [7, 256, 600])
def test_the_fused_loss_is_the_plain_one(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As are its gradients, and that of a multiple of it."""
    monkeypatch.setattr(fused, "ROWS", 64)
    torch.manual_seed(1)
    stream = torch.randn(rows, 32, requires_grad=True)
    table = torch.randn(500, 32, requires_grad=True)
    wanted = torch.randint(0, 500, (rows,))
    plain = functional.cross_entropy(functional.linear(stream, table), wanted)
    want = torch.autograd.grad(3 * plain, (stream, table))
    loss = fused.cross_entropy(stream, table, wanted, False)
    found = torch.autograd.grad(3 * loss, (stream, table))
    assert torch.allclose(loss, plain, rtol=1e-5)
    for a, b in zip(found, want, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        assert torch.equal(fused.cross_entropy(stream, table, wanted, False), loss)
        half = fused.cross_entropy(stream, table, wanted, True)
    assert half != loss
    assert torch.allclose(half, loss, rtol=0.02)


def test_never_are_there_logits_of_all_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    real = torch.Tensor.logsumexp
    monkeypatch.setattr(
        torch.Tensor, "logsumexp", lambda x, *a, **k: (shapes.append(tuple(x.shape)), real(x, *a, **k))[1]
    )
    stream = torch.randn(1000, 16, requires_grad=True)
    fused.cross_entropy(stream, torch.randn(50, 16), torch.zeros(1000, dtype=torch.long), False).backward()
    assert [shape[0] for shape in shapes] == [256, 256, 256, 232]


def test_the_faster_floats_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for less, half in ((5e9, False), (1.1e10, False), (2e10, True)):
        speeds = {torch.float32: 1e10, torch.bfloat16: less}
        monkeypatch.setattr(machine, "_speed", lambda device, kind, side, speeds=speeds: speeds[kind])
        found = machine.measure(torch.device("cpu"))
        assert (found.half, found.peak) == (half, 2e10 if half else 1e10)
    assert machine.measure(torch.device("cpu"), half=False).peak == 1e10
    assert machine.Machine(False, 6e9).share(parameters=1000, speed=1e5) == 0.1


def test_bfloat16_trains(tmp_path: Path) -> None:
    said: list[str] = []
    model = small()
    train(model, IDS, RECIPE, tmp_path / "state", half=True, log=said.append)
    assert said[0].startswith("products in bfloat16: ")
    assert "tokens/s, " in said[-1]
    assert said[-1].endswith(" % of the peak")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


# The command.


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("data"))


def begun(data: Path, output: Path, work: Path, steps: int) -> list[str]:
    fixed = ["-T", "1", "--floats", "float32", "--save-every", "0s", "--steps", str(steps)]
    return ["train", str(data), "-o", str(output), "--work", str(work), *TINY, *fixed, "-f"]


def test_a_run_killed_at_random_and_resumed_gives_the_same_model(data: Path, tmp_path: Path) -> None:
    steps = 60
    whole, parts, work = tmp_path / "whole.nacm", tmp_path / "parts.nacm", tmp_path / "parts"
    done = nacrith(*begun(data, whole, tmp_path / "whole", steps))
    assert done.code == OK, done.err
    process = subprocess.Popen([*COMMAND, *begun(data, parts, work, steps)], env=environment())
    wait_until(lambda: (work / "state.pt").exists() or process.poll() is not None)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(random.random() * 0.2)
    process.kill()
    process.wait(PATIENCE)
    step = torch.load(work / "state.pt", weights_only=True)["step"]
    assert 0 < step < steps
    done = nacrith(*begun(data, parts, work, steps))
    assert done.code == OK, done.err
    assert f"resuming after step {step}" in done.err
    assert modelfile.fingerprint(parts) == modelfile.fingerprint(whole)


def test_a_signal_saves_and_ends(data: Path, tmp_path: Path) -> None:
    output, work = tmp_path / "x.nacm", tmp_path / "work"
    command = [*begun(data, output, work, 1_000_000), "--nice"]
    command[command.index("0s")] = "1h"
    with hearing(signal.SIGTERM):
        process = subprocess.Popen([*COMMAND, *command], env=environment(), stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if b"step 50 of" in line:
            break
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    process.terminate()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert b"stopped after step" in said
    assert torch.load(work / "state.pt", weights_only=True)["step"] >= 50
    assert not output.exists()


def test_a_session_of_its_own_yields_to_other_sessions() -> None:
    autogroup = Path("/proc/self/autogroup")
    if not autogroup.exists():
        pytest.skip("this system does not group processes by session")
    code = (
        "from nacrith.training.lm import machine; machine.yield_to_others();"
        " print(open('/proc/self/autogroup').read())"
    )
    for alone in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", code], start_new_session=alone, stdout=subprocess.PIPE, check=True
        )
        assert done.stdout.decode().strip().endswith("nice 19") == alone


def test_time_and_a_file_end_it_with_a_model(data: Path, tmp_path: Path) -> None:
    for number, more in enumerate((["--for", "1s"], ["--stop-file", str(data)])):
        output = tmp_path / f"{number}.nacm"
        done = nacrith(*begun(data, output, tmp_path / str(number), 1_000_000), *more)
        assert done.code == OK, done.err
        assert "stopped after step" in done.err
        assert modelfile.read(output).name == str(number)
    done = nacrith("train", data, "-o", tmp_path / "y.nacm", "--for", "soon")
    assert done.code == ERROR
    assert "is not a time; write 90s, 30m or 2h" in done.err
