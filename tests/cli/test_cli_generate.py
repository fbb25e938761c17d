"""`nacrith generate` as it is run: streaming, batches, and answers that are checked elsewhere."""

from __future__ import annotations

import json
import re

import pytest
from clirunner import nacrith

PROMPT = ("generate", "-p", "It was late", "-n", "12")


def test_the_text_and_the_figures():
    done = nacrith(*PROMPT, "--stats")
    assert done.code == 0
    assert done.out
    assert done.err.splitlines()[0].split() == ["tokens", "12"]
    assert nacrith("generate", "-n", "12", "-", stdin=b"It was late").out == done.out
    assert nacrith(*PROMPT, "--drafter", "none").out == done.out


def test_an_answer_is_checked_with_another_engine(tmp_path):
    answer = tmp_path / "answer.json"
    made = nacrith(*PROMPT, "--temperature", "1.2", "--seed", "7", "--top-p", "0.9", "--json", "-o", answer)
    assert (made.code, made.out) == (0, b"")
    done = nacrith(
        "generate", "--verify", answer, NACRITH_ENGINE="numpy", NACRITH_NATIVE_LIB="", NACRITH_MODEL=""
    )
    # The model is found by its fingerprint, and the tiny one is not among the installed ones.
    assert done.code == 3
    done = nacrith(
        "generate", "--verify", answer, "-m", _tiny(), NACRITH_ENGINE="numpy", NACRITH_NATIVE_LIB=""
    )
    assert done.code == 0
    assert b"ok, 1 answer" in done.out


def _tiny() -> str:
    from clirunner import MODEL

    return str(MODEL)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"text": "x"}, "text"),
        ({"seed": 8}, "token"),
        ({"temperature": 0}, "token"),
        ({"max_tokens": 11}, "behind its end"),
        ({"max_tokens": 13}, "end"),
        ({"finish": "end"}, "end"),
        ({"prompt": "Other"}, "differ"),
        ({"fingerprint": "00" * 32}, "by tiny"),
        ({"fingerprint": "zz"}, "damaged"),
        ({"tokens": [5, "x"]}, "damaged"),
        ({"tokens": [5, 99999]}, "token"),
        ({"top_k": True}, "damaged"),
        ({"temperature": 10**400}, "damaged"),
        ({"seed": 10**40}, "seed"),
        ({"nacrith_answer": 2}, "version"),
        ({"prompt_tokens": []}, "damaged"),
    ],
)
def test_a_changed_answer_is_found(recorded, change, word):
    line = json.dumps(recorded | change).encode()
    done = nacrith("generate", "--verify", "-", "-m", _tiny(), stdin=line)
    assert done.code in (1, 3)
    assert done.said(word)
    assert done.out == b""


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads(nacrith(*PROMPT, "--temperature", "1", "--seed", "7", "--json").out)


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b"\xff", b"[" * 100000, b'{"nacrith_answer": 1}'])
def test_what_is_no_answer(line):
    done = nacrith("generate", "--verify", "-", stdin=line)
    assert done.code == 1
    assert done.said("answer")


