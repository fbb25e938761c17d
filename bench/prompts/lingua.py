"""The classifier scorer against LLMLingua-2's own code, same checkpoint, same documents, agreeing settings.

    python -m bench.prompts.lingua --data DIR (--checkpoint DIR | --bert DIR) [--documents N] [--long N]

Needs llmlingua 0.2.2 (pip install llmlingua==0.2.2). --checkpoint is a BERT for token classification;
--bert is any BERT directory, which gets a head drawn at random: what is compared is everything around the
model. DIR holds squad11.tokenised-val4k.jsonl.xz (--documents of its paragraphs, at most one window each)
and sentcomp.eval10k.jsonl.xz (--long documents of 60 sentences, several windows).

Settings that agree: no forced tokens, a word's probability is the mean of its pieces, every word counts as
one token (llmlingua would download gpt-3.5's tokenizer), the threshold is the one that llmlingua takes from
its percentile. Each difference has a cause, told from the pieces:

  word cut up      llmlingua begins a word at every piece without ##, so it decides on the parts of
                   "18-year-old" apart and may keep a part
  unknown dropped  llmlingua skips special tokens and takes [UNK] for one: such words go, whatever their score
  window           llmlingua cuts at a full stop or anywhere within 510 pieces and takes a threshold for each
                   window; ours cuts between sentences and has one threshold. Only where there are several.
  last digits      the probabilities lie within 1e-5 of the threshold

Time is in milliseconds of one thread's processor time for a document, that of the model's forward pass taken
out everywhere: llmlingua's whole call; ours up to the scores of all words; the whole result at a threshold;
the whole result with the budget met to the token, which llmlingua does not attempt.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench.common import DATA_VARIABLE
from nacrith.prompt import Compressed, PromptCompressor
from nacrith.prompt.scorers.classifier import ClassifierScorer
from nacrith.prompt.segment import WORD, passage

_NAME = "bert-base-multilingual-cased"  # llmlingua takes the rule for words from the name
_WINDOW = 500  # pieces; llmlingua's is 510
_TIE = 1e-5
_SENTENCES = 60  # of a long document
_SEPARATOR, _LABEL = "\t\t|\t\t", " "


class OneToken:
    """Stands for gpt-3.5's tokenizer: a word is one token."""

    @staticmethod
    def encode(text: str) -> list[int]:
        return [0]


class Timed:
    """A model's forward pass, and the processor seconds spent in it."""

    def __init__(self, model: Any) -> None:
        self.seconds = 0.0
        self._forward = model.forward
        model.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begin = time.process_time()
        try:
            return self._forward(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - begin


def make_checkpoint(bert: Path, target: Path) -> None:
    """A token classifier of a BERT's first layer and a head drawn at random."""
    import torch
    from transformers import AutoTokenizer, BertForTokenClassification

    torch.manual_seed(0)
    model = BertForTokenClassification.from_pretrained(bert, num_labels=2, num_hidden_layers=1)
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.3)
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(bert).save_pretrained(target)


def documents(
    folder: Path, count: int, long: int, pieces: Callable[[str], int]
) -> tuple[list[str], list[str]]:
    """Paragraphs that fit one window, and longer texts of sentences."""
    with lzma.open(folder / "squad11.tokenised-val4k.jsonl.xz", "rt", encoding="utf-8") as file:
        every = sorted({_joined(json.loads(line)["context"]) for line in file})
    random.Random(0).shuffle(every)
    short = [text for text in every if pieces(text) <= _WINDOW][:count]
    with lzma.open(folder / "sentcomp.eval10k.jsonl.xz", "rt", encoding="utf-8") as file:
        rows = [" ".join(json.loads(line)["words"]) for line in file]
    random.Random(1).shuffle(rows)
    return short, [" ".join(rows[i * _SENTENCES : (i + 1) * _SENTENCES]) for i in range(long)]


def _joined(words: str | list[str]) -> str:
    return words if isinstance(words, str) else " ".join(words)


def theirs(compressor: Any, text: str, rate: float) -> tuple[list[tuple[str, bool]], list[float]]:
    """llmlingua's words with their fate, and its threshold for each window."""
    cuts: list[float] = []
    percentile = np.percentile

    def record(*args: Any, **kwargs: Any) -> Any:
        cuts.append(float(percentile(*args, **kwargs)))
        return cuts[-1]

    with mock.patch.object(np, "percentile", record):
        found = compressor.compress_prompt_llmlingua2(
            text, rate=rate, return_word_label=True, word_sep=_SEPARATOR, label_sep=_LABEL
        )
    labelled = [item.rpartition(_LABEL) for item in found["fn_labeled_original_prompt"].split(_SEPARATOR)]
    return [(word, label == "1") for word, _, label in labelled], cuts


