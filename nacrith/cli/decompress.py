"""`nacrith decompress`: FILE.nac to FILE, or standard input to standard output.

The archive layer hands out verified content only, so what goes to a pipe before an error is found
is right as far as it goes; a file appears only when all of it is right. With --keep-partial what can be
verified of a damaged archive, before and after the damage, becomes a file of another name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from nacrith.archive import Damage
_LISTED = 5  # damaged stretches that a message names


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
    from nacrith.fallback import CODECS

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
            salvage = settings.keep_partial and isinstance(output, AtomicFile)
            damages = _Damages()
            reader = ArchiveReader(
                source.file,
                lambda codec_id: decoder(settings, codec_id, total),
                CODECS,
                max_size=settings.max_size,
                damaged=damages.add if salvage else None,
                progress=bar,
            )
            size = 0
            for piece in reader:
                size += len(piece)
                output.write(piece)
            if damages.count:
                kept = ""
                if size and isinstance(output, AtomicFile):
                    kept = (
                        f"; the {size:,} bytes that could be verified are in {output.commit_partial(status)}"
                    )
                raise CorruptError(f"{damages}{kept}")
            remark = output.commit(status)
            settings.console.summary(f"{size:,} bytes ({duration(bar.elapsed)})", name)
        if remark:
            settings.console.warning(remark, name)
        if settings.remove:
            source.remove()


class _Damages:
    """What is wrong with an archive, and which stretches of its content are missing for it."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[Damage] = []

    def add(self, damage: Damage) -> None:
        self.count += 1
        if self.count <= _LISTED:
            self._first.append(damage)

    def __str__(self) -> str:
        missing = [
            f"an unknown number of bytes from offset {damage.offset:,} on"
            if damage.size is None
            else f"{damage.size:,} bytes at offset {damage.offset:,}"
            for damage in self._first
        ]
        if self.count > _LISTED:
            missing.append(f"and {self.count - _LISTED:,} more stretches")
        return f"{self._first[0].error}; missing of the content: {', '.join(missing)}"


def _target(settings: Settings, source: Input, stored: Metadata) -> str | None:
    """The name without its suffix, or the one that is stored (-N)."""
    if settings.output is not None or settings.stdout or source.path is None:
        return settings.output
    stem, suffix = os.path.splitext(source.path)
    if suffix != SUFFIX:
        raise SkippedError(f"has not the suffix {SUFFIX}, skipped; say where to with -o FILE or -c")
    return restored_path(stem, stored)
