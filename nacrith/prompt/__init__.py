"""Prompt compression: drops parts of a prompt to meet a token budget, and keeps spans of the original.

    from nacrith.prompt import compress_prompt
    compress_prompt(long_text, question="Who?", target_token=500, tokenizer="tokenizer.json")

A scorer ranks words or sentences; a contract says what is kept regardless of its score; the output is
counted with the reader's tokenizer. It is lossy, unlike the rest of nacrith, and shares only the language
model with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nacrith.errors import BudgetError, PromptError

if TYPE_CHECKING:
    from nacrith.prompt.compress import PromptCompressor
    from nacrith.prompt.counters import counter
    from nacrith.prompt.lingua import compress_messages, compress_prompt
    from nacrith.prompt.result import Compressed, Span
    from nacrith.prompt.scorers.protocol import Scorer

__all__ = [
    "BudgetError",
    "Compressed",
    "PromptCompressor",
    "PromptError",
    "Scorer",
    "Span",
    "compress_messages",
    "compress_prompt",
    "counter",
]

_HOME = {
    "Compressed": "result",
    "PromptCompressor": "compress",
    "Scorer": "scorers.protocol",
    "Span": "result",
    "compress_messages": "lingua",
    "compress_prompt": "lingua",
    "counter": "counters",
}
"""Module and name of each attribute that is imported at its first use, since the command line imports
this package."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nacrith.prompt' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nacrith.prompt.{_HOME[name]}"), name)
    globals()[name] = value
    return value
