"""`nacrith compress`: FILE to FILE.nac, or standard input to standard output."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any

import click

from nacrith.archive import Metadata
from nacrith.archive.blockcodec import BlockCodec, Progress
from nacrith.archive.records import MTIMES
from nacrith.archive.wire import Readable, Writable
from nacrith.cli.console import ChangedError, CommandError, SkippedError, run_each
from nacrith.cli.engines import decoder, encoder, say_what_decoding_takes
from nacrith.cli.inputs import CHANGED, STDIN, Input, open_input
from nacrith.cli.options import (
    Settings,
    backend_option,
    device_option,
    ensemble_option,
    files_argument,
    group_size_option,
    level_options,
    message_options,
    model_option,
    name_option,
    output_options,
    prefix_option,
    settings,
    single_output,
    threads_option,
)
from nacrith.cli.outputs import AtomicFile, CountedOutput, explained, open_output
from nacrith.cli.progress import ProgressBar, duration

SUFFIX = ".nac"
_CHUNK = 1 << 20  # bytes read at a time


@click.command("compress", short_help="Compress files (the default).")
@files_argument
@level_options
@group_size_option
@prefix_option
@output_options
@name_option
@model_option
@ensemble_option
@backend_option
@device_option
@threads_option
@message_options
def command(files: Sequence[str], **options: Any) -> int:
    """Compress each FILE to FILE.nac; standard input goes to standard output."""
    return run(settings(options), files)


def run(settings: Settings, files: Sequence[str]) -> int:
    """Compress `files`; returns the exit code."""
    names = single_output(settings, files)
    return run_each(names, settings.console, lambda name: _compress(settings, name))


def _compress(settings: Settings, name: str) -> None:
    with open_input(name, archive=False) as source:
        target = _target(settings, source)
        if settings.remove:
            source.check_removable(settings.force)
        place = open_output(target, source.status, force=settings.force, archive=True)
        with place as output, ProgressBar(settings.console, name, source.size) as bar:
            if settings.remove and not isinstance(output, AtomicFile):
                raise CommandError(f"--rm needs a file to write to, not {output.name}")
            counted = CountedOutput(output)
            codec = encoder(settings, source.size)
            with_model = f"model {codec.id.model_name}" if codec else "no model"
            settings.console.note(f"{with_model}, level {settings.level}", name)
            size = write_archive(source, source.file, counted, codec, settings, bar)
            changed = source.changed
            if isinstance(output, AtomicFile) and settings.remove:
                _verify(output, source, settings)
            if codec is not None:
                codec.verify_source()
            remark = output.commit(source.status if source.regular else None)
            settings.console.summary(_summary(size, counted.count, bar.elapsed), name)
        if remark:
            settings.console.warning(remark, name)
        if settings.remove:
            source.remove()
        if changed:
            raise ChangedError(f"{CHANGED}; {output.name} contains what was read")


def _target(settings: Settings, source: Input) -> str | None:
    if settings.output is not None or settings.stdout or source.path is None:
        return settings.output
    if not source.regular:
        raise SkippedError("not a regular file, skipped; name the output with -o or -c")
    if source.path.endswith(SUFFIX) and not settings.force:
        raise SkippedError(f"already has the suffix {SUFFIX}, skipped; use -f to compress it again")
    return source.path + SUFFIX


def write_archive(
    source: Input,
    content: Readable,
    output: Writable,
    codec: BlockCodec | None,
    settings: Settings,
    progress: Progress,
) -> int:
    """Compress `content`, that of `source`, to `output`. Returns its length in bytes."""
    from nacrith.stream import writer_with

    metadata = _metadata(source, settings) if settings.store_name else None
    make = writer_with(codec, settings.level, settings.threads, settings.group_size)
    writer = make(output, metadata=metadata, progress=progress)
    size = sum(writer.write(chunk) for chunk in chunks(content))
    writer.close()
    if codec is not None and writer.needs_model:
        say_what_decoding_takes(codec.id, settings)
    return size


def _metadata(source: Input, settings: Settings) -> Metadata | None:
    """The metadata that -N stores."""
    if source.path is None:
        return None
    mtime: int | None = source.status.st_mtime_ns
    if mtime not in MTIMES:
        settings.console.warning("its modification time is after 2262 and is not stored", source.path)
        mtime = None
    return Metadata(
        name=os.path.basename(source.path),
        mtime_ns=mtime,
        mode=stat.S_IMODE(source.status.st_mode),
    )


def chunks(file: Readable) -> Iterator[bytes]:
    """The rest of `file`, in chunks."""
    while chunk := file.read(_CHUNK):
        yield chunk


def _verify(output: AtomicFile, source: Input, settings: Settings) -> None:
    """Decode the written archive and compare it with the source, byte for byte."""
    from nacrith.archive import ArchiveReader
    from nacrith.fallback import CODECS

    settings.console.note("decoding again before the source is removed", source.path or STDIN)
    source.file.seek(0)
    size = source.size
    with explained(f"cannot read {output.name} back"), output.reread() as file:
        same = all(
            source.file.read(len(piece)) == piece
            for piece in ArchiveReader(file, lambda codec_id: decoder(settings, codec_id, size), CODECS)
        )
        same = same and not source.file.read(1)
    if source.changed:
        raise CommandError(f"{CHANGED}, so nothing is written and it is not removed; run again")
    if not same:
        raise CommandError("the archive does not decode to the source, which is kept")


def _summary(size: int, written: int, seconds: float) -> str:
    share = f"{100 * written / size:.1f} %, {8 * written / size:.3f} bpb, " if size else ""
    return f"{size:,} to {written:,} bytes ({share}{duration(seconds)})"
