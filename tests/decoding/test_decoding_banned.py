"""Banned phrases: against a loop that looks at the whole text each time; and nothing is taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import TINY
from small_models import tiny

from nacrith.decoding import Answer, Sampling, generate, generate_all
from nacrith.decoding.banned import Banned
from nacrith.decoding.drafters import drafters
from nacrith.decoding.lanes import Lanes
from nacrith.decoding.planner import Planner
from nacrith.decoding.record import check, record
from nacrith.decoding.text import TextStream
from nacrith.errors import DecodingError
from nacrith.models.exact.model import ExactModel
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer

MODEL = ExactModel(TINY, threads=1)
PROMPT = "It was late in the"
SAMPLINGS = [Sampling(), Sampling(1.0, seed=5), Sampling(0.8, top_k=20, top_p=0.9, seed=6)]


def plain_text(sampling: Sampling) -> str:
    answer = Answer(MODEL, PROMPT, 40, sampling)
    list(generate_all(MODEL, [answer], drafter=None))
    return answer.text


def phrases(sampling: Sampling) -> list[str]:
    """Pieces of what the model would say, in capitals, and what it does not say."""
    text = plain_text(sampling)
    return [*(text[place : place + 3].upper() for place in range(0, 36, 7)), text[12:17], "zz"]


def slowly(sampling: Sampling, banned: list[str], most: int) -> tuple[list[int], int]:
    """The tokens, and how often they were cut: one row at a time, from the beginning each time."""
    decode, out, excluded, undone = MODEL.tokenizer.decode, [], {}, 0
    while len(out) < most:
        session = MODEL.session()
        row = session.extend([[MODEL.bos_id, *MODEL.tokenizer.encode(PROMPT.encode()), *out]])[0][-1].copy()
        for token in excluded.get(tuple(out), ()):
            row[token] = -(1 << 31)
        out.append(sampling.renewed(undone).choose(row, len(out)))
        if out[-1] == MODEL.bos_id:
            break
        text = decode(out).decode("utf-8", "replace").lower()
        starts = [text.find(phrase.lower()) for phrase in banned if phrase.lower() in text]
        if starts:
            first = next(k for k in range(len(out)) if len(decode(out[: k + 1])) > min(starts))
            excluded.setdefault(tuple(out[:first]), set()).add(out[first])
            del out[first:]
            undone += 1
    return out, undone


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=["greedy", "seeded", "top"])
def test_the_answer_is_that_of_the_slow_loop_with_and_without_drafts(sampling):
    banned = phrases(sampling)
    want, undone = slowly(sampling, banned, 40)
    assert undone >= (1 if sampling.temperature else 5)
    for which, fixed in ((None, None), ("auto", None), ("auto", 9)):
        answer = Answer(MODEL, PROMPT, 40, sampling, banned=banned)
        lanes = Lanes(MODEL, 1, Planner(drafters(which, MODEL), fixed))
        lanes.begin(0, answer.line)
        pieces = []
        while not answer.finish:
            pieces += [piece for _, piece in lanes.step()]
            assert MODEL.tokenizer.decode(want).decode("utf-8", "replace").startswith("".join(pieces))
        assert (answer.tokens, answer.statistics.undone) == (want, undone)
        assert "".join(pieces) == answer.text == MODEL.tokenizer.decode(want).decode("utf-8", "replace")
        assert not [phrase for phrase in banned if phrase.lower() in answer.text.lower()]
        assert answer.statistics.accepted >= 0
        check(MODEL, record(MODEL, answer))


def test_a_record_with_other_phrases_or_another_history_is_found():
    banned = phrases(SAMPLINGS[1])
    answer = Answer(MODEL, PROMPT, 30, SAMPLINGS[1], banned=banned)
    list(generate_all(MODEL, [answer]))
    found = record(MODEL, answer)
    check(MODEL, found)
    changed = [
        {"banned": []},
        {"banned": [*banned, found["text"][:2]]},
        {"taken": found["tokens"]},
        {"tokens": found["tokens"][:-1]},
        {"taken": found["taken"][:-1]},
    ]
    for change in changed:
        with pytest.raises(DecodingError, match=r"token|end"):
            check(MODEL, found | change)


def test_many_cuts_go_further_back_than_the_window(monkeypatch):
    monkeypatch.setattr(type(MODEL), "max_context", 32)
    text = plain_text(SAMPLINGS[1])
    banned = [text[20:60]]
    answers = [generate(MODEL, PROMPT, max_tokens=60, temperature=1, seed=5, banned=banned) for _ in range(1)]
    answers.append(generate(MODEL, PROMPT, max_tokens=60, temperature=1, seed=5, banned=banned, drafter=None))
    assert answers[0].run().tokens == answers[1].run().tokens
    assert answers[0].statistics.undone


TOKENIZER = ByteTokenizer.from_definition(tiny().tokenizer_definition)


@given(
    st.text("aébÉ .K", max_size=14),
    st.lists(st.text("aébÉ", min_size=1, max_size=4), min_size=1, max_size=3),
    st.sampled_from([[], ["b."], ["é"]]),
    st.booleans(),
)
def test_what_was_shown_never_has_the_beginning_of_a_phrase(text, banned, stop, whole):
    """Tokens of whole words, or of single bytes and escapes; phrases of characters that they cut."""
    data = text.encode()
    ids = [t for b in data for t in TOKENIZER.encode(bytes([b]))] if not whole else TOKENIZER.encode(data)
    stream = TextStream(TOKENIZER, stop)
    rule, tokens, shown = Banned(banned, stream), [], 0
    for token in ids:
        tokens.append(token)
        so_far = TOKENIZER.decode(tokens).decode("utf-8", "ignore")
        ends = [so_far.find(s) for s in stop if s in so_far]
        kept = so_far[: min(ends)] if ends else so_far
        begun = rule.begun(tokens, shown)
        starts = [kept.lower().find(p.lower()) for p in banned if p.lower() in kept.lower()]
        if starts:
            if begun is None:  # only inside an escape, which was read as its digits
                assert not all(TOKENIZER.decode([t]) for t in tokens[-3:])
            return
        certain = rule.certain(tokens, shown)
        assert shown <= certain <= len(tokens)
        while shown < certain and not stream.stopped:
            stream.push(tokens[shown])
            shown += 1
        if stream.stopped:
            return


def test_an_empty_phrase_is_refused():
    with pytest.raises(DecodingError, match="empty"):
        generate(MODEL, PROMPT, banned=["x", ""])
