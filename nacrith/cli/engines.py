"""The codec for a command: the model that -m or NACRITH_MODEL names, or the default.

A model from the environment is a preference, not an order: where it cannot be used, a warning is
given and the default (for decoding: the model that the archive names) is taken. -m is an order.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive.blockcodec import BlockCodec, CodecId
from nacrith.archive.scan import scan
from nacrith.cli import signals
from nacrith.cli.console import Console
from nacrith.cli.inputs import Input
from nacrith.cli.options import Settings
from nacrith.errors import ModelError, NacrithError
from nacrith.jobs import devices

if TYPE_CHECKING:
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.codec.spread import SpreadCodec

_spread: tuple[object, SpreadCodec] | None = None
"""What was spread over GPUs last, and how; kept for the next file."""


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


def encoder(settings: Settings) -> BlockCodec:
    """The codec to compress with."""
    show_log(settings.console)

    def encoding(model: str | None) -> BlockCodec:
        return _running(
            partial(loaded.for_encoding, settings.level, model, backend=settings.backend), settings
        )

    try:
        return encoding(settings.model)
    except ModelError as error:
        if settings.model is None or not settings.model_is_default or settings.backend is not None:
            raise
        settings.console.warning(f"NACRITH_MODEL is ignored: {error}")
    return encoding(None)


def decoder(settings: Settings, codec_id: CodecId) -> BlockCodec:
    """The codec that an archive names."""
    show_log(settings.console)

    def decoding(model: str | None) -> BlockCodec:
        backend, force = settings.backend, settings.force_backend
        return _running(partial(loaded.for_decoding, codec_id, model, backend=backend, force=force), settings)

    if settings.model is not None and settings.model_is_default:
        try:
            return decoding(settings.model)
        except ModelError as error:
            settings.console.note(f"NACRITH_MODEL is ignored: {error}")
        return decoding(None)
    return decoding(settings.model)


def _running(how: partial[ModelCodec], settings: Settings) -> BlockCodec:
    """The codec that `how` makes, in this process, or over the GPUs that --device names."""
    global _spread
    if settings.device is None:
        return how(threads=settings.threads)
    if settings.device == "cpu":
        os.environ["NACRITH_DEVICE"] = "cpu"
        return how(threads=settings.threads)
    from nacrith.codec.spread import SpreadCodec

    key = (how.func, how.args, how.keywords, settings.device, settings.threads)
    if _spread is None or _spread[0] != key or not _spread[1].usable:
        forget_workers()
        found = devices.gpus(settings.device, os.environ)
        environments = devices.on_gpus(found, settings.threads or devices.cores())
        codec = SpreadCodec(partial(_in_worker, how), environments)
        signals.before_death.add(codec.stop)
        _spread = key, codec
    return _spread[1]


def forget_workers() -> None:
    """End the processes that content was spread over last."""
    global _spread
    if _spread is not None:
        signals.before_death.discard(_spread[1].stop)
        _spread[1].stop()
        _spread = None


def _in_worker(how: partial[ModelCodec]) -> BlockCodec:
    return how(threads=int(os.environ["NACRITH_THREADS"]))


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
