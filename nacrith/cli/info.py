"""`nacrith info`: what archives hold, without a model and without decoding anything.

One row a file; with -v every parameter of every stream below it; with --json one object a line.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any

import click

from nacrith.archive.blockcodec import CodecId
from nacrith.archive.scanner import StreamInfo, each_stream
from nacrith.cli.console import printable, run_each, shown
from nacrith.cli.inputs import STDIN, open_input
from nacrith.cli.options import (
    Settings,
    files_argument,
    json_option,
    message_options,
    settings,
)
from nacrith.cli.outputs import explained, print_line
from nacrith.errors import NacrithError
from nacrith.fallback import CODECS

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
_NUMBERS = {"archive", "content", "ratio", "bpb"}  # right-aligned columns
_CHECKS = {"short": "crc32", "full": "blake2b, crc32"}
_WIDTHS = dict(zip(_COLUMNS, (8, 13, 13, 7, 6, 14, 21, 14, 12, 0), strict=True))

_SPOOL = 1 << 20  # bytes of a report that are held in memory
_FEW = 8  # most models and names that a file's row shows


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
    """Print a report on `files`; returns the exit code."""
    headed = settings.json

    def show(name: str) -> None:
        nonlocal headed
        total = _Total(name)
        # An archive may hold millions of streams and be damaged at its end. So nothing is printed, and
        # little is held in memory, before all of it has been read.
        with tempfile.SpooledTemporaryFile(_SPOOL) as lines:
            with open_input(name, archive=True) as source:
                for stream in each_stream(source.file, CODECS.names):
                    total.add(stream)
                    with explained("cannot write a temporary file"):
                        lines.writelines(_lines(settings, total.streams, stream))
            lines.seek(0)
            if settings.json:
                _print_json(total.as_json(), lines)
                return
            if not headed:
                print_line(_row(dict(zip(_COLUMNS, _COLUMNS, strict=True))))
                headed = True
            print_line(_row(total.cells()))
            for line in lines:
                print_line(line.decode().rstrip("\n"))

    return run_each(files or (STDIN,), settings.console, show)


def _lines(settings: Settings, number: int, stream: StreamInfo) -> Iterator[bytes]:
    """The lines about one stream."""
    if settings.json:
        yield b", " if number > 1 else b""
        yield json.dumps(_as_json(stream)).encode()
    elif settings.console.verbosity > 0:
        for line in _details(number, stream):
            yield f"    {line}\n".encode("utf-8", "backslashreplace")


def _print_json(total: dict[str, object], streams: IO[bytes]) -> None:
    """Print one object on one line, part by part. It is all ASCII."""
    with explained("cannot write standard output"), open(1, "wb", closefd=False) as out:
        out.write(json.dumps(total).encode().removesuffix(b"}") + b', "streams": [')
        shutil.copyfileobj(streams, out)
        out.write(b"]}\n")


class _Total:
    """Totals over the streams of a file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.streams = 0
        self._size = self._content = 0  # bytes
        self._forms: Counter[tuple[str, int]] = Counter()
        self._kinds: Counter[str] = Counter()
        self._models = _Few()
        self._names = _Few()

    def add(self, stream: StreamInfo) -> None:
        self.streams += 1
        self._size += stream.size
        self._content += stream.content_size
        self._forms[stream.form, stream.version] += 1
        self._kinds.update(block.kind for block in stream.blocks)
        if stream.codec is not None:
            self._models.add(_model(stream.codec))
        if stream.metadata.name is not None:
            self._names.add(printable(stream.metadata.name))

    @property
    def _bits(self) -> float | None:
        """Bits of archive per byte of content."""
        return 8 * self._size / self._content if self._content else None

    def cells(self) -> dict[str, str]:
        """The columns of the file's row."""
        size, content = self._size, self._content
        return {
            "form": " + ".join(sorted(f"{form}, {version}" for form, version in self._forms)),
            "archive": f"{size:,}",
            "content": f"{content:,}",
            "ratio": f"{100 * size / content:.1f} %" if content else "-",
            "bpb": "-" if self._bits is None else f"{self._bits:.3f}",
            "blocks": ", ".join(f"{count} {kind}" for kind, count in self._kinds.items()) or "-",
            "model": str(self._models) or "-",
            "check": " + ".join(dict.fromkeys(_CHECKS[form] for form, _ in self._forms)),
            "name": str(self._names) or "-",
            "file": shown(self._name),
        }

    def as_json(self) -> dict[str, object]:
        """Everything but the streams."""
        return {"file": self._name, "size": self._size, "content_size": self._content, "bpb": self._bits}


class _Few:
    """Distinct texts: the first few, and whether there are more."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}
        self._more = False

    def add(self, text: str) -> None:
        if text not in self._texts and len(self._texts) == _FEW:
            self._more = True
        else:
            self._texts[text] = None

    def __str__(self) -> str:
        return ", ".join([*self._texts, *(["..."] if self._more else [])])


def _row(cells: dict[str, str]) -> str:
    texts = []
    for column, text in cells.items():
        width = _WIDTHS[column]
        texts.append(text.rjust(width) if column in _NUMBERS else text.ljust(width))
    return "  ".join(texts)


def _model(codec: CodecId) -> str:
    """Name and first digits of the fingerprint; a short stream has 4 bytes of it and no name."""
    return f"{printable(codec.model_name)} {codec.fingerprint.hex()[:8]}".strip()


def _details(number: int, stream: StreamInfo) -> Iterator[str]:
    yield (
        f"stream {number}: {stream.form} form, version {stream.version}, at byte {stream.offset:,},"
        f" {stream.size:,} bytes for {stream.content_size:,} of content"
    )
    counts, contents, payloads = Counter[str](), Counter[str](), Counter[str]()
    for block in stream.blocks:
        counts[block.kind] += 1
        contents[block.kind] += block.content_size
        payloads[block.kind] += block.payload_size
    for kind, count in counts.items():
        yield f"  {count} blocks {kind}: {payloads[kind]:,} bytes for {contents[kind]:,} of content"
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
    """The coding parameters by name; in hexadecimal if this version does not know them."""
    from nacrith.codec.params import CodingParams

    try:
        fields = vars(CodingParams.from_bytes(params)).copy()
        binding, prefix, members = fields.pop("binding"), fields.pop("prefix"), fields.pop("members")
        if members:
            fields["members"] = " ".join(m.hex() for m in members)
        if prefix:
            fields["prefix"] = prefix.hex()
        return {**binding, **fields}
    except NacrithError:
        return {"parameters": params.hex()}


def _time(nanoseconds: int) -> str:
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return f"{nanoseconds} ns since 1970"  # outside of the calendar


def _as_json(stream: StreamInfo) -> dict[str, object]:
    return {
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
