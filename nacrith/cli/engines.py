"""The codec for a command: the model that -m or NACRITH_MODEL names, or the default.

A model from the environment is a preference, not an order: where it cannot be used, a warning is
given and the default (for decoding: the model that the archive names) is taken. -m is an order.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive.blockcodec import BlockCodec, CodecId
from nacrith.archive.scan import each_stream
from nacrith.cli import signals
from nacrith.cli.console import Console
from nacrith.cli.inputs import Input
from nacrith.cli.options import Settings
from nacrith.cores import usable_cores
from nacrith.errors import ModelError, NacrithError
from nacrith.fallback import CODECS
from nacrith.jobs import devices
from nacrith.settings import EXACT, Resources

if TYPE_CHECKING:
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.codec.spread import SpreadCodec

_spread: tuple[object, SpreadCodec] | None = None
"""What content was spread over last, and how; kept for the next file."""

_SHARE = 1 << 15
"""Bytes of content that are worth a process more where numpy computes."""


def content_size(source: Input) -> int | None:
    """Content bytes of the archive, for the progress bar, where a file can be looked through."""
    if not source.regular:
        return None
    start = source.file.tell()  # of standard input, others may have read the head
    try:
        return sum(stream.content_size for stream in each_stream(source.file, CODECS.names))
    except NacrithError:
        return None  # whoever reads it will say what is wrong
    finally:
        source.file.seek(start)


def encoder(settings: Settings, size: int | None = None) -> BlockCodec:
    """The codec to compress with. size: of the content, if it is known."""
    show_log(settings.console)

    def encoding(model: str | None) -> BlockCodec:
        return _running(
            partial(loaded.for_encoding, settings.level, model, backend=settings.backend), settings, size
        )

    try:
        return encoding(settings.model)
    except ModelError as error:
        if settings.model is None or settings.model_required or settings.backend is not None:
            raise
        settings.console.warning(f"NACRITH_MODEL is ignored: {error}")
    return encoding(None)


def decoder(settings: Settings, codec_id: CodecId, size: int | None = None) -> BlockCodec:
    """The codec that an archive names. size: of the content, if it is known."""
    from nacrith.codec.params import CodingParams

    show_log(settings.console)
    if CodingParams.from_bytes(codec_id.params).binding:
        size = None  # to threads too, which are not to be shared out

    def decoding(model: str | None) -> BlockCodec:
        backend, force = settings.backend, settings.force_backend
        how = partial(loaded.for_decoding, codec_id, model, backend=backend, force=force)
        return _running(how, settings, size)

    if settings.model is not None and not settings.model_required:
        try:
            return decoding(settings.model)
        except ModelError as error:
            settings.console.note(f"NACRITH_MODEL is ignored: {error}")
        return decoding(None)
    return decoding(settings.model)


def _running(how: partial[ModelCodec], settings: Settings, size: int | None) -> BlockCodec:
    """The codec that `how` makes: in this process, over the GPUs that --device names, or, where numpy
    computes and much of the work is Python's, over processes on the cores."""
    global _spread
    if settings.device == "cpu":
        Resources(1, device="cpu").claim()
    on_cores = settings.device in (None, "cpu")
    workers = _core_workers(settings, size) if on_cores else 0
    if on_cores and workers < 2:
        return how(threads=settings.threads)
    from nacrith.codec.spread import SpreadCodec

    key = (how.func, how.args, how.keywords, settings.device, settings.threads, workers)
    if _spread is None or _spread[0] != key or not _spread[1].usable:
        forget_workers()
        threads = settings.threads or usable_cores()
        if on_cores:
            resources = [replace(r, engine="numpy") for r in devices.on_cores(workers, threads)]
        else:
            resources = devices.on_gpus(devices.gpus(settings.device or "", os.environ), threads)
        codec = SpreadCodec(partial(_in_worker, how), resources)
        signals.before_death.add(codec.stop)
        _spread = key, codec
    return _spread[1]


def _core_workers(settings: Settings, size: int | None) -> int:
    """How many processes content of this size is worth."""
    from nacrith.models.exact import engines

    if size is None or settings.backend not in (None, EXACT):
        return 1
    workers = devices.core_workers(settings.threads or usable_cores(), size // _SHARE)
    return workers if workers > 1 and engines.engine() == "numpy" else 1


def forget_workers() -> None:
    """End the processes that content was spread over last."""
    global _spread
    if _spread is not None:
        signals.before_death.discard(_spread[1].stop)
        _spread[1].stop()
        _spread = None


def _in_worker(how: partial[ModelCodec], threads: int) -> BlockCodec:
    return how(threads=threads)


def show_log(console: Console) -> None:
    """Show the library's messages (a model is being converted, once) to the user."""
    import logging

    class Relay(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.warning(record.getMessage())

    log = logging.getLogger("nacrith")
    log.setLevel(logging.INFO)
    log.handlers[:] = [Relay()]
