"""Workers for the tests of the executors: what a file says is what the worker does with it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from nacrith.errors import ModelMissingError
from nacrith.jobs.plan import Job
from nacrith.jobs.pool import Outcome, Tell, Work

SHOWN = ("CUDA_VISIBLE_DEVICES", "NACRITH_ENGINE", "NACRITH_DEVICE")


def start(tell: Tell, threads: int) -> Work:
    tell.say(1, "ready", "")

    def work(job: Job, progress: Callable[[int], None]) -> Outcome:
        """The outcome's hash carries the worker's resources, its other hash the process id."""
        path = Path(job.source)
        order = path.read_text()
        first_time = not path.with_suffix(".begun").exists()
        path.with_suffix(".begun").touch()
        if order in ("meet", "poison those who meet"):  # goes on only when two of these are in hand
            while len(list(path.parent.glob("meet*.begun"))) < 2:
                time.sleep(0.01)
        if order.startswith("poison") or (order == "die once" and first_time):
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "fail":
            return Outcome("it says fail")
        while order == "never end":
            time.sleep(0.05)
            progress(1)
        progress(job.size)
        shown = " ".join(f"{name}={os.environ.get(name)}" for name in SHOWN) + f" threads={threads}"
        return Outcome(sha256=shown, archive_sha256=str(os.getpid()), size=job.size)

    return work


LOCK = threading.Lock()
"""That a thread of the process which starts the workers may hold."""


def start_with_lock(tell: Tell, threads: int) -> Work:
    for lock in (LOCK, logging._lock):
        if not lock.acquire(timeout=60):
            raise RuntimeError("a lock was inherited")
        lock.release()
    return start(tell, threads)


def start_without_model(tell: Tell, threads: int) -> Work:
    raise ModelMissingError("no such model")


def start_with_a_bug(tell: Tell, threads: int) -> Work:
    raise KeyError("x")


def start_and_die(tell: Tell, threads: int) -> Work:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