def test_a_batch_gives_what_single_prompts_give(tmp_path):
    prompts = [
        {"prompt": "It was late", "max_tokens": 9},
        {"prompt": "It was", "id": "b", "temperature": 1, "seed": 3},
        {"prompt": "", "stop": [" "]},
    ]
    batch, out = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    batch.write_text("\n\n".join(map(json.dumps, prompts)))
    learned = tmp_path / "learned"
    for _ in range(2):
        options = ("-n", "12", "--lanes", "2", "--learned", learned, "-f", "-o", out)
        assert nacrith("generate", "--batch", batch, *options).code == 0
        answers = [json.loads(line) for line in out.read_text().splitlines()]
        assert [a["prompt"] for a in answers] == [p["prompt"] for p in prompts]
        assert answers[1]["id"] == "b"
        single = json.loads(
            nacrith("generate", "-p", "It was", "-n", "12", "--temperature", "1", "--seed", "3", "--json").out
        )
        assert answers[1]["tokens"] == single["tokens"]
        assert len(answers[0]["tokens"]) == 9
        assert " " not in answers[2]["text"]
    assert b"3 answers" in nacrith("generate", "--verify", out, "-m", _tiny()).out


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"x", "line 1 is no JSON"),
        (b"{}", "prompt"),
        (b'{"prompt": 5}', "prompt"),
        (b'{"prompt": "a", "tmperature": 1}', "unknown"),
        (b'{"prompt": "a", "seed": "1"}', "seed"),
        (b'{"prompt": "a", "top_k": 1.5}', "top_k"),
        (b'{"prompt": "a", "stop": "x"}', "stop"),
        (b'{"prompt": "a", "banned": "x"}', "banned"),
        (b'{"prompt": "a", "banned": [""]}', "line 1: a banned phrase is empty"),
        (b'{"prompt": "a", "regex": 5}', "regex"),
        (b'{"prompt": "a", "regex": "a", "schema": {}}', "exclude"),
        (b'{"prompt": "a", "top_p": 2}', "line 1: top_p"),
        (b'{"prompt": "a", "max_tokens": -1}', "max_tokens"),
    ],
)
def test_a_bad_line_of_a_batch_leaves_no_file(tmp_path, line, word):
    batch = tmp_path / "p.jsonl"
    batch.write_bytes(line)
    done = nacrith("generate", "--batch", batch, "-o", tmp_path / "out")
    assert done.code == 1
    assert done.said(word)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("-p", "a", "--batch", "x"), "exclude"),
        (("x", "--verify", "y"), "exclude"),
        (("-p", "a", "--regex", "a", "--schema", "s"), "exclude"),
        (("-p", "a", "--schema", "absent"), "absent"),
        (("-p", "a", "--ban", ""), "empty"),
        (("-p", "a", "--drafter", "magic"), "magic"),
        (("-p", "a", "--temperature", "-1"), "temperature"),
        (("-p", "a", "--drafter", "lookup", "--learned", "l"), "recycling"),
        (("-p", "a", "--drafter", "skip:99"), "1 to 3"),
        (("-p", "a", "--drafter", "model:absent"), "absent"),
        (("-p", "a", "--drafter", "rsd:nacrith-36m"), "another vocabulary"),
        (("absent",), "absent"),
        (("-p", "a", "-m", "absent"), "absent"),
        (("."), "directory"),
    ],
)
def test_what_is_refused(tmp_path, arguments, word):
    done = nacrith("generate", *arguments, cwd=tmp_path)
    assert done.code in (1, 3)
    assert done.said(word)


def test_models_as_drafters_change_nothing():
    plain = nacrith(*PROMPT, "--drafter", "none", "--json").out
    for name in (f"model:{_tiny()}", f"pearl:{_tiny()}+lookup", "skip:2+lookup", f"rsd:{_tiny()}"):
        done = nacrith(*PROMPT, "--drafter", name, "--json")
        assert done.out == plain
    done = nacrith(*PROMPT, "--drafter", f"rsd:{_tiny()}", "--temperature", "1", "--json")
    assert done.code == 1
    assert done.said("cannot be recorded")


def test_ngrams_are_kept_too(tmp_path):
    for _ in range(2):
        assert nacrith(*PROMPT, "--drafter", "ngram+lookup", "--learned", tmp_path / "l").code == 0
    assert (tmp_path / "l").stat().st_size > 300


def test_a_learned_file_of_another_model_is_left_alone(tmp_path):
    (tmp_path / "l").write_bytes(b"precious")
    done = nacrith(*PROMPT, "--learned", tmp_path / "l")
    assert done.code == 1
    assert done.said("no state")
    assert (tmp_path / "l").read_bytes() == b"precious"