def compare(
    text: str, tokenizer: Any, result: Compressed, found: list[tuple[str, bool]], cut: float, single: bool
) -> Counter[str]:
    """How our words fare against llmlingua's: Counter of causes, "same" among them."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    for token, (a, b) in zip(tokens, encoded["offset_mapping"], strict=True):
        if token.startswith("##"):
            words[-1] += token[2:]
            spans[-1] = spans[-1][0], b
        else:
            words.append(token)
            spans.append((a, b))
    fate: dict[tuple[int, int], bool] = {}
    matcher = SequenceMatcher(None, words, [word for word, _ in found], autojunk=False)
    for a, b, size in matcher.get_matching_blocks():
        fate |= {spans[a + i]: found[b + i][1] for i in range(size)}
    p = passage(text)
    kept = np.zeros(len(text) + 1, bool)
    for unit in result.units:
        kept[unit.start : unit.end] = unit.kept
    score = {unit.start: unit.score for unit in result.units}
    out: Counter[str] = Counter()
    for a, b, kind in zip(p.starts.tolist(), p.ends.tolist(), p.kinds.tolist(), strict=True):
        if kind != WORD:
            continue
        inside = [s for s in spans if s[0] < b and s[1] > a]
        fates = [fate.get(s) for s in inside]
        if all(f == bool(kept[a]) for f in fates):
            out["same"] += 1
        elif len(inside) > 1:
            out["word cut up"] += 1
        elif fates == [None]:
            out["unknown dropped"] += 1
        elif abs(score[a] - cut) < _TIE:
            out["last digits"] += 1
        else:
            out["other" if single else "window"] += 1
    return out


def seconds(run: Callable[[], Any], forward: Timed) -> tuple[Any, float]:
    """What `run` gives, and its processor seconds outside the forward pass."""
    before, begin = forward.seconds, time.process_time()
    result = run()
    return result, time.process_time() - begin - (forward.seconds - before)


def main() -> None:
    parser = argparse.ArgumentParser(description="the classifier scorer against llmlingua 0.2.2")
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--bert", type=Path)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--long", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.5)
    args = parser.parse_args()
    if args.data is None:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    if (args.checkpoint is None) == (args.bert is None):
        parser.error("give --checkpoint or --bert")
    import torch
    from llmlingua import PromptCompressor as Lingua

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / _NAME
        if args.bert:
            make_checkpoint(args.bert, named)
        else:
            named.symlink_to(args.checkpoint.resolve())
        with mock.patch("tiktoken.encoding_for_model", return_value=OneToken()):
            lingua = Lingua(str(named), device_map="cpu", use_llmlingua2=True)
        scorer = ClassifierScorer(named, threads=1)
    own = PromptCompressor(scorer, lambda text: len(text.split()), protect="none")
    count = lambda text: len(scorer.tokenizer(text, add_special_tokens=False)["input_ids"])  # noqa: E731
    short, long = documents(args.data, args.documents, args.long, count)
    ours_time, theirs_time = Timed(scorer.model), Timed(lingua.model)
    for run in (lambda: theirs(lingua, short[0], args.rate), lambda: own.compress(short[0])):
        run()  # what happens at the first call only
    print("| documents | words | same | causes of the others | llmlingua | scores | threshold | budget |")
    print("|---|" + "---:|" * 7)
    for name, texts in ((f"{len(short)} of one window", short), (f"{len(long)} of several", long)):
        if not texts:
            continue
        total: Counter[str] = Counter()
        spent = np.zeros(4)
        for text in texts:
            (found, cuts), a = seconds(lambda text=text: theirs(lingua, text, args.rate), theirs_time)
            cut = float(np.nextafter(np.median(cuts), 1))
            _, b = seconds(lambda text=text: scorer.score([passage(text)], ""), ours_time)
            result, c = seconds(lambda text=text, cut=cut: own.compress(text, threshold=cut), ours_time)
            _, d = seconds(lambda text=text: own.compress(text, rate=args.rate), ours_time)
            spent += (a, b, c, d)
            total += compare(text, scorer.tokenizer, result, found, cut, len(cuts) == 1)
        same, others = total.pop("same", 0), total.total()
        causes = ", ".join(f"{cause} {n}" for cause, n in total.most_common()) or "none"
        times = " | ".join(f"{1e3 * x / len(texts):.2f}" for x in spent)
        print(f"| {name} | {same + others} | {same / (same + others):.2%} | {causes} | {times} |", flush=True)


if __name__ == "__main__":
    main()
