"""A small model answers questions from a prompt, and how good its answers are, as SQuAD counts it.

The answers are greedy: the most likely token at each step, of exact integers, so that every machine gives
the same ones. F1 is that of SQuAD's evaluation (Rajpurkar et al. 2016): over the words that answer and gold
answer share, without case, punctuation and articles; of several gold answers the best counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from nacrith.models.protocol import LanguageModel

MOST = 16
"""Tokens of an answer."""

_LANES = 8  # decoded side by side
_CHUNK = 256  # tokens read at a time: rows of the vocabulary take 200 KB each
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_EXAMPLES = (
    (
        "The harbour of Norvik was built of granite between 1871 and 1884. Its engineer was Anna Berg.",
        "Who was the engineer of the harbour of Norvik?",
        "Anna Berg",
    ),
    (
        "Bees visit flowers to collect nectar, from which they make honey. In winter they stay in the hive.",
        "What do bees make from nectar?",
        "honey",
    ),
    (
        "The company moved from Leeds to London in 1993, because rents had risen by 40 percent.",
        "When did the company move to London?",
        "1993",
    ),
)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def plain_words(answer: str) -> list[str]:
    """The words that count."""
    return _ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split()


def token_f1(answer: str, gold: Sequence[str]) -> float:
    """F1 against the gold answer that fits best; no words are right where none are wanted."""
    return max(_f1(plain_words(answer), plain_words(g)) for g in gold)


def _f1(mine: Sequence[str], wanted: Sequence[str]) -> float:
    if not mine or not wanted:
        return float(mine == wanted)
    shared = (Counter(mine) & Counter(wanted)).total()
    return 2 * shared / (len(mine) + len(wanted))


class Reader:
    """Asks a language model questions about texts, after a few examples.

    The examples say what an answer looks like. In its own chat format SmolLM2-135M-Instruct answers in
    sentences that say the question again, and its F1 is lower.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    def prompt(self, text: str, question: str) -> list[int]:
        """Token ids; what looks like a special token in `text` is text."""
        turns = [f"Context: {t}\nQuestion: {q}\nAnswer: {a}\n\n" for t, q, a in _EXAMPLES]
        turns.append(f"Context: {text}\nQuestion: {question}\nAnswer:")
        return [self.model.bos_id, *self.model.tokenizer.encode("".join(turns).encode())]

    def answers(self, prompts: Sequence[list[int]]) -> list[str]:
        """What the model says to each, up to the end of its first line."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # lanes of like length
        out = [""] * len(prompts)
        for begin in range(0, len(order), _LANES):
            some = order[begin : begin + _LANES]
            for i, answer in zip(some, self._together([prompts[i] for i in some]), strict=True):
                out[i] = answer
        return out

    def _together(self, prompts: Sequence[list[int]]) -> list[str]:
        lanes = len(prompts)
        longest = max(map(len, prompts)) + MOST
        session = self.model.session(lanes, min(self.model.max_context, longest))
        last: list[np.ndarray | None] = [None] * lanes  # rows that predict the next token
        for lane, ids in enumerate(prompts):
            for begin in range(0, len(ids), _CHUNK):
                feed: list[list[int]] = [[] for _ in range(lanes)]
                feed[lane] = ids[begin : begin + _CHUNK]
                last[lane] = session.extend(feed)[lane][-1].copy()
        said: list[list[int]] = [[] for _ in range(lanes)]
        while True:
            steps: list[list[int]] = [[] for _ in range(lanes)]
            for lane, row in enumerate(last):
                token = None if row is None else int(row.argmax())
                if token is None or self._ends(said[lane], token):
                    last[lane] = None
                else:
                    said[lane].append(token)
                    steps[lane] = [token]
            if not any(steps):
                return [self._text(ids).strip().partition("\n")[0] for ids in said]
            rows = session.extend(steps)
            last = [row if row is None else rows[lane][-1] for lane, row in enumerate(last)]

    def _ends(self, said: Sequence[int], token: int) -> bool:
        """Whether an answer ends before this token: it is long enough, or its line is over, or the token is
        a special one, which stands for no bytes."""
        return len(said) == MOST or "\n" in self._text(said).lstrip() or not self._text([token])

    def _text(self, ids: Sequence[int]) -> str:
        return self.model.tokenizer.decode(ids).decode("utf-8", "replace")
