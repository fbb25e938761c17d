"""What a model that was trained on one's own kind of data brings on files that it has not seen.

    python -m bench.files.own_data MODEL.nacm FILE... [-1 .. -9] [--model M] [--dictionary FILE] [--out DIR]

MODEL is what `nacrith train` made of other files of the kind; the files are compressed with it and with the
model that it was begun from (the default model, or M), and by xz -9e and zstd with a dictionary of 112,640
bytes that `--dictionary` names, if it does (made by `zstd --train` of the same files). Every archive is
decompressed and compared. Saves `own_data.md` in DIR (default bench/results).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import zstandard

import nacrith
from bench.common import RESULTS, machine, markdown_table, write_atomic
from bench.files.peers import PEERS
from nacrith.models.protocol import LanguageModel


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.files.own_data", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("trained", metavar="MODEL.nacm")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    parser.add_argument("--model", help="what it was begun from (default: the default model)")
    parser.add_argument("--dictionary", type=Path, help="of zstd, trained on the same files")
    parser.add_argument("--out", type=Path, default=RESULTS)
    for level in range(1, 10):
        parser.add_argument(f"-{level}", dest="level", action="store_const", const=level)
    return parser.parse_args(arguments)


def archive_size(data: bytes, model: LanguageModel, level: int) -> int:
    archive = nacrith.compress(data, model=model, level=level)
    if nacrith.decompress(archive, model=model) != data:
        raise SystemExit("ROUND TRIP FAILED: the decompressed file is another one")
    return len(archive)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    level = options.level or nacrith.COMPRESSION_LEVEL_DEFAULT
    contents = {path.name: path.read_bytes() for path in options.files}
    _, xz, _ = PEERS["xz -9e"].load()
    columns = {"xz -9e": [len(xz(d)) for d in contents.values()]}
    if options.dictionary:
        known = zstandard.ZstdCompressionDict(options.dictionary.read_bytes())
        coder = zstandard.ZstdCompressor(level=22, dict_data=known)
        columns["zstd -22, dictionary"] = [len(coder.compress(d)) for d in contents.values()]
    for name in (options.model, options.trained):
        model = nacrith.load_model(name)
        columns[model.name] = [archive_size(d, model, level) for d in contents.values()]
    rows = [
        [name, f"{len(data):,}", *(f"{column[i]:,}" for column in columns.values())]
        for i, (name, data) in enumerate(contents.items())
    ]
    total = [f"{sum(map(len, contents.values())):,}", *(f"{sum(column):,}" for column in columns.values())]
    rows.append(["all", *total])
    text = (
        f"# A model of one's own, on files that it has not seen\n\nBytes at -{level}; {machine()}.\n\n"
        + markdown_table(["file", "bytes", *columns], rows)
    )
    write_atomic(options.out / "own_data.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
