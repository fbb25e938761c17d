"""Scorers by name. The dependencies of a scorer (numpy, a language model, torch) are imported when it is
made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nacrith.errors import PromptError

if TYPE_CHECKING:
    from nacrith.models.protocol import LanguageModel
    from nacrith.prompt.scorers.protocol import Scorer

LANGUAGE_MODEL = ("self-information", "attribution", "attribution-sentence", "question", "question-yes-no")
"""Scorers that need a language model."""

NAMES = ("lexrank", "classifier", *LANGUAGE_MODEL, "random", "truncate")
AUTO = "auto"
"""Stands for `auto.AutoScorer`, which `PromptCompressor` creates for this name."""

MODEL_SUFFIX = ".npz"
"""Suffix of the files that `nacrith train-prompt` writes."""


def make(
    name: str,
    *,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    seed: int = 0,
    download: bool = False,
) -> Scorer:
    """The scorer of a name.

    model: for the language-model scorers a model's name, file or loaded model (None: the default); for
    "classifier" the directory of a token-classification checkpoint, its name on the hub, or a file of
    `nacrith train-prompt` (None: the one that the package ships). seed: of "random". download: whether a
    checkpoint may be downloaded from the hub.
    """
    name = name.replace("_", "-").lower()
    if name == "lexrank":
        from nacrith.prompt.scorers.lexrank import LexRankScorer

        return LexRankScorer()
    if name == "random":
        from nacrith.prompt.scorers.controls import RandomScorer

        return RandomScorer(seed)
    if name == "truncate":
        from nacrith.prompt.scorers.controls import TruncateScorer

        return TruncateScorer()
    if name == "classifier":
        if model is not None and not isinstance(model, str):
            raise PromptError("the scorer classifier takes the path of its checkpoint as its model")
        if model is None or Path(model).suffix == MODEL_SUFFIX:
            from nacrith.prompt.scorers.builtin import WordScorer

            return WordScorer(Path(model) if model else None, threads=threads)
        from nacrith.prompt.scorers.classifier import ClassifierScorer

        return ClassifierScorer(model, threads=threads, download=download)
    if name in LANGUAGE_MODEL:
        loaded: Any = model
        if model is None or isinstance(model, str):
            from nacrith.models import load_model, store

            loaded = load_model(model or store.preferred(large=True), threads=threads)
        if name.startswith("attribution"):
            from nacrith.prompt.scorers.attribution import AttributionScorer

            return AttributionScorer(loaded, by_sentence=name == "attribution-sentence")
        from nacrith.prompt.scorers.language_model import QuestionScorer, SelfInformationScorer

        if name == "self-information":
            return SelfInformationScorer(loaded)
        return QuestionScorer(loaded, "likelihood" if name == "question" else "yes_no")
    raise PromptError(f"no scorer is called {name!r}; there are {', '.join(NAMES)}")
