"""`nacrith decompress`: FILE.nac to FILE, or standard input to standard output.

The archive layer hands out verified content only, so what goes to a pipe before an error is found
is right as far as it goes; a file appears only when all of it is right.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from nacrith.archive import Metadata
from nacrith.cli.compress import SUFFIX
from nacrith.cli.console import CommandError, SkippedError, run_each
from nacrith.cli.engines import content_size, decoder
from nacrith.cli.inputs import Input, open_input
from nacrith.cli.options import (
    Settings,
    backend_option,
    device_option,
    files_argument,
    force_backend_option,
    max_size_option,
    message_options,
    model_option,
    name_option,
    output_options,
    partial_option,
    settings,
    single_output,
    threads_option,
)
from nacrith.cli.outputs import AtomicFile, open_output
from nacrith.cli.progress import ProgressBar, duration
from nacrith.cli.stored import restored_path, restored_status, stored_in
from nacrith.errors import CorruptError


@click.command("decompress", short_help="Decompress files (-d).")
@files_argument
@output_options
@name_option
@max_size_option
@partial_option
@model_option
@backend_option
@force_backend_option
@device_option
@threads_option
@message_options
def command(files: Sequence[str], **options: Any) -> int:
    """Decompress each FILE.nac to FILE; standard input goes to standard output.

    The model that an archive names must be at hand; it is never downloaded by itself.
    """
    return run(settings(options), files)


def run(settings: Settings, files: Sequence[str]) -> int:
    """Decompress `files`; the exit code."""
    names = single_output(settings, files)
    return run_each(names, settings.console, lambda name: _decompress(settings, name))


def _decompress(settings: Settings, name: str) -> None:
    from nacrith.archive import ArchiveReader

    with open_input(name, archive=True) as source:
        stored = stored_in(source) if settings.store_name else Metadata()
        target = _target(settings, source, stored)
        status = restored_status(source.status, stored) if source.regular else None
        if settings.remove:
            source.check_removable(settings.force)
        place = open_output(target, source.status, force=settings.force, archive=False)
        total = content_size(source)
        with place as output, ProgressBar(settings.console, name, total) as bar:
            if settings.remove and not isinstance(output, AtomicFile):
                raise CommandError(f"--rm needs a file to write to, not {output.name}")
            reader = ArchiveReader(
                source.file,
                lambda codec_id: decoder(settings, codec_id, total),
                max_size=settings.max_size,
                progress=bar,
            )
            size = 0
            try:
                for piece in reader:
                    size += len(piece)
                    output.write(piece)
            except CorruptError as error:
                if settings.keep_partial and size and isinstance(output, AtomicFile):
                    kept = output.commit_partial(status)
                    raise CorruptError(f"{error}; the first {size:,} bytes are in {kept}") from error
                raise
            remark = output.commit(status)
            settings.console.summary(f"{size:,} bytes ({duration(bar.elapsed)})", name)
        if remark:
            settings.console.warning(remark, name)
        if settings.remove:
            source.remove()


def _target(settings: Settings, source: Input, stored: Metadata) -> str | None:
    """The name without its suffix, or the one that is stored (-N)."""
    if settings.output is not None or settings.stdout or source.path is None:
        return settings.output
    stem, suffix = os.path.splitext(source.path)
    if suffix != SUFFIX:
        raise SkippedError(f"has not the suffix {SUFFIX}, skipped; say where to with -o FILE or -c")
    return restored_path(stem, stored)
