"""Rules R2 and R3 and the trees for them, by enumeration: every course of choices, with its probability as a
fraction, and the sum over them compared with ==."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from itertools import permutations

import pytest
from paths import TINY
from plain_decoding import GREEDY, model, plainly

from nacrith.decoding import Answer, Sampling, generate, generate_all
from nacrith.decoding.drafters import Recursive
from nacrith.decoding.drafters.recursive import SHAPES, Shapes, branched, sequences
from nacrith.decoding.jsonrule import Json
from nacrith.decoding.record import record
from nacrith.decoding.residual import Choices, drawn, verified
from nacrith.decoding.sampled import SampledLanes, walked
from nacrith.errors import DecodingError
from nacrith.models import load_model

TOYS = [
    ({1: 5, 2: 3, 3: 2}, {1: 1, 2: 1, 3: 8}),
    ({1: 5, 2: 3, 3: 2}, {1: 50, 2: 30, 3: 20}),
    ({1: 1}, {1: 1, 2: 7}),
    ({1: 1, 4: 9}, {2: 3, 3: 7}),
    ({1: 7, 2: 1, 3: 9, 4: 2, 5: 30}, {1: 3, 2: 3, 4: 11}),
]


def enumerated(program) -> dict:
    """program(choose) for every course of its choices: {result: probability}."""
    found = defaultdict(Fraction)
    waiting: list[list[int]] = [[]]
    while waiting:
        script = waiting.pop()
        chance, taken = Fraction(1), []

        def choose(weights, script=script, taken=taken):
            nonlocal chance
            possible = [i for i, w in enumerate(weights) if w]
            if len(taken) < len(script):
                index = script[len(taken)]
            else:
                index = possible[0]
                waiting.extend([*taken, other] for other in possible[1:])
            chance *= Fraction(weights[index], sum(weights))
            taken.append(index)
            return index

        found[program(choose)] += chance
    return dict(found)


def normal(weights: dict) -> dict:
    return {key: Fraction(w, sum(weights.values())) for key, w in weights.items()}


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize(("target", "draft"), TOYS)
def test_r2_and_r3_give_the_target(target, draft, count):
    def program(choose):
        left, drafts = dict(draft), []
        for _ in range(min(count, len(draft))):
            drafts.append(drawn(left, choose))
            del left[drafts[-1]]
        return verified(target, draft, drafts, choose)[0]

    assert enumerated(program) == normal(target)


@pytest.mark.parametrize(("target", "draft"), TOYS)
def test_a_draft_is_accepted_as_often_as_the_distributions_overlap(target, draft):
    found = enumerated(lambda choose: verified(target, draft, [drawn(draft, choose)], choose)[1])
    p, q = normal(target), normal(draft)
    assert found.get(True, 0) == sum(min(p.get(t, 0), q[t]) for t in q)


def draft_weights(path):
    """Different at each place, and an end."""
    return {} if path[-1:] == (0,) else {0: 1, 1: 2 + len(path), 2: 5 - len(path) + sum(path)}


def target_weights(path):
    return {0: 2, 1: 1 + sum(path), 2: 3, 3: 1 + len(path)}


def spoken(draw):
    """Two tokens of a text by drawn trees: what is behind the tree is drawn plainly."""

    def program(choose):
        tree = draw(choose)

        def target(node):
            path = []
            while node >= 0:
                path.append(tree.tokens[node])
                node = tree.parents[node]
            return target_weights(tuple(reversed(path)))

        tokens = walked(tree, target, choose, 0)[1]
        while tokens[-1] and len(tokens) < 2:
            tokens.append(drawn(target_weights(tuple(tokens)), choose))
        return tuple(tokens[:2])

    return program


def plain(choose):
    tokens = [drawn(target_weights(()), choose)]
    if tokens[0]:
        tokens.append(drawn(target_weights(tuple(tokens)), choose))
    return tuple(tokens)


@pytest.mark.parametrize(
    "draw",
    [
        lambda choose: branched(draft_weights, (2, 1), choose),
        lambda choose: branched(draft_weights, (3,), choose),
        lambda choose: sequences(draft_weights, 1, 2, choose),
        lambda choose: sequences(draft_weights, 2, 2, choose),
        lambda choose: sequences(draft_weights, 3, 1, choose),
        lambda choose: sequences(draft_weights, 0, 2, choose),
    ],
)
def test_texts_by_trees_have_the_target_distribution(draw):
    assert enumerated(spoken(draw)) == enumerated(plain)


def test_sequences_are_drawn_without_replacement():
    """Every order of two of the five paths, as drawing one after the other from a list gives it."""
    chances = {}
    for a in (0, 1, 2):
        first = normal(draft_weights(()))[a]
        for b, then in normal(draft_weights((a,))).items() if a else [(None, 1)]:
            chances[a, b] = first * then

    def program(choose):
        tree = sequences(draft_weights, 2, 2, choose)
        assert len(tree.tokens) == len(set(zip(tree.parents, tree.tokens, strict=True)))
        leaves = [i for i in range(len(tree.tokens)) if i not in tree.parents]
        return frozenset(
            (tree.tokens[i], None) if tree.parents[i] < 0 else (tree.tokens[tree.parents[i]], tree.tokens[i])
            for i in leaves
        )

    wanted = defaultdict(Fraction)
    for a, b in permutations(chances, 2):
        wanted[frozenset((a, b))] += chances[a] * chances[b] / (1 - chances[a])
    assert enumerated(program) == wanted


def test_all_paths_can_be_drawn():
    tree = sequences(draft_weights, 99, 2, Choices(1))
    assert len(tree.tokens) == 3 + 2 * 3


def test_choices_follow_the_weights():
    choose, counts = Choices(3), [0, 0, 0]
    for _ in range(4000):
        counts[choose([1 << 90, 0, 3 << 90])] += 1
    assert counts[1] == 0
    assert 900 < counts[0] < 1100
    assert [Choices(5)([1] * 1000) for _ in range(2)] == [Choices(5)([1] * 1000)] * 2


def test_greedy_answers_are_those_of_plain_decoding():
    answers = [Answer(model(), text, 20, GREEDY) for text in ("It was late", "Once", "")]
    list(generate_all(model(), answers, drafter=f"rsd:{TINY}", lanes=2))
    for answer in answers:
        assert answer.tokens == plainly(model(), answer.prompt[1:], 20, GREEDY)
        assert answer.statistics.accepted > 0
        record(model(), answer)


def test_a_model_that_draws_for_itself_is_nearly_always_accepted():
    given = load_model(str(TINY))
    answer = Answer(given, "It was late", 40, Sampling(temperature=1.0, top_k=30, seed=3))
    lanes = SampledLanes(given, 1, Recursive(given, given), fixed=(2, 3))
    lanes.begin(0, answer.line)
    while not answer.finish:
        lanes.step()
    assert answer.tokens_per_pass > 3.3  # of 4
    again = Answer(given, "It was late", 40, Sampling(temperature=1.0, top_k=30, seed=3))
    lanes.begin(0, again.line)
    while not again.finish:
        lanes.step()
    assert again.tokens == answer.tokens


def test_an_answer_that_is_not_coupled_is_not_recorded():
    answer = generate(model(), "It was", max_tokens=3, drafter=f"rsd:{TINY}", temperature=1).run()
    assert len(answer.tokens) == 3
    with pytest.raises(DecodingError, match="cannot be recorded"):
        record(model(), answer)
    with pytest.raises(DecodingError, match="takes no constraint"):
        generate(model(), "It was", drafter=f"rsd:{TINY}", temperature=1, constraint=Json()).run()
    with pytest.raises(DecodingError, match="another vocabulary"):
        generate(model(), "It was", drafter="rsd:nacrith-36m").run()


def test_the_shape_that_brings_most_is_used():
    shapes = Shapes()
    used = []
    for _ in range(200):
        shape = shapes.next()
        used.append(shape)
        shapes.observe(shape, 3 if shape == (1, 2) else 1, 1.0)
    assert set(used) == set(SHAPES)
    assert used.count((1, 2)) > 100
