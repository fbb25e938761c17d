"""Scorers that use the codec's language model: the self-information of words, the relevance of sentences.

Self-information: Li et al. 2023, "Compressing Context to Enhance Inference Efficiency of Large Language
Models" (Selective Context), except that every word is predicted from all of the text before it (within
the window), not only from its own sentence. Sentences: query likelihood as in Sachan et al. 2022,
"Improving Passage Retrieval with Zero-Shot Question Generation", or the question of Hwang et al. 2024
(EXIT), whether the sentence helps to answer. The common prefix of the sentences is computed once; each
sentence is a branch after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from nacrith.arith import F64
from nacrith.errors import PromptError
from nacrith.models.protocol import LOGIT_BITS, LanguageModel, Logits, Session
from nacrith.prompt.segment import I64, Passage

_ROWS = 64  # rows of the vocabulary that are float64 at a time
_BRANCHES = 192  # rows of one tree: bounds memory
_LONGEST = 96  # most tokens of a sentence in a branch


def code_lengths(rows: Logits, targets: Sequence[int]) -> F64:
    """Bits of each target under the row of fixed-point log2 weights that predicts it."""
    out = np.empty(len(targets))
    ids = np.asarray(targets, np.int64)
    for begin in range(0, len(out), _ROWS):
        part = rows[begin : begin + _ROWS].astype(np.float64) / (1 << LOGIT_BITS)
        top = part.max(axis=1)
        total = np.log2(np.exp2(part - top[:, None]).sum(axis=1)) + top
        out[begin : begin + _ROWS] = total - part[np.arange(len(part)), ids[begin : begin + _ROWS]]
    return out


class SelfInformationScorer:
    """Bits per token of a unit, with all preceding passages as context.

    window: tokens of context, at most the model's own limit; time grows with it.
    """

    name = "self-information"
    by_sentence = False
    causal = True

    def __init__(self, model: LanguageModel, window: int = 1024) -> None:
        self.model = model
        self.window = min(window, model.max_context)

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        separator = b"\n\n"
        texts = [p.text.encode() for p in passages]
        data = separator.join(texts)
        ids, ends = token_ends(self.model, data)
        bits = self._bits(ids)
        out = []
        base = 0
        for p, text in zip(passages, texts, strict=True):
            out.append(_per_unit(p, bits, ends, base))
            base += len(text) + len(separator)
        return out

    def _bits(self, ids: list[int]) -> F64:
        """Bits of each token. A full lane is continued by a new one that starts half a window earlier."""
        model = self.model
        room = model.max_length - 1
        out: list[F64] = []
        done = 0
        while done < len(ids):
            session = model.session(1, self.window)
            begin = max(0, done - self.window // 2) if done else 0
            end = min(len(ids), begin + room)
            fed = [model.bos_id, *ids[begin : end - 1]]
            for a in range(0, len(fed), _ROWS):
                rows = session.extend([fed[a : a + _ROWS]])[0]
                skip = max(0, done - begin - a)
                if skip < len(rows):
                    out.append(code_lengths(rows[skip:], ids[begin + a + skip : begin + a + len(rows)]))
            done = end
        return np.concatenate([np.empty(0), *out])


def token_ends(model: LanguageModel, data: bytes) -> tuple[list[int], I64]:
    """Ids and, for each, the number of bytes up to its end."""
    tokenizer = model.tokenizer
    ids = list(tokenizer.encode(data))
    sizes = [len(tokenizer.decode([i])) for i in ids]
    if sum(sizes) == len(data):
        return ids, np.cumsum(sizes)
    # Some bytes are several tokens, which cannot be decoded separately: decode each prefix of the ids.
    ends = []
    waiting: list[int] = []
    done = 0
    for i in ids:
        waiting.append(i)
        made = tokenizer.decode(waiting)
        if made and data.startswith(made, done):
            done += len(made)
            waiting = []
        ends.append(done)
    return ids, np.array(ends, np.int64)


def byte_offsets(text: str) -> I64:
    """(len(text) + 1,) UTF-8 offsets of each character and of the end."""
    widths = np.array([len(c.encode()) for c in text], np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(widths)])


def _per_unit(p: Passage, bits: F64, ends: I64, base: int) -> F64:
    """Mean bits of the tokens of each unit; a token counts for a unit in proportion to its bytes there.

    ends: of each token. base: byte offset of the passage.
    """
    if not len(p):
        return np.empty(0)
    at = byte_offsets(p.text) + base
    owner = np.full(int(at[-1]) + 1, -1, np.int64)  # the unit of each byte
    for i, (a, b) in enumerate(zip(at[p.starts].tolist(), at[p.ends].tolist(), strict=True)):
        owner[a:b] = i
    token = np.searchsorted(ends, np.arange(base, int(at[-1])), "right")  # the token of each byte
    unit = owner[base : int(at[-1])]
    inside = unit >= 0
    token, unit = token[inside], unit[inside]
    share = 1.0 / np.bincount(token, minlength=len(bits))[token]
    total = np.bincount(unit, bits[token] * share, len(p))
    return total / np.bincount(unit, share, len(p))


class QuestionScorer:
    """Scores sentences by their relevance to the query.

    ask: "likelihood": bits of the query that a sentence saves (per token of the query), which works with
    a small model without special training; "yes_no": the probability of "Yes" to the question whether it
    helps, asked with the surrounding text, for models that follow instructions.
    """

    by_sentence = True
    causal = False

    def __init__(self, model: LanguageModel, ask: Literal["likelihood", "yes_no"] = "likelihood") -> None:
        self.model = model
        self.ask = ask
        self.name = "question" if ask == "likelihood" else "question-yes-no"

    def score(self, passages: Sequence[Passage], query: str) -> list[F64]:
        texts = [[p.sentence_text(i) for i in range(len(p.sentences))] for p in passages]
        if not query.strip():
            raise PromptError(f"the scorer {self.name} needs a query: give one, or take another scorer")
        if self.ask == "likelihood":
            return [bits_saved(self.model, t, query) / len(_asked(self.model, query)) for t in texts]
        return [self._yes_no(t, query) for t in texts]

    def _yes_no(self, sentences: list[str], query: str) -> F64:
        model = self.model
        answers = [_encode(model, word) for word in (" Yes", " No")]
        same = next((i for i, (a, b) in enumerate(zip(*answers, strict=False)) if a != b), 0)
        yes, no = (answer[same] for answer in answers)  # at the first token where the two differ
        room = model.max_context // 2
        out: list[float] = []
        first = 0
        while first < len(sentences):
            context: list[int] = []
            last = first
            while last < len(sentences):
                more = _encode(model, sentences[last] + " ")
                if context and len(context) + len(more) > room:
                    break
                context += more[:room]
                last += 1
            session = model.session()
            head = _encode(model, f"Question: {query.strip()}\nText: ")
            session.extend([[model.bos_id, *head, *context]])
            tails = [
                [
                    *_encode(model, f"\nSentence: {s}")[:_LONGEST],
                    *_encode(model, "\nDoes this sentence help to answer the question? Answer Yes or No:"),
                    *answers[0][:same],
                ]
                for s in sentences[first:last]
            ]
            for rows in _branches(session, tails):
                bits = code_lengths(rows[[-1, -1]], [yes, no])
                out.append(float(1 / (1 + np.exp2(bits[0] - bits[1]))))
            first = last
        return np.array(out)


def bits_saved(model: LanguageModel, sentences: Sequence[str], query: str) -> F64:
    """Bits of the query that each sentence saves: bits of the query alone minus bits after the sentence."""
    session = model.session()
    session.extend([[model.bos_id, *_encode(model, "Passage:")]])
    asked = _asked(model, query)
    link = _encode(model, "\nQuestion:")
    tails = [[*_encode(model, f" {s}")[:_LONGEST], *link] for s in sentences]
    rows = _branches(session, [[*link, *asked], *([*t, *asked] for t in tails)])
    bits = []
    for found, before in zip(rows, [link, *tails], strict=True):
        first = len(before) - 1  # the row that predicts the query's first token
        bits.append(code_lengths(found[first : first + len(asked)], asked).sum())
    return bits[0] - np.array(bits[1:])


def _asked(model: LanguageModel, query: str) -> list[int]:
    return _encode(model, f" {query.strip()}")


def _encode(model: LanguageModel, text: str) -> list[int]:
    return list(model.tokenizer.encode(text.encode()))


def _branches(session: Session, branches: Sequence[Sequence[int]]) -> Iterator[Logits]:
    """The rows of each branch after the tokens of lane 0, which does not change."""
    todo = deque(branches)
    while todo:
        batch = [todo.popleft()]
        while todo and sum(map(len, batch)) + len(todo[0]) <= _BRANCHES:
            batch.append(todo.popleft())
        tokens: list[int] = []
        parents: list[int] = []
        for branch in batch:
            parents += [-1, *range(len(tokens), len(tokens) + len(branch) - 1)]
            tokens += branch
        rows = session.extend_tree([tokens], [parents])[0]
        yield from np.split(rows, np.cumsum([len(b) for b in batch])[:-1])
