"""Attributes that are computed once: over threads, and in a child that was forked while one was computed."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Any

import pytest
from clirunner import PATIENCE
from small_models import TINY

from nacrith.lazy import lazy
from nacrith.models.exact import engines
from nacrith.models.exact.model import ExactModel


class Counted:
    """Something that takes a while to compute."""

    def __init__(self) -> None:
        self.calls = 0

    @lazy
    def value(self) -> object:
        """A new object."""
        self.calls += 1
        time.sleep(0.01)
        return object()

    @lazy
    def failing(self) -> int:
        self.calls += 1
        raise KeyError("x")


def test_it_is_computed_once_for_all_threads() -> None:
    one, seen = Counted(), []
    threads = [threading.Thread(target=lambda: seen.append(one.value)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert one.calls == 1
    assert len(seen) == 8
    assert len(set(seen)) == 1
    assert one.value is not Counted().value
    assert Counted.value.__doc__ == "A new object."


def test_a_failure_is_not_kept() -> None:
    one = Counted()
    for calls in (1, 2):
        with pytest.raises(KeyError):
            _ = one.failing
        assert one.calls == calls


_model: ExactModel


def _rows_and_tokens() -> tuple[bytes, bytes]:
    ids = _model.tokenizer.encode(b"a fork in between")
    return _model.session(1, 64).extend([ids])[0].tobytes(), ids.tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_while_another_thread_makes_engine_and_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    global _model
    _model = ExactModel(TINY, threads=1)
    inside, release = threading.Event(), threading.Event()
    real = engines.create

    def slow(*args: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            release.wait(PATIENCE)
        return real(*args)

    monkeypatch.setattr(engines, "create", slow)
    thread = threading.Thread(target=lambda: _model.engine)
    thread.start()
    assert inside.wait(PATIENCE)
    try:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found = pool.apply_async(_rows_and_tokens).get(timeout=PATIENCE)
    finally:
        release.set()
        thread.join()
    assert found == _rows_and_tokens()
