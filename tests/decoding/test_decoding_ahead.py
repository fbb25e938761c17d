"""A model that drafts in a thread of its own: the text is that of plain decoding, and drafts are kept as long
as they come true."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from clirunner import PATIENCE
from paths import TINY
from plain_decoding import GREEDY, SEEDED, model, plainly

from nacrith.decoding import Answer
from nacrith.decoding.drafters import Ahead, DraftModel, drafters
from nacrith.decoding.drafters.protocol import Guess
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.models import load_model


def run(given, answer: Answer, planner: Planner, wait=lambda: None) -> Answer:
    lanes = Lanes(given, 1, planner)
    lanes.begin(0, answer.line)
    while not answer.finish:
        lanes.step()
        wait()
    return answer


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("name", [f"pearl:{TINY}", f"pearl:{TINY}+recycling+lookup", "pearl:nacrith-36m"])
def test_the_tokens_are_those_of_plain_decoding(name, sampling):
    """Whenever the drafts are ready: at once, and after some rest in each pass."""
    made = drafters(name, model())
    for fixed, rest in ((3, 0.0), (3, 0.02), (None, 0.0)):
        for prompt in ("It was a dark night; the rain fell", ""):
            answer = Answer(model(), prompt, 16, sampling)
            run(model(), answer, Planner(made, fixed), lambda rest=rest: time.sleep(rest))
            assert answer.tokens == plainly(model(), answer.prompt[1:], 16, sampling)


def test_a_thread_ends_with_its_text():
    given = load_model(str(TINY))
    run(given, Answer(given, "It was late", 6, GREEDY), Planner([Ahead(DraftModel(given, given))], 3))
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "nacrith-ahead"]


class Counting:
    """Drafts the next number. Each draft waits for a permit; entered: what it was told of the text."""

    def __init__(self):
        self.permits = threading.Semaphore(0)
        self.text, self.entered = [], []

    def follow(self):
        return self

    def extend(self, tokens):
        self.text += tokens
        self.entered.append(list(tokens))

    def start(self):
        return self.text[-1]

    def guesses(self, state):
        assert self.permits.acquire(timeout=PATIENCE)
        return [Guess(state + 1, 0, state + 1)]

    priors = (0.9,)


def line(follower, count: int) -> list[int]:
    """The drafts, once there are `count`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        place, found = follower.start(), []
        while place is not None and (guesses := follower.guesses(place)):
            found.append(guesses[0].token)
            place = guesses[0].state
        if len(found) >= count:
            return found
        time.sleep(0.005)
    pytest.fail(f"{count} drafts did not come")


@pytest.fixture
def inner():
    return Counting()


def test_drafting_goes_on_behind_drafts_that_came_true(inner):
    follower = Ahead(inner).follow()
    follower.extend([5])
    inner.permits.release(4)
    assert line(follower, 4) == [6, 7, 8, 9]
    follower.extend([6, 7, 8])
    assert line(follower, 1) == [9]  # made before, and still there
    inner.permits.release(2)
    assert line(follower, 3) == [9, 10, 11]
    assert inner.entered == [[5]]  # nothing was entered anew
    inner.permits.release(1000)  # the thread ends with its follower, once it has what it waits for


def test_the_first_draft_is_compared_with_what_came_meanwhile(inner):
    follower = Ahead(inner).follow()
    follower.extend([5])
    end = time.monotonic() + PATIENCE
    while not inner.entered and time.monotonic() < end:
        time.sleep(0.005)
    follower.extend([6])  # the pass was faster than the draft for its place
    inner.permits.release(2)
    assert line(follower, 1) == [7]
    assert inner.entered == [[5]]
    inner.permits.release(1000)


def test_another_token_drops_the_drafts(inner):
    follower = Ahead(inner).follow()
    follower.extend([5])
    inner.permits.release(3)
    assert line(follower, 3) == [6, 7, 8]
    follower.extend([6, 20])
    assert follower.start() is None  # a pass does not wait
    inner.permits.release(3)  # of which one is for the draft that was being made
    assert line(follower, 2) == [21, 22]
    assert inner.entered == [[5], [6, 20]]
    inner.permits.release(1000)


def test_what_goes_wrong_in_the_thread_is_raised():
    class Broken(Counting):
        def guesses(self, state):
            raise ValueError("spoilt")

    follower = Ahead(Broken()).follow()
    follower.extend([5])
    with pytest.raises(ValueError, match="spoilt"):
        line(follower, 1)
