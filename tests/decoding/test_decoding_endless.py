"""Generation without end: memory of a window and sinks, and rows that a fresh session gives too."""

from __future__ import annotations

import numpy as np
import pytest
from paths import TINY

from nacrith.decoding import generate
from nacrith.decoding.record import check, record
from nacrith.models.exact import numpy_engine
from nacrith.models.exact.config import SINKS
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.numpy_engine import NumpyEngine

WINDOW = 48


def test_an_answer_of_many_windows_takes_no_more_memory_and_is_what_a_fresh_session_gives(monkeypatch):
    model = ExactModel(TINY, threads=1)
    model.__dict__["engine"] = NumpyEngine(model.file, 1)
    monkeypatch.setattr(ExactModel, "max_context", WINDOW)
    monkeypatch.setattr(numpy_engine, "ROLLBACK", 32)  # what a session has room for besides the window
    monkeypatch.setattr(numpy_engine, "BATCH", 64)
    sessions, real = [], model.session
    monkeypatch.setattr(model, "session", lambda *given: (sessions.append(real(*given)), sessions[-1])[1])
    answer = generate(model, "It was", max_tokens=500, temperature=1.2, seed=1)
    sizes = []
    for _ in answer:
        sizes.append((len(answer.tokens), sum(k.nbytes for k in sessions[0].cache.k)))
    if answer.finish == "end":
        pytest.fail("choose a seed with which the answer is long")
    assert len(answer.tokens) == 500
    assert len(sessions) == 1
    most = sessions[0].cache.most
    assert most < 240
    assert len({size for tokens, size in sizes if tokens > most}) == 1
    check(model, record(model, answer))  # every token, by a session that enters 64 tokens a pass

    tokens = [*answer.prompt, *answer.tokens]
    row = real().extend([tokens])[0][-1]
    changed = list(tokens)
    changed[SINKS] = (
        changed[SINKS] + 1
    ) % model.vocab_size or 3  # left the window of the last layer long ago
    far = real().extend([changed])[0][-1]
    changed[0], changed[SINKS] = 7, tokens[SINKS]
    sink = real().extend([changed])[0][-1]
    assert not np.array_equal(row, sink)  # the sinks are seen at any distance
    assert np.array_equal(row, far)
