"""Copies with changes: the drafts go on behind a change, and make it again where it would come again."""

from __future__ import annotations

import numpy as np
import pytest

from nacrith.decoding import Lookup

OLD, NEW, END = 90, 91, 99
TEXT = [*range(10, 30), OLD, *range(30, 36), OLD, *range(36, 40), OLD, 40, 41]


def drafted(source: list[int], answer: list[int], count: int = 6) -> list[int]:
    """The likeliest line of drafts, by the priors, after a source, a token between, and an answer."""
    lookup = Lookup()
    follower = lookup.follow()
    follower.extend([*source, END])
    for token in answer:
        follower.extend([token])
    line: list[int] = []
    state = follower.start()
    while state and len(line) < count:
        found = follower.guesses(state)
        if not found:
            break
        best = max(found, key=lambda guess: lookup.priors[guess.kind])
        line.append(best.token)
        state = best.state
    return line


def changed(text: list[int], new: list[int]) -> list[int]:
    return [t for token in text for t in (new if token == OLD else [token])]


@pytest.mark.parametrize("new", [[NEW], [NEW, 92], [NEW, 92, 93]], ids=len)
def test_a_change_is_made_again(new):
    """One token becomes one, two or three; the first change is seen, the others are drafted."""
    wanted = changed(TEXT, new)
    seen = len(changed(TEXT[:24], new))  # four tokens behind the first change
    assert drafted(TEXT, wanted[:seen], len(wanted) - seen) == wanted[seen:]


def test_the_place_is_kept_behind_a_change():
    """No end of the answer matches anything, and the copy goes on all the same."""
    assert drafted(TEXT, [*TEXT[:8], NEW], 5) == TEXT[9:14]
    assert drafted(TEXT, [*TEXT[:8], NEW, TEXT[9], 95], 5) == TEXT[11:16]


def test_a_change_that_was_made_before_is_no_better_match():
    """At the second change, the longest match of the end is the first one; the copy goes on in the source."""
    wanted = changed(TEXT, [29, NEW])  # what stood before the first change
    second = len(changed(TEXT[:27], [29, NEW]))
    for seen in (second + 1, second + 2):
        follower = Lookup().follow()
        follower.extend([*TEXT, END, *wanted[:seen]])
        assert wanted[seen] in [guess.token for guess in follower.guesses(follower.start())]


def test_what_was_left_out_is_left_out_no_more_than_it_comes():
    """A change that is not made at its second place is forgotten."""
    wanted = [*changed(TEXT[:26], [NEW]), *TEXT[26:28]]
    assert drafted(TEXT, wanted, 5) == TEXT[28:33]
    assert NEW not in drafted(TEXT, wanted, 9)


def test_a_copy_that_misses_again_and_again_is_given_up():
    follower = Lookup().follow()
    follower.extend([*TEXT, END, *TEXT[:8], *range(200, 212)])
    assert follower.start() is None


def test_the_longest_match_is_the_same_whether_it_grows_or_is_found():
    """Against the match that is looked up anew, in a text that repeats itself."""
    rng = np.random.default_rng(3)
    text: list[int] = []
    for _ in range(30):
        begin = int(rng.integers(0, max(1, len(text) - 8)))
        text += [*text[begin : begin + int(rng.integers(3, 30))], int(rng.integers(0, 9))]
    follower = Lookup().follow()
    grown = 0
    for end, token in enumerate(text, 1):
        follower.extend([token])
        _, place, length = follower._best
        assert length == min(matched(text[:end], place), 64) if length else not follower._longest()[2]
        assert length >= follower._longest()[2]
        grown += length > 3
    assert grown > 50


def matched(text: list[int], place: int) -> int:
    """How many tokens before the place are those at the end."""
    count = 0
    while count < place and text[place - 1 - count] == text[-1 - count]:
        count += 1
    return count
