"""All errors that nacrith raises on purpose.

There is one base class, so that a caller can catch every failure as `NacrithError`, and a few subclasses. The
command line uses `exit_code` of the class. A message says what is wrong, where, and what to do, and can be
understood without a traceback.
"""

from __future__ import annotations

import contextlib


class NacrithError(Exception):
    """The base class. exit_code: the exit status of the command line if this error ends a file."""

    exit_code = 1


class CorruptError(NacrithError):
    """The archive is damaged: its bytes contradict each other or a checksum."""


class TruncatedError(CorruptError, EOFError):
    """The archive ends before its end record."""


class UnsupportedFormatError(NacrithError):
    """The input is not a nacrith archive, or needs a newer version of nacrith."""


class ModelError(NacrithError):
    """A model file or model source cannot be used."""


class ModelMissingError(ModelError):
    """The requested model, or the model that an archive names, is not installed on this machine."""

    exit_code = 3


class ModelMismatchError(ModelError):
    """The model given differs from the one that the archive was made with."""

    exit_code = 3


class PrefixError(NacrithError):
    """The archive was made after a prefix that is not given, or the one given is another."""

    exit_code = 3


class PromptError(NacrithError):
    """A prompt cannot be compressed as requested."""


class BudgetError(PromptError):
    """What must be kept of a prompt exceeds its budget. smallest: the least number of tokens that works."""

    def __init__(self, message: str, smallest: int | None = None) -> None:
        super().__init__(message)
        self.smallest = smallest


class DecodingError(NacrithError):
    """Text cannot be generated as requested, or a recorded answer cannot be checked or is not the model's."""


def sendable(error: Exception, otherwise: type[NacrithError]) -> NacrithError:
    """Convert `error` for sending to another process.

    The result is `error` itself if it is a NacrithError and can be pickled, else an `otherwise` with the same
    message.
    """
    if isinstance(error, NacrithError):
        import pickle

        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return error
    return otherwise(f"a worker fails: {type(error).__name__}: {error}")
