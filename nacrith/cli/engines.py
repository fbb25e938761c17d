"""The codec for a command: the model that -m or NACRITH_MODEL names, or the default.

A model from the environment is a preference, not an order: where it cannot be used, a warning is
given and the default (for decoding: the model that the archive names) is taken. -m is an order.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive.blockcodec import CodecId
from nacrith.archive.scan import scan
from nacrith.cli import signals
from nacrith.cli.console import Console
from nacrith.cli.inputs import Input
from nacrith.cli.options import Settings
from nacrith.errors import ModelError, NacrithError

if TYPE_CHECKING:
    from nacrith.codec.model_codec import ModelCodec


def content_size(source: Input) -> int | None:
    """Content bytes of the archive, for the progress bar, where a file can be looked through."""
    if not source.regular:
        return None
    try:
        return sum(stream.content_size for stream in scan(source.file))
    except NacrithError:
        return None  # whoever reads it will say what is wrong
    finally:
        source.file.seek(0)


def encoder(settings: Settings) -> ModelCodec:
    """The codec to compress with."""
    show_log(settings.console)
    encoding = partial(loaded.for_encoding, threads=settings.threads, backend=settings.backend)
    try:
        return encoding(settings.level, settings.model)
    except ModelError as error:
        if settings.model is None or not settings.model_is_default or settings.backend is not None:
            raise
        settings.console.warning(f"NACRITH_MODEL is ignored: {error}")
    return encoding(settings.level, None)


def decoder(settings: Settings, codec_id: CodecId) -> ModelCodec:
    """The codec that an archive names."""
    show_log(settings.console)
    decoding = partial(
        loaded.for_decoding,
        codec_id,
        threads=settings.threads,
        backend=settings.backend,
        force=settings.force_backend,
    )
    if settings.model is not None and settings.model_is_default:
        try:
            return decoding(settings.model)
        except ModelError as error:
            settings.console.note(f"NACRITH_MODEL is ignored: {error}")
        return decoding(None)
    return decoding(settings.model)


def discard_conversion() -> None:
    """Remove the model file that this process is writing, if it is; for when a signal ends it."""
    store = sys.modules.get("nacrith.models.store")
    if store is not None:
        store.discard_temporaries()


def show_log(console: Console) -> None:
    """Show the library's messages (a model is being converted, once) to the user, and be ready for the
    user's impatience."""
    import logging

    class Relay(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.warning(record.getMessage())

    signals.before_death.add(discard_conversion)
    log = logging.getLogger("nacrith")
    log.setLevel(logging.INFO)
    log.handlers[:] = [Relay()]
