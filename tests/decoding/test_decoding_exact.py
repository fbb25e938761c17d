"""Drafters, engines, batches and seeds: the tokens are always those of plain decoding.

What is wanted comes from a loop of `extend` and `Sampling.choose` alone, one token a pass, in `plainly`.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from native_library import WHY
from paths import TINY
from plain_decoding import GREEDY, SEEDED, model, plainly

from nacrith.decoding import Answer, Json, Lookup, NGram, Recycling, Sampling, generate, generate_all
from nacrith.decoding.drafters import drafters
from nacrith.decoding.drafters.protocol import Guess
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.decoding.record import check, record

EACH = [
    "recycling",
    "lookup",
    "ngram",
    "recycling+lookup+ngram",
    f"model:{TINY}",
    "skip:1+lookup",
]
LENGTH = 16
COUNT = 12 if WHY else 50  # prompts, as many as are fast on the engine


ENGINES = [
    "numpy",
    pytest.param("native", marks=pytest.mark.skipif(bool(WHY), reason=WHY or "-")),
]


def prompts(count: int, seed: int) -> list[list[int]]:
    """Random tokens, half of which repeat what came a little before."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        ids = rng.integers(3, 512, int(rng.integers(0, 30))).tolist()
        for i in range(6, len(ids)):
            if rng.random() < 0.5:
                ids[i] = ids[i - int(rng.integers(1, 6))]
        made.append(ids)
    return made


@cache
def wanted(count: int, sampling: Sampling) -> list[list[int]]:
    engine = "numpy" if WHY else "native"
    return [plainly(model(engine), prompt, LENGTH, sampling) for prompt in prompts(count, 5)]


class Wrong:
    """A drafter of guesses that are mostly wrong, in bushy trees, and of right ones among them."""

    wants_rows = True
    price = 0.0
    priors = (0.4,)

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def follow(self):
        return self

    def extend(self, tokens):
        self.last = tokens[-1]

    def observe(self, rows):
        self.rows = rows

    def start(self):
        return 0

    def guesses(self, depth):
        ids = self.rng.integers(0, 512, 3).tolist() + [
            i for row in getattr(self, "rows", [])[-9:] for i in row.ids[:1]
        ]
        return [Guess(i, 0, depth + 1) for i in ids] if depth < 4 else []


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("which", [*EACH, "wrong"])
def test_drafts_of_a_fixed_size_change_nothing(engine, sampling, which):
    """Prompts in lanes, with trees of nine nodes in every pass, whatever they cost."""
    count, given = (COUNT if engine == "native" else 12), model(engine)
    chosen = [Wrong()] if which == "wrong" else drafters(which, given)
    answers = [Answer(given, prompt, LENGTH, sampling) for prompt in prompts(count, 5)]
    lanes = Lanes(given, 12, Planner(chosen, fixed=9))
    queue = list(answers)
    while queue or len(lanes.free()) < 12:
        for place in lanes.free():
            if queue:
                lanes.begin(place, queue.pop(0).line)
        lanes.step()
    assert [a.tokens for a in answers] == wanted(COUNT, sampling)[:count]
    drafted = sum(a.statistics.drafted for a in answers)
    assert drafted > 20  # the trees were there
    assert which == "wrong" or sum(a.statistics.accepted for a in answers) > 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("which", [None, "auto", *EACH])
def test_generate_gives_what_plain_decoding_gives(engine, sampling, which):
    s = sampling
    for prompt, want in list(zip(prompts(COUNT, 5), wanted(COUNT, sampling), strict=True))[:3]:
        answer = generate(
            model(engine),
            prompt,
            max_tokens=LENGTH,
            drafter=which,
            seed=s.seed,
            temperature=s.temperature,
            top_k=s.top_k,
            top_p=s.top_p,
            min_p=s.min_p,
        )
        pieces = list(answer)
        assert answer.tokens == want
        assert "".join(pieces) == answer.text
        assert answer.finish == ("end" if want[-1] == 0 else "length")
        assert answer.tokens_per_pass >= 1


@pytest.mark.parametrize("lanes", [1, 3, 100])
def test_batches_give_what_single_prompts_give(lanes):
    """Prompts with common beginnings, one inside another and one twice."""
    base = prompts(4, 8)
    given = [[*base[0], *p] for p in base] + [base[0], base[0], [], *base]
    answers = [Answer(model(), prompt, 6, SEEDED) for prompt in given]
    done = list(generate_all(model(), answers, lanes=lanes))
    assert sorted(done) == list(range(len(given)))
    assert [a.tokens for a in answers] == [plainly(model(), p, 6, SEEDED) for p in given]