def test_banned_phrases_do_not_come_and_the_record_is_checked(tmp_path):
    plain = nacrith(*PROMPT).out.decode()
    phrase = plain[3:7].upper()
    assert phrase.lower() in plain.lower()
    made = nacrith(*PROMPT, "--ban", phrase)
    assert made.code == 0
    assert made.out
    assert phrase.lower() not in made.out.decode().lower()
    batch, answers = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    batch.write_text(json.dumps({"prompt": "It was late", "banned": [phrase]}))
    assert nacrith("generate", "--batch", batch, "-n", "12", "-o", answers).code == 0
    assert json.loads(answers.read_text())["text"].encode() == made.out
    assert nacrith("generate", "--verify", answers, "-m", _tiny()).code == 0


def test_rules_of_options_and_of_lines(tmp_path):
    pytest.importorskip("llguidance", reason="llguidance is not installed: pip install '.[constraints]'")
    done = nacrith(*PROMPT, "--regex", "[A-Z]{2}[0-9]", "--temperature", "1")
    assert done.code == 0
    assert re.fullmatch(b"[A-Z]{2}[0-9]", done.out)
    schema = tmp_path / "s.json"
    schema.write_text('{"enum": ["on", "off"]}')
    assert json.loads(nacrith(*PROMPT, "--schema", schema).out) in ("on", "off")
    lines = [{"prompt": "A"}, {"prompt": "A", "regex": "[0-9]{3}"}, {"prompt": "A", "schema": {"const": 7}}]
    batch, answers = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    batch.write_text("\n".join(map(json.dumps, lines)))
    assert nacrith("generate", "--batch", batch, "--schema", schema, "-o", answers).code == 0
    texts = [json.loads(line)["text"] for line in answers.read_text().splitlines()]
    assert texts[0] in ('"on"', '"off"')
    assert re.fullmatch("[0-9]{3}", texts[1])
    assert texts[2] == "7"
    assert b"3 answers" in nacrith("generate", "--verify", answers, "-m", _tiny()).out
    for options, word in ((("--regex", "[a-"), "unclosed"), (("--schema", batch), "JSON")):
        done = nacrith(*PROMPT, *options, "-o", tmp_path / "out")
        assert done.code == 1
        assert done.said(word)
        assert not (tmp_path / "out").exists()


def test_a_cautious_answer_is_what_python_gives_and_is_checked(tmp_path):
    options = (*PROMPT, "--cautious", "--temperature", "0.9", "--seed", "2")
    done = nacrith(*options, "--stats")
    assert done.code == 0
    figures = dict(line.split() for line in done.err.splitlines())
    assert figures["tokens"] == "12"
    assert int(figures["trials"]) > 0
    answer = tmp_path / "a.json"
    assert nacrith(*options, "--json", "-o", answer).code == 0
    found = json.loads(answer.read_text())
    assert found["text"].encode() == done.out
    assert nacrith("generate", "--verify", answer, "-m", _tiny()).code == 0
    for change in (
        {"tokens": [*found["tokens"][:-1], found["tokens"][-1] ^ 1]},
        {"cautious": found["cautious"] | {"longest": 1, "trials": 64}},
        {"cautious": {"doubt": 3.0, "trials": 4.5, "longest": 12}},
        {"cautious": []},
        {"cautious": found["cautious"] | {"doubt": -1}},
        {"max_tokens": 10**9},
    ):
        line = json.dumps(found | change).encode()
        done = nacrith("generate", "--verify", "-", "-m", _tiny(), stdin=line)
        assert (done.code, done.out) == (1, b""), change
        assert b"Traceback" not in done.err.encode()


@pytest.mark.parametrize(
    "more", [(), ("--temperature", "1", "--ban", "x"), ("--temperature", "1", "--regex", "x")]
)
def test_what_cannot_be_cautious(more):
    done = nacrith(*PROMPT, "--cautious", *more)
    assert done.code == 1
    assert done.said("--cautious")
