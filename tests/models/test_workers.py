"""Threads of engines where there is trouble: none to be had, the interpreter's end, a forked child."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest
from clirunner import PATIENCE
from paths import ROOT
from small_models import TINY, engine, tokens

from nacrith import loaded
from nacrith.models.exact.model import ExactModel
from nacrith.workers import Patient, Workers, run_all


def squares(workers: Workers, count: int) -> list[int]:
    out = [0] * count

    def put(i: int) -> None:
        out[i] = i * i

    workers.run([lambda i=i: put(i) for i in range(count)])
    return out


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 100])
def test_every_task_is_done_once(threads: int, count: int) -> None:
    workers = Workers(threads)
    for _ in range(20):
        assert squares(workers, count) == [i * i for i in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(threads: int) -> None:
    before = set(threading.enumerate())
    assert run_all([lambda i=i: time.sleep(0.001 * (5 - i)) or i for i in range(5)], threads) == [*range(5)]
    assert run_all([], threads) == []
    for thread in set(threading.enumerate()) - before:  # the threads of a single call end with it
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("threads", [1, 2])
def test_after_a_failure_no_task_begins_and_those_that_run_end(threads: int) -> None:
    begun, ended = [], []
    failing = threading.Event()

    def fail() -> None:
        failing.set()
        raise KeyError("x")

    def task() -> None:
        begun.append(1)
        failing.wait(PATIENCE)
        time.sleep(0.05)
        ended.append(1)

    with pytest.raises(KeyError):
        Workers(threads).run([fail, *[task] * 50])
    assert len(begun) == len(ended) < 50


def test_an_interrupt_does_not_wait_for_other_threads() -> None:
    busy, release, ended = threading.Event(), threading.Event(), []

    def task() -> None:
        if threading.current_thread() is threading.main_thread():
            assert busy.wait(PATIENCE)
            raise KeyboardInterrupt
        busy.set()
        release.wait(PATIENCE)
        ended.append(1)

    with pytest.raises(KeyboardInterrupt):
        Workers(2).run([task] * 10)
    assert not ended
    release.set()


def test_what_is_no_exception_is_raised_from_another_thread_too() -> None:
    class PanicError(BaseException):
        """As a library of Rust raises them."""

    busy = threading.Event()

    def task() -> None:
        if threading.current_thread() is threading.main_thread():
            assert busy.wait(PATIENCE)
            return
        busy.set()
        raise PanicError

    workers = Workers(2)
    with pytest.raises(PanicError):
        workers.run([task] * 2)
    assert squares(workers, 10) == [i * i for i in range(10)]  # its thread goes on


def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert squares(Workers(4), 50) == [i * i for i in range(50)]
    model = ExactModel(TINY, threads=4)
    model.prepare()
    assert model.tokenizer.decode(model.tokenizer.encode(b"a b")) == b"a b"


def test_threads_end_with_their_workers() -> None:
    before = set(threading.enumerate())
    workers = Workers(3)
    squares(workers, 10)
    helpers = set(threading.enumerate()) - before
    assert len(helpers) == 2
    del workers
    for thread in helpers:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _rows(ids: list[int]) -> bytes:
    return engine(2).session(1, 512).extend([ids])[0].tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes_with_threads_of_its_own() -> None:
    ids = tokens(300)
    here = _rows(ids)  # now there are threads, which the child will lack
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_rows, (ids,)).get(timeout=PATIENCE) == here


def _forget() -> bool:
    loaded.forget()
    return True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_another_thread_loads_a_model() -> None:
    # The lock as the thread has it that does not exist in the child.
    with loaded._lock, multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_forget).get(timeout=PATIENCE)


USE = """
import sys, threading, time, atexit, logging
from pathlib import Path
from nacrith.models.exact.model import ExactModel
def use(*_):
    model = ExactModel(Path(sys.argv[1]), threads=2)
    model.prepare()
    rows = model.session(1, 64).extend([model.tokenizer.encode(b"the meadow lies behind the harbour. " * 40)])
    print("used", rows[0].shape[1], flush=True)
"""

ENDINGS = {
    "exit handler": "atexit.register(use)",
    "used before, and in an exit handler": "use(); atexit.register(use)",
    "thread that outlives main": """
def late():
    threading.main_thread().join()
    use()
threading.Thread(target=late).start()
""",
    "logging handler": """
class Handler(logging.Handler):
    def emit(self, record): use()
logging.getLogger().addHandler(Handler())
atexit.register(lambda: logging.getLogger().warning("bye"))
""",
}


@pytest.mark.parametrize("engine", ["numpy", "native"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_model_can_be_used_while_the_interpreter_shuts_down(ending: str, engine: str) -> None:
    if engine == "native" and not os.environ.get("NACRITH_NATIVE_LIB"):
        pytest.skip("no native engine is named")
    done = subprocess.run(
        [sys.executable, "-c", USE + ENDINGS[ending], str(TINY)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env={**os.environ, "NACRITH_ENGINE": engine},
    )
    assert done.stdout.splitlines() == ["used 512"] * (2 if "before" in ending else 1), done.stderr
    assert "Traceback" not in done.stderr


def test_patience_ends_and_comes_back() -> None:
    patient, free = Patient(0.05), threading.Event()
    with pytest.raises(TimeoutError):
        patient.run(free.wait)
    with pytest.raises(TimeoutError):  # at once: the thread is still busy
        patient.run(int)
    free.set()
    patient.seconds = 30
    while True:
        try:
            assert patient.run(int, "7") == 7
            break
        except TimeoutError:
            continue
    patient.close()


def test_patience_within_an_event_loop() -> None:
    free = threading.Event()

    async def both() -> list[int]:
        patient = Patient(PATIENCE)
        waiting = asyncio.ensure_future(patient.wait(free.wait))
        await asyncio.sleep(0)  # it has begun, and the loop goes on
        free.set()
        await waiting
        found = [await patient.wait(int, "7")]
        with pytest.raises(ValueError, match="invalid literal"):
            await patient.wait(int, "x")
        return found

    assert asyncio.run(both()) == [7]


def test_what_nobody_waits_for_is_not_begun() -> None:
    patient, free, begun = Patient(PATIENCE), threading.Event(), []

    async def given_up() -> None:
        first = asyncio.ensure_future(patient.wait(free.wait))
        second = asyncio.ensure_future(patient.wait(begun.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        free.set()
        await first

    asyncio.run(given_up())
    assert patient.run(int, "7") == 7
    assert not begun


def test_a_patient_caller_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Patient().run(int, "7") == 7


def test_patience_lasts_to_the_end_of_the_interpreter() -> None:
    """An exit handler is served, and a function without end does not keep the interpreter."""
    code = (
        "import atexit, threading\n"
        "from nacrith.workers import Patient\n"
        "patient = Patient(30)\n"
        "atexit.register(lambda: print(patient.run(int, '7')))\n"
        "other = Patient(0.01)\n"
        "try:\n    other.run(threading.Event().wait)\n"
        "except TimeoutError:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=PATIENCE)
    assert (done.stdout.strip(), done.stderr) == (b"7", b"")


PATIENT = Patient(30)


def _patiently() -> int:
    return PATIENT.run(int, "7")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_patience_in_a_forked_child() -> None:
    assert _patiently() == 7
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_patiently).get(timeout=PATIENCE) == 7
