"""Every error that nacrith raises on purpose.

One base class, few subclasses: a caller that wants "anything went wrong with this archive" catches
`NacrithError`; the command line turns a class into an exit code (`exit_code`). A message says what is
wrong, where, and what to do; it never needs a traceback to be understood.
"""

from __future__ import annotations

import contextlib
import pickle


class NacrithError(Exception):
    """Base class. `exit_code` is what the command line returns when this ends a file."""

    exit_code = 1


class CorruptError(NacrithError):
    """The archive's bytes contradict themselves or a check."""


class TruncatedError(CorruptError, EOFError):
    """The archive ends before its end record."""


class UnsupportedFormatError(NacrithError):
    """Not a nacrith archive, or one that needs a newer version."""


class ModelError(NacrithError):
    """A model file or source that cannot be used."""


class ModelMissingError(ModelError):
    """The model that is asked for, or that an archive names, is not on this machine."""

    exit_code = 3


class ModelMismatchError(ModelError):
    """A model is at hand, but not the one that the archive was made with."""

    exit_code = 3


class PromptError(NacrithError):
    """A prompt that cannot be compressed as asked."""


class BudgetError(PromptError):
    """What must be kept of a prompt exceeds its budget."""


def sendable(error: Exception, otherwise: type[NacrithError]) -> NacrithError:
    """`error` as another process can receive it: itself if it is ours and can be pickled; else one of
    `otherwise` that says the same."""
    if isinstance(error, NacrithError):
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return error
    return otherwise(f"a worker fails: {type(error).__name__}: {error}")
