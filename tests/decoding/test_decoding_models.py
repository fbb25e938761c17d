"""Models as drafters: of the same vocabulary, of another one, and the first layers of the model itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from paths import TINY
from plain_decoding import GREEDY, SEEDED, model, plainly
from toy_drafters import Same

from nacrith.decoding import Answer, DraftModel, generate
from nacrith.decoding.drafters import drafters
from nacrith.decoding.drafters.model import Reader, same_vocabulary
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.errors import DecodingError
from nacrith.models import load_model
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.modelfile import read
from nacrith.models.exact.numpy_engine import NumpyEngine


def run(given, answer: Answer, planner: Planner) -> Answer:
    lanes = Lanes(given, 1, planner)
    lanes.begin(0, answer.line)
    while not answer.finish:
        lanes.step()
    return answer


def test_a_model_that_drafts_for_itself_is_always_right_where_it_is_greedy():
    answer = Answer(model(), "It was late", 25, GREEDY)
    run(model(), answer, Planner([DraftModel(model(), model())], fixed=4))
    assert answer.tokens == plainly(model(), answer.prompt[1:], 25, GREEDY)
    assert answer.tokens_per_pass > 2


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_a_model_of_another_vocabulary_drafts_through_bytes(sampling):
    """nacrith-36m for the tiny model, and the tiny model for it."""
    small, large = load_model(str(TINY)), load_model("nacrith-36m")
    assert not same_vocabulary(small, large)
    for target, other in ((small, large), (large, small)):
        for prompt in ("It was a dark and stormy night; the rain", b"\xff\xfe\x00 and bytes", ""):
            answer = Answer(target, prompt, 10, sampling)
            run(target, answer, Planner([DraftModel(other, target)], fixed=3))
            assert answer.tokens == plainly(target, answer.prompt[1:], 10, sampling)


def test_the_same_words_in_other_tokens_are_found():
    """The same model, told that its vocabulary is another one: bytes lead to its own tokens again."""
    given = load_model("nacrith-36m")
    drafter = DraftModel(given, given)
    drafter.shared = False
    answer = Answer(given, "The capital of France is", 20, GREEDY)
    run(given, answer, Planner([drafter], fixed=3))
    assert answer.tokens == plainly(given, answer.prompt[1:], 20, GREEDY)
    assert answer.tokens_per_pass > 1.8


def test_the_first_layers_are_a_model_of_their_own():
    file = read(TINY)
    layers = file.config.layers
    whole = NumpyEngine(file).session(1, 64).extend([[0, 5, 9]])[0]
    for count in range(1, layers + 1):
        part = ExactModel.of_file(file.first_layers(count), 1)
        rows = NumpyEngine(part.file).session(1, 64).extend([[0, 5, 9]])[0]
        assert np.array_equal(rows, whole) == (count == layers)
        assert part.fingerprint != file.fingerprint
        assert part.name.endswith(f"{count} layers")
        assert np.array_equal(part.session().extend([[0, 5, 9]])[0], rows)


@pytest.mark.parametrize("count", ["0", "4", "", "x", "-1"])
def test_layers_that_are_not_there(count):
    with pytest.raises(DecodingError, match="give a number of layers, 1 to 3"):
        drafters(f"skip:{count}", model())


def test_a_long_text_is_read_from_its_end(monkeypatch):
    """Beyond what a lane of the drafting model holds, the latest tokens are entered anew."""
    given = load_model(str(TINY))
    monkeypatch.setattr(Reader, "__init__", limited(Reader.__init__))
    answer = Answer(given, list(range(10, 40)), 120, SEEDED)
    run(given, answer, Planner([DraftModel(given, given)], fixed=2))
    assert answer.tokens == plainly(given, answer.prompt[1:], 120, SEEDED)


def limited(real):
    def init(self, *args):
        real(self, *args)
        self.most = 70

    return init


def test_a_dear_drafter_is_asked_as_far_as_it_pays():
    drafter = Same((7,), (0.9,), price=0.1)
    planner = Planner([drafter])
    for _ in range(30):
        planner.observe(0, 1.0, 0.0)
        planner.observe(3, 1.03, 0.0)
    counts = []
    for drafter.price in (0.001, 0.1, 0.3, 5.0, math.inf):
        planner._unasked = [0]
        drafter.asked = 0
        planner.plan([[drafter]], [99])
        counts.append(drafter.asked)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] > counts[3] == counts[4] == 0
    for _ in range(70):
        planner._idle = 0
        planner.plan([[drafter]], [99])
    assert drafter.asked == 1  # now and then


def test_generate_takes_a_model_by_its_name():
    answer = generate(
        model(), "It was late", max_tokens=12, drafter=f"model:{TINY}+lookup", temperature=1, seed=2
    )
    plain = generate(model(), "It was late", max_tokens=12, drafter=None, temperature=1, seed=2)
    assert answer.run().tokens == plain.run().tokens


@pytest.mark.parametrize("shared", [True, False])
def test_the_price_of_a_question_is_that_of_a_token(monkeypatch, shared):
    """Known after the first question, and without the text that was entered before it."""
    given, clock = load_model(str(TINY)), [0.0]
    real = given.session

    def slow(lanes=1, window=None):
        session = real(lanes, window)
        extend = session.extend
        session.extend = lambda tokens: (clock.append(clock[-1] + len(tokens[0])), extend(tokens))[1]
        return session

    monkeypatch.setattr(given, "session", slow)
    monkeypatch.setattr("nacrith.decoding.drafters.model.time.perf_counter", lambda: clock[-1])
    drafter = DraftModel(given, given)
    drafter.shared = shared
    follower = drafter.follow()
    follower.extend([0, *given.tokenizer.encode(b"It was late in the autumn, and the rain " * 4)])
    assert follower.guesses(follower.start())
    assert clock[-1] > 30
    assert 1 <= drafter.price <= 6  # a token of another vocabulary may take several
