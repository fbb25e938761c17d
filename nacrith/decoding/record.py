"""Recorded answers: what was asked of which model and what it said, as JSON that anybody can check.

An exact model, the prompt's tokens and the sampling determine an answer, so a record is right or wrong, on
any machine and with any engine. Checking enters the recorded tokens in large passes and chooses each anew
from its row, which is several times faster than generating them. Of an answer that banned phrases cut, the
tokens that were taken back are recorded too, since they led to it. A cautious answer is checked by generating
it again, since trials that were dropped decided it too.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from nacrith import jsontext
from nacrith.decoding.cautious import Caution, CautiousAnswer, cautious
from nacrith.decoding.generation import Answer, prompt_ids
from nacrith.decoding.grammar import of_record
from nacrith.decoding.lanes import PREFILL, STUCK, Line, common
from nacrith.decoding.sampling import SAMPLING_VERSION, Sampling
from nacrith.decoding.text import TextStream
from nacrith.errors import DecodingError, ModelMismatchError
from nacrith.models.protocol import LanguageModel, Logits

VERSION = 1

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "nacrith_answer": int,
    "sampling_version": int,
    "model": str,
    "fingerprint": str,
    "prompt": str,
    "prompt_tokens": list,
    "temperature": (int, float),
    "top_k": int,
    "top_p": (int, float),
    "min_p": (int, float),
    "seed": int,
    "max_tokens": int,
    "stop": list,
    "tokens": list,
    "text": str,
    "finish": str,
}


def record(model: LanguageModel, answer: Answer | CautiousAnswer) -> dict[str, Any]:
    """A finished answer as a JSON object. `prompt` is there to be read; `prompt_tokens` is what counts.

    DecodingError for one under a constraint that has no method `record`, and for one that depends on its
    drafter.
    """
    line, s = answer.line, answer.line.sampling
    if not line.coupled:
        raise DecodingError(
            "an answer at a temperature with the drafter rsd cannot be recorded: it depends on the drafter"
        )
    more: dict[str, Any] = {}
    if line.constraint is not None:
        if not hasattr(line.constraint, "record"):
            raise DecodingError("an answer under a constraint of your own cannot be recorded")
        more["constraint"] = line.constraint.record()
    if line.banned.phrases:
        more |= {"banned": list(line.banned.phrases), "taken": line.taken}
    if isinstance(answer, CautiousAnswer):
        more["cautious"] = asdict(answer.caution)
    return {
        "nacrith_answer": VERSION,
        "sampling_version": SAMPLING_VERSION,
        "model": model.name,
        "fingerprint": model.fingerprint.hex(),
        "prompt": model.tokenizer.decode(line.prompt).decode("utf-8", "replace"),
        "prompt_tokens": line.prompt,
        "temperature": s.temperature,
        "top_k": s.top_k,
        "top_p": s.top_p,
        "min_p": s.min_p,
        "seed": s.seed,
        "max_tokens": line.most,
        "stop": list(answer.stop),
        "tokens": answer.tokens,
        "text": answer.text,
        "finish": answer.finish,
        **more,
    }


def parse(line: str | bytes) -> dict[str, Any]:
    """The record in a line of JSON. DecodingError if it is none, or of a newer version."""
    try:
        found = jsontext.parse(line, unique=True)
    except jsontext.JsonError as error:
        raise DecodingError(f"this is no recorded answer: {error}") from None
    if not isinstance(found, dict) or "nacrith_answer" not in found:
        raise DecodingError("this is no recorded answer: it is no object with nacrith_answer")
    if found["nacrith_answer"] != VERSION or found.get("sampling_version") != SAMPLING_VERSION:
        raise DecodingError("the answer was recorded by another version of nacrith; check it with that one")
    for name, kind in _FIELDS.items():
        if not isinstance(found.get(name), kind) or isinstance(found[name], bool):
            raise DecodingError(f"the recorded answer is damaged: {name} is missing or of the wrong type")
    lists = (("prompt_tokens", int), ("tokens", int), ("stop", str), ("banned", str), ("taken", int))
    for name, kind in lists:
        some = found.get(name, [])
        if not isinstance(some, list) or not all(isinstance(item, kind) for item in some):
            raise DecodingError(f"the recorded answer is damaged: {name} is of the wrong type")
    return found


def fingerprint(found: Mapping[str, Any]) -> bytes:
    """The fingerprint of the model that gave a parsed answer."""
    try:
        made = bytes.fromhex(found["fingerprint"])
    except ValueError:
        made = b""
    if len(made) != 32:
        raise DecodingError("the recorded answer is damaged: its fingerprint is no SHA-256")
    return made


def check(model: LanguageModel, found: Mapping[str, Any]) -> None:
    """Check a parsed answer. DecodingError if the model does not give it, or cannot give the same one
    everywhere; ModelMismatchError if it is of another model."""
    if not model.portable:
        raise DecodingError(f"{model.name} computes in floating point: only exact models can be checked")
    if fingerprint(found) != model.fingerprint:
        raise ModelMismatchError(
            f"the answer is by {found['model']} ({found['fingerprint'][:16]}...), and this is {model.name}"
        )
    prompt = found["prompt_tokens"]
    if prompt[:1] != [model.bos_id] or prompt_ids(model, prompt[1:]) != prompt:
        raise DecodingError("the recorded answer is damaged: its prompt does not begin with the start token")
    if model.tokenizer.decode(prompt).decode("utf-8", "replace") != found["prompt"]:
        raise DecodingError("prompt and prompt_tokens of the recorded answer differ")
    try:
        temperature, top_p, min_p = (float(found[name]) for name in ("temperature", "top_p", "min_p"))
    except OverflowError:
        raise DecodingError("the recorded answer is damaged: a number is too large") from None
    sampling = Sampling(temperature, found["top_k"], top_p, min_p, found["seed"])
    stream, rule = TextStream(model.tokenizer, found["stop"]), of_record(found.get("constraint"))
    line = Line(prompt, found["max_tokens"], sampling, stream, rule, found.get("banned", []))
    if "cautious" in found:
        line = _again(model, found, sampling)
    else:
        _replay(model, line, found.get("taken", found["tokens"]), found["finish"] == STUCK)
    if not line.finish or line.finish != found["finish"]:
        raise DecodingError(f"the answer does not end as recorded: {line.finish or 'it goes on'}")
    if line.tokens != found["tokens"]:
        raise DecodingError("the recorded tokens are not those that the model gives")
    if line.stream.text != found["text"]:
        raise DecodingError("the recorded text is not that of the tokens")


def _again(model: LanguageModel, found: Mapping[str, Any], sampling: Sampling) -> Line:
    """The line of a cautious answer, generated as it was, up to where it is another one."""
    how = found["cautious"]
    try:
        caution = Caution(float(how["doubt"]), operator.index(how["trials"]), operator.index(how["longest"]))
    except (TypeError, KeyError, ValueError, OverflowError):
        raise DecodingError("the recorded answer is damaged: cautious is of the wrong type") from None
    prompt, stop = found["prompt_tokens"][1:], found["stop"]
    answer = cautious(
        model, prompt, max_tokens=found["max_tokens"], sampling=sampling, caution=caution, stop=stop
    )
    for _ in answer:
        if answer.tokens != found["tokens"][: len(answer.tokens)]:
            break
    return answer.line


def _replay(model: LanguageModel, line: Line, taken: list[int], stuck: bool) -> None:
    """Take the tokens one by one, each of which has to be the one that the model's row gives. stuck: after
    the last of them there must be none."""
    if taken:
        prompt_ids(model, taken)  # within the vocabulary
    wanted: list[int | None] = [*taken, None] if stuck else [*taken]
    held, done = _Held(model), 0
    while done < len(wanted):
        rows = held.rows([*line.prompt, *line.tokens], taken[done : done + PREFILL])
        undone = line.banned.undone
        for row, token in zip(rows, wanted[done:], strict=False):
            if line.finish:
                raise DecodingError(f"the recorded answer goes on behind its end, at token {done + 1}")
            chosen = line.choose(row, (), model)
            if chosen != token:
                raise DecodingError(
                    f"token {done + 1} is not what the model gives here: {chosen}, not {token}"
                )
            done += 1
            if chosen is None:
                line.finish = STUCK
                line.end()
                return
            line.take(chosen, model)
            if line.banned.undone > undone:
                break


class _Held:
    """A session of one lane, and the tokens in it."""

    def __init__(self, model: LanguageModel) -> None:
        self._session = model.session()
        self._ids: list[int] = []

    def rows(self, text: list[int], ahead: list[int]) -> list[Logits]:
        """The rows that follow `text` and each of the tokens that go on from it, but for the last row if
        there are PREFILL of these."""
        first, wanted = len(text) - 1, [*text, *ahead[: PREFILL - 1]]
        if len(self._ids) > first or self._ids != text[: len(self._ids)]:
            self._go_back(common(self._ids, text[:-1]))
        out: list[Logits] = []
        while (done := len(self._ids)) < len(wanted):
            part = wanted[done : done + PREFILL]
            rows = self._session.extend([part])[0]
            self._ids += part
            out += list(rows[max(0, first - done) :])
        return out

    def _go_back(self, length: int) -> None:
        try:
            self._session.rollback(0, length)
        except ValueError:  # the window has moved on; nothing at all can always be kept
            length = 0
            self._session.rollback(0, 0)
        del self._ids[length:]
