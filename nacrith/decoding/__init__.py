"""Generating text: several tokens a pass of the model, and not one bit of the answer changed.

`generate` streams an answer, `generate_all` works on many. Drafters guess tokens, a pass verifies them, and
what is accepted is exactly what plain decoding would have chosen (`lanes`). `record` writes answers down so
that anybody with the model can check them.
"""

from __future__ import annotations

from nacrith.decoding.cautious import Caution, CautiousAnswer, cautious
from nacrith.decoding.constraint import Constraint
from nacrith.decoding.drafters import Drafter, DraftModel, Lookup, NGram, Recycling
from nacrith.decoding.generation import Answer, Statistics, generate, generate_all
from nacrith.decoding.grammar import Regex, Schema
from nacrith.decoding.jsonrule import Json
from nacrith.decoding.sampling import Sampling

__all__ = [
    "Answer",
    "Caution",
    "CautiousAnswer",
    "Constraint",
    "DraftModel",
    "Drafter",
    "Json",
    "Lookup",
    "NGram",
    "Recycling",
    "Regex",
    "Sampling",
    "Schema",
    "Statistics",
    "cautious",
    "generate",
    "generate_all",
]
