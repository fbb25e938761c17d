"""Recorded answers: what was asked of which model and what it said, as JSON that anybody can check.

An exact model, the prompt's tokens and the sampling determine an answer, so a record is right or wrong, on
any machine and with any engine. Checking enters the recorded tokens in large passes and chooses each anew
from its row, which is several times faster than generating them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nacrith import jsontext
from nacrith.decoding.generation import Answer, prompt_ids
from nacrith.decoding.lanes import PREFILL, Line
from nacrith.decoding.sampling import SAMPLING_VERSION, Sampling
from nacrith.decoding.text import TextStream
from nacrith.errors import DecodingError, ModelMismatchError
from nacrith.models.protocol import LanguageModel

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


def record(model: LanguageModel, answer: Answer) -> dict[str, Any]:
    """A finished answer as a JSON object. `prompt` is there to be read; `prompt_tokens` is what counts."""
    if answer.line.constraint is not None:
        raise DecodingError("an answer under a constraint cannot be recorded: a record has no rule")
    if not answer.line.coupled:
        raise DecodingError(
            "an answer at a temperature with the drafter rsd cannot be recorded: it depends on the drafter"
        )
    s = answer.sampling
    return {
        "nacrith_answer": VERSION,
        "sampling_version": SAMPLING_VERSION,
        "model": model.name,
        "fingerprint": model.fingerprint.hex(),
        "prompt": model.tokenizer.decode(answer.prompt).decode("utf-8", "replace"),
        "prompt_tokens": answer.prompt,
        "temperature": s.temperature,
        "top_k": s.top_k,
        "top_p": s.top_p,
        "min_p": s.min_p,
        "seed": s.seed,
        "max_tokens": answer.most,
        "stop": list(answer.stop),
        "tokens": answer.tokens,
        "text": answer.text,
        "finish": answer.finish,
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
    for name, kind in (("prompt_tokens", int), ("tokens", int), ("stop", str)):
        if not all(isinstance(item, kind) for item in found[name]):
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
    line = Line(prompt, found["max_tokens"], sampling, TextStream(model.tokenizer, found["stop"]))
    _replay(model, line, found["tokens"])
    if not line.finish or line.finish != found["finish"]:
        raise DecodingError(f"the answer does not end as recorded: {line.finish or 'it goes on'}")
    if line.stream.text != found["text"]:
        raise DecodingError("the recorded text is not that of the tokens")


def _replay(model: LanguageModel, line: Line, tokens: list[int]) -> None:
    """Take the tokens one by one, each of which has to be the one that the model's row gives."""
    if tokens:
        prompt_ids(model, tokens)  # within the vocabulary
    ids = [*line.prompt, *tokens]
    session, first = model.session(), len(line.prompt) - 1
    for begin in range(0, len(ids) - 1, PREFILL):
        part = ids[begin : min(begin + PREFILL, len(ids) - 1)]
        for place, row in enumerate(session.extend([part])[0], begin - first):
            if place < 0:
                continue
            if line.finish:
                raise DecodingError(f"the recorded answer goes on behind its end, at token {place + 1}")
            chosen = line.choose(row, (), model)
            if chosen != tokens[place]:
                raise DecodingError(
                    f"token {place + 1} is not what the model gives here: {chosen}, not {tokens[place]}"
                )
            line.take(chosen, model)
