"""Makes the codec for a command, from -m, NACRITH_MODEL or the default model.

-m is binding: it is an error if its model cannot be used. NACRITH_MODEL is a preference: if its model cannot
be used, there is a warning, and the default (for decoding: the model that the archive names) is used.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nacrith import loaded
from nacrith.archive.blockcodec import BlockCodec, CodecId
from nacrith.archive.scanner import each_stream
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
    from nacrith.codec import Named
    from nacrith.codec.model_codec import ModelCodec
    from nacrith.codec.spread import SpreadCodec

_spread: tuple[object, SpreadCodec] | None = None
"""The last SpreadCodec and what it was made for; kept for the next file."""

_SHARE = 1 << 18
"""Bytes of content that are worth an additional process when numpy computes: a block."""


def content_size(source: Input) -> int | None:
    """Content bytes of an archive, for the progress bar; None if the input is not seekable."""
    if not source.regular:
        return None
    start = source.file.tell()  # the beginning of standard input may have been read already
    try:
        return sum(stream.content_size for stream in each_stream(source.file, CODECS.names))
    except NacrithError:
        return None  # decoding will report the error
    finally:
        source.file.seek(start)


def encoder(settings: Settings, size: int | None = None) -> BlockCodec | None:
    """The codec to compress with; None if no model is used. size: bytes of the content, if known.

    A preference for a model does not turn a level without one into a slow one.
    """
    from nacrith.codec import wants_model

    show_log(settings.console)

    def encoding(model: Named | None) -> BlockCodec:
        how = partial(_encoding, settings.level, model, backend=settings.backend, prefix=settings.prefix)
        return _running(how, settings, size)

    if settings.ensemble:
        return encoding(settings.ensemble)
    named = settings.model if settings.model_required else None
    if not wants_model(settings.level, named, settings.backend, settings.prefix):
        return None
    try:
        return encoding(settings.model)
    except ModelError as error:
        if settings.model is None or settings.model_required or settings.backend is not None:
            raise
        settings.console.warning(f"NACRITH_MODEL is ignored: {error}")
    return encoding(None)


def say_what_decoding_takes(made: CodecId, settings: Settings) -> None:
    """Tell the user, once, if an archive with model-coded blocks needs more than this version of nacrith."""
    from nacrith.codec.params import CodingParams
    from nacrith.models import store

    if settings.backend not in (None, EXACT):
        settings.console.once(
            f"to decompress, the recipient needs the weights of {made.model_name}, and the same libraries"
            " and kind of machine as here"
        )
        return
    members = CodingParams.from_bytes(made.params).members or (made.fingerprint,)
    names = made.model_name.split("+") if len(members) > 1 else [made.model_name]
    for name, fingerprint in zip(names, members, strict=False):  # an archive cuts names that are long
        if not store.is_embedded(fingerprint):
            command = store.pull_command(name)
            digits = fingerprint.hex()[:16]
            remedy = f"run {command}" if command else f"its file, with fingerprint {digits}, is what -m takes"
            settings.console.once(f"to decompress, the recipient needs the model {name}: {remedy}")


def _encoding(
    level: int, model: Named | None, backend: str | None, prefix: bytes, threads: int | None = None
) -> ModelCodec:
    codec = loaded.for_encoding(level, model, threads, backend=backend, prefix=prefix)
    assert codec is not None  # a model was asked for
    return codec


def decoder(settings: Settings, codec_id: CodecId, size: int | None = None) -> BlockCodec:
    """The codec that an archive names. size: bytes of the content, if known."""
    from nacrith.codec.params import CodingParams

    show_log(settings.console)
    if CodingParams.from_bytes(codec_id.params).binding:
        size = None  # one process, since the archive is bound to its number of threads

    def decoding(model: str | None) -> BlockCodec:
        backend, force = settings.backend, settings.force_backend
        how = partial(
            loaded.for_decoding, codec_id, model, backend=backend, force=force, prefix=settings.prefix
        )
        return _running(how, settings, size)

    if settings.model is not None and not settings.model_required:
        try:
            return decoding(settings.model)
        except ModelError as error:
            settings.console.note(f"NACRITH_MODEL is ignored: {error}")
        return decoding(None)
    return decoding(settings.model)


def _running(how: partial[ModelCodec], settings: Settings, size: int | None) -> BlockCodec:
    """The codec that `how` makes, in one or several processes.

    It runs on the GPUs that --device names. On cores it runs in this process, except that numpy, which
    spends much of the time in Python, uses several processes.
    """
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
    """Number of processes that pay for content of this size."""
    from nacrith.models.exact import engines

    if size is None or settings.backend not in (None, EXACT):
        return 1
    workers = devices.core_workers(settings.threads or usable_cores(), size // _SHARE)
    return workers if workers > 1 and engines.engine() == "numpy" else 1


def forget_workers() -> None:
    """End the processes of the last SpreadCodec."""
    global _spread
    if _spread is not None:
        signals.before_death.discard(_spread[1].stop)
        _spread[1].stop()
        _spread = None


def _in_worker(how: partial[ModelCodec], threads: int) -> BlockCodec:
    return how(threads=threads)


def show_log(console: Console) -> None:
    """Print the library's messages, such as that a model is being converted."""
    import logging

    class Relay(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.warning(record.getMessage())

    log = logging.getLogger("nacrith")
    log.setLevel(logging.INFO)
    log.handlers[:] = [Relay()]
