"""`nacrith info`: what archives hold, without a model and without decoding anything.

One row a file; with -v every parameter of every stream below it; with --json one object a line.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import click

from nacrith.archive.scan import StreamInfo, scan
from nacrith.cli.console import printable, run_each, shown
from nacrith.cli.inputs import STDIN, open_input
from nacrith.cli.options import (
    Settings,
    files_argument,
    json_option,
    message_options,
    settings,
)
from nacrith.cli.outputs import print_line
from nacrith.errors import NacrithError

_COLUMNS = (
    "form",
    "archive",
    "content",
    "ratio",
    "bpb",
    "blocks",
    "model",
    "check",
    "name",
    "file",
)
_NUMBERS = {"archive", "content", "ratio", "bpb"}  # set flush right
_CHECKS = {"short": "crc32", "full": "blake2b, crc32"}
_WIDTHS = dict(zip(_COLUMNS, (8, 13, 13, 7, 6, 14, 21, 14, 12, 0), strict=True))


@click.command("info", short_help="Show what archives hold (-l).")
@files_argument
@json_option
@message_options
def command(files: Sequence[str], **options: Any) -> int:
    """Show form, sizes, blocks, model, check and stored name of each FILE; -v shows all there is.

    Needs no model. The structure is checked, the content is not: use test for that.
    """
    return run(settings(options), files)


def run(settings: Settings, files: Sequence[str]) -> int:
    """Print what `files` hold; the exit code."""
    headed = settings.json

    def show(name: str) -> None:
        nonlocal headed
        with open_input(name, archive=True) as source:
            streams = scan(source.file)
        if settings.json:
            print_line(json.dumps(_as_json(name, streams)))
            return
        if not headed:
            print_line(_row(dict(zip(_COLUMNS, _COLUMNS, strict=True))))
            headed = True
        print_line(_row(_cells(name, streams)))
        if settings.console.verbosity > 0:
            for number, stream in enumerate(streams, 1):
                for line in _details(number, stream):
                    print_line(f"    {line}")

    return run_each(files or (STDIN,), settings.console, show)


def _cells(name: str, streams: list[StreamInfo]) -> dict[str, str]:
    """The columns of a file's row."""
    size, content = _sizes(streams)
    forms = sorted({f"{stream.form}, {stream.version}" for stream in streams})
    kinds = Counter(block.kind for stream in streams for block in stream.blocks)
    stored = [printable(s.metadata.name) for s in streams if s.metadata.name is not None]
    return {
        "form": " + ".join(forms),
        "archive": f"{size:,}",
        "content": f"{content:,}",
        "ratio": f"{100 * size / content:.1f} %" if content else "-",
        "bpb": f"{8 * size / content:.3f}" if content else "-",
        "blocks": ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "-",
        "model": ", ".join(dict.fromkeys(_model(s) for s in streams if s.codec)) or "-",
        "check": " + ".join(_CHECKS[form] for form in dict.fromkeys(s.form for s in streams)),
        "name": ", ".join(stored) or "-",
        "file": shown(name),
    }


def _row(cells: dict[str, str]) -> str:
    texts = []
    for column, text in cells.items():
        width = _WIDTHS[column]
        texts.append(text.rjust(width) if column in _NUMBERS else text.ljust(width))
    return "  ".join(texts)


def _model(stream: StreamInfo) -> str:
    """Name and first digits of the fingerprint; a short stream has 4 bytes of it and no name."""
    assert stream.codec is not None
    digits = stream.codec.fingerprint.hex()[:8]
    return f"{printable(stream.codec.model_name)} {digits}".strip()


def _sizes(streams: list[StreamInfo]) -> tuple[int, int]:
    """Bytes of the archive and of its content."""
    return sum(s.size for s in streams), sum(s.content_size for s in streams)


def _details(number: int, stream: StreamInfo) -> Iterator[str]:
    yield (
        f"stream {number}: {stream.form} form, version {stream.version}, at byte {stream.offset:,},"
        f" {stream.size:,} bytes for {stream.content_size:,} of content"
    )
    kinds = dict.fromkeys(block.kind for block in stream.blocks)
    for kind in kinds:
        blocks = [block for block in stream.blocks if block.kind == kind]
        content = sum(block.content_size for block in blocks)
        payload = sum(block.payload_size for block in blocks)
        yield f"  {len(blocks)} blocks {kind}: {payload:,} bytes for {content:,} of content"
    if stream.codec is not None:
        yield f"  fingerprint {stream.codec.fingerprint.hex()}"
        for name, value in _coding(stream.codec.params).items():
            yield f"  {name} {value}"
    metadata = stream.metadata
    if metadata.name is not None:
        yield f"  name {printable(metadata.name)}"
    if metadata.mtime_ns is not None:
        yield f"  modified {_time(metadata.mtime_ns)}"
    if metadata.mode is not None:
        yield f"  mode {metadata.mode:04o}"
    if stream.digest is not None:
        yield f"  blake2b-128 {stream.digest.hex()}"


def _coding(params: bytes) -> dict[str, int | str]:
    """The parameters by name; as digits where this version does not know them."""
    from nacrith.codec.params import CodingParams

    try:
        fields = vars(CodingParams.from_bytes(params)).copy()
        binding = fields.pop("binding")
        return {**binding, **fields}
    except NacrithError:
        return {"parameters": params.hex()}


def _time(nanoseconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{nanoseconds} ns since 1970"  # beyond the calendar


def _as_json(name: str, streams: list[StreamInfo]) -> dict[str, object]:
    size, content = _sizes(streams)
    return {
        "file": name,
        "size": size,
        "content_size": content,
        "bpb": 8 * size / content if content else None,
        "streams": [
            {
                "form": stream.form,
                "version": stream.version,
                "offset": stream.offset,
                "size": stream.size,
                "content_size": stream.content_size,
                "model": stream.codec
                and {
                    "name": stream.codec.model_name,
                    "fingerprint": stream.codec.fingerprint.hex(),
                    **_coding(stream.codec.params),
                },
                "metadata": dataclasses.asdict(stream.metadata),
                "check": _CHECKS[stream.form],
                "digest": stream.digest and stream.digest.hex(),
                "blocks": [dataclasses.asdict(block) for block in stream.blocks],
            }
            for stream in streams
        ],
    }
