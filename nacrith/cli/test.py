"""`nacrith test`: decodes archives completely, writes nothing, and reports whether they are intact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from nacrith.cli.console import OK, PASSED_ON, shown, worst
from nacrith.cli.engines import content_size, decoder
from nacrith.cli.inputs import STDIN, open_input
from nacrith.cli.options import (
    Settings,
    decoding_options,
    files_argument,
    json_option,
    settings,
)
from nacrith.cli.outputs import print_line
from nacrith.cli.progress import ProgressBar, duration


@click.command("test", short_help="Decode archives and report (-t).")
@files_argument
@json_option
@decoding_options
def command(files: Sequence[str], **options: Any) -> int:
    """Decode each FILE, check every byte and write nothing."""
    return run(settings(options), files)


def run(settings: Settings, files: Sequence[str]) -> int:
    """Test `files`; returns the exit code."""
    code = OK
    for name in files or (STDIN,):
        report: dict[str, object] = {"file": name, "ok": True}
        try:
            report["size"], seconds = _test(settings, name)
            line = f"{shown(name)}: ok, {report['size']:,} bytes ({duration(seconds)})"
        except PASSED_ON:
            raise
        except BaseException as error:
            failure = settings.console.failure(error, name)
            report.update(ok=False, error=type(error).__name__, message=str(error), code=failure)
            line = ""
            code = worst(code, failure)
        if settings.json:
            print_line(json.dumps(report))
        elif line and settings.console.verbosity >= 0:
            print_line(line)
    return code


def _test(settings: Settings, name: str) -> tuple[int, float]:
    """Decode one archive; returns content bytes and seconds."""
    from nacrith.archive import ArchiveReader
    from nacrith.fallback import CODECS

    with open_input(name, archive=True) as source:
        total = content_size(source)
        with ProgressBar(settings.console, name, total) as bar:
            reader = ArchiveReader(
                source.file, lambda codec_id: decoder(settings, codec_id, total), CODECS, progress=bar
            )
            return sum(len(piece) for piece in reader), bar.elapsed
