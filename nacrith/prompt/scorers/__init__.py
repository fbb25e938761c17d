"""Scorers by name. What a scorer needs (numpy, a language model, torch) is imported when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nacrith.errors import PromptError

if TYPE_CHECKING:
    from nacrith.models.protocol import LanguageModel
    from nacrith.prompt.scorers.protocol import Scorer

NAMES = ("lexrank", "self-information", "question", "question-yes-no", "classifier", "random", "truncate")
DEFAULT = "lexrank"


def make(
    name: str = DEFAULT,
    *,
    model: str | LanguageModel | None = None,
    threads: int | None = None,
    seed: int = 0,
) -> Scorer:
    """The scorer of a name.

    model: for the language-model scorers a model's name, file or loaded model (None: the default); for
    "classifier" the directory of a token-classification checkpoint. seed: of "random".
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
        from nacrith.prompt.scorers.classifier import ClassifierScorer

        if not isinstance(model, str):
            raise PromptError("the scorer classifier needs the directory of its checkpoint as its model")
        return ClassifierScorer(model, threads=threads)
    if name in NAMES:
        from nacrith.prompt.scorers.language_model import QuestionScorer, SelfInformationScorer

        loaded: Any = model
        if model is None or isinstance(model, str):
            from nacrith.models import load_model

            loaded = load_model(model, threads=threads)
        if name == "self-information":
            return SelfInformationScorer(loaded)
        return QuestionScorer(loaded, "likelihood" if name == "question" else "yes_no")
    raise PromptError(f"no scorer is called {name!r}; there are {', '.join(NAMES)}")
