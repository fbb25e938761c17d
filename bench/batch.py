"""Many small files: `nacrith batch` against a loop over the single command, both ways.

    python -m bench.batch --data DIR [--count 200] [--loop 20] [--level N] [--model M] [--seed N]

Cuts `count` pieces of 1 to 20 KB out of the files below DIR, at random places. Compresses and decompresses
all of them with one `nacrith batch`, and `loop` of them, drawn at random, with a process each; compares all
bytes. Prints files a second and bytes a second of both, and the ratio of the latter.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.common import DATA_VARIABLE, data_files, machine, markdown_table

NACRITH = [sys.executable, "-m", "nacrith"]
SIZES = (1_000, 20_000)


def pieces(folder: Path, count: int, rng: random.Random) -> list[bytes]:
    contents = [path.read_bytes() for path in data_files(folder)]
    found = []
    for _ in range(count):
        content, size = rng.choice(contents), rng.randint(*SIZES)
        begin = rng.randrange(max(1, len(content) - size))
        found.append(content[begin : begin + size])
    return found


def seconds_of(commands: Sequence[Sequence[str]]) -> float:
    begin = time.perf_counter()
    for command in commands:
        subprocess.run([*NACRITH, *command], check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description="many small files, together and one by one")
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--loop", type=int, default=20)
    parser.add_argument("--level", type=int, default=6)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.data is None:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    rng = random.Random(args.seed)
    model = ["-m", args.model] if args.model else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        files = []
        for number, piece in enumerate(pieces(Path(args.data), args.count, rng)):
            files.append(folder / "in" / str(number))
            files[-1].write_bytes(piece)
        some = rng.sample(files, args.loop)

        def out(way: str, file: Path) -> Path:
            """Where batch puts the result for a file: below the directory, without the leading slash."""
            return Path(f"{folder}/{way}{file}")

        level = [f"-{args.level}"]
        archives = [out("packed", Path(f"{file}.nac")) for file in files]
        steps = {
            "compress": (
                ["batch", "-q", *level, *model, str(folder / "in")],
                "packed",
                [["compress", "-q", *level, *model, str(file)] for file in some],
            ),
            "decompress": (
                ["batch", "-dq", *model, str(folder / "packed")],
                "back",
                [["decompress", "-q", *model, "-o", f"{file}.back", f"{file}.nac"] for file in some],
            ),
        }
        content = {file: file.stat().st_size for file in files}
        table = []
        for way, (command, where, loop) in steps.items():
            record = str(folder / f"{where}.jsonl")
            together = seconds_of([[*command, "--output-dir", str(folder / where), "--manifest", record]])
            alone = seconds_of(loop)
            rates = [sum(content.values()) / together, sum(content[file] for file in some) / alone]
            table.append(
                [
                    way,
                    f"{len(files) / together:.2f}",
                    f"{rates[0]:.0f}",
                    f"{len(some) / alone:.2f}",
                    f"{rates[1]:.0f}",
                    f"{rates[0] / rates[1]:.2f}",
                ]
            )
        for file, archive in zip(files, archives, strict=True):
            if out("back", archive.with_suffix("")).read_bytes() != file.read_bytes():
                raise SystemExit(f"{file}: did not come back")
        for file in some:
            if Path(f"{file}.back").read_bytes() != file.read_bytes():
                raise SystemExit(f"{file}: did not come back")
            if Path(f"{file}.nac").read_bytes() != out("packed", Path(f"{file}.nac")).read_bytes():
                raise SystemExit(f"{file}: batch made another archive")
    print(f"{machine()}\n{args.count} files, {sum(content.values()):,} bytes, level {args.level}\n")
    heads = ["", "batch, files/s", "bytes/s", "loop, files/s", "bytes/s", "times faster"]
    print(markdown_table(heads, table))


if __name__ == "__main__":
    main()