def test_a_common_beginning_is_computed_once(monkeypatch):
    entered = []
    given = model()
    real = given.session

    def counting(lanes=1, window=None):
        session = real(lanes, window)
        extend = session.extend
        session.extend = lambda tokens: (entered.append(sum(map(len, tokens))), extend(tokens))[1]
        return session

    monkeypatch.setattr(given, "session", counting)
    shared = list(range(10, 60))
    answers = [Answer(given, [*shared, 100 + i], 1, GREEDY) for i in range(6)]
    assert len(list(generate_all(given, answers, drafter=None, lanes=1))) == 6
    assert sum(entered) == 51 + 6  # the start token and what is shared; then the last token of each


def test_long_answers_leave_the_window(monkeypatch):
    """An answer longer than the model's window, with drafts: sinks and a sliding window, as without them."""
    given = model("numpy")
    monkeypatch.setattr(type(given), "max_context", 32)
    answers = [Answer(given, [5, 9], 60, SEEDED) for _ in range(1)]
    list(generate_all(given, answers))
    assert answers[0].tokens == plainly(given, [5, 9], 60, SEEDED)


def test_numpy_native_and_torch_give_the_same_text():
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
    engines = ["numpy", "torch", *([] if WHY else ["native"])]
    found = {
        engine: generate(model(engine), "It was late", max_tokens=16, temperature=1.1, seed=-3).run().tokens
        for engine in engines
    }
    assert len(set(map(tuple, found.values()))) == 1
    assert len(found["numpy"]) == 16


def test_a_record_of_each_engine_is_checked_with_every_other():
    """--verify between numpy, native and torch: a seeded answer with a rule, and one that was cut."""
    pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
    engines = ["numpy", "torch", *([] if WHY else ["native"])]
    said = generate(model(), "It was late", max_tokens=16).run().text
    for more in ({"constraint": Json(), "temperature": 1.1}, {"banned": [said[3:6], said[9:12]]}):
        records = [
            record(model(e), generate(model(e), "It was late", max_tokens=16, seed=-3, **more).run())
            for e in engines
        ]
        assert all(found == records[0] for found in records)
        for engine in engines:
            check(model(engine), records[0])
    assert len(records[0]["taken"]) > len(records[0]["tokens"])


def test_a_drafter_learns_from_answer_to_answer():
    """The second time the recycling drafter has seen it all, and passes yield more tokens."""
    for drafter, least in ((Recycling(512), 2.0), (NGram(), 2.0)):
        rates = []
        for _ in range(2):
            answer = Answer(model(), list(b"once more"), 60, GREEDY)
            lanes = Lanes(model(), 1, Planner([drafter], fixed=9))
            lanes.begin(0, answer.line)
            while not answer.finish:
                lanes.step()
            rates.append(answer.tokens_per_pass)
        assert rates[1] >= rates[0]
        assert rates[1] > least


def test_lookup_copies_and_goes_on_after_a_changed_word():
    follower = Lookup().follow()
    text = list(range(10, 40))
    follower.extend([*text, 1, *text[:5]])
    state = follower.start()
    copied = []
    while state and len(copied) < 9:
        guess = follower.guesses(state)[0]
        copied.append(guess.token)
        state = guess.state
    assert copied == text[5:14]
    follower.extend([*text[5:8], 99])  # in place of text[8]
    assert text[9] in [guess.token for guess in follower.guesses(follower.start())]


def test_lookup_copies_from_earlier_texts():
    drafter = Lookup()
    earlier = list(range(10, 40))
    drafter.follow().extend(earlier)
    follower = drafter.follow()
    follower.extend([200, 201, *earlier[3:7]])
    guess = follower.guesses(follower.start())[0]
    assert guess.token == earlier[7]
    assert follower.guesses(guess.state)[0].token == earlier[8]
    follower.extend([300, *earlier[4:7], 99])
    follower.extend(earlier[4:7])  # the same end in this text, which is the longer match
    assert [g.token for g in follower.guesses(follower.start())] == [99]
    stranger = Lookup().follow()
    stranger.extend(earlier[3:7])
    assert stranger.start() is None
