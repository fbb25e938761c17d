"""Many small files: `nacrith batch` against a loop over the single command, both ways.

    python -m bench.jobs.batch --data DIR [--count 200] [--loop 20] [--even] [--level N] [--model M]
                               [--seed N]

Cuts `count` pieces of 1 to 20 KB out of the files below DIR, at random places. As in most directories, few
are large: half are below 2 KB, the mean is 3 KB; with --even all sizes are equally likely. Compresses and
decompresses all of them with one `nacrith batch`, and `loop` of them, evenly chosen by size, with a process
each; compares all bytes. Prints files and bytes a second of both, and the ratio of the latter.

A second table has the bound: what the model alone takes for a token on this machine with all lanes full,
measured in the same run, against what batch took, and by how much the loop could be beaten if all else were
free. Where a prefill of one file fills the processor, as on two cores, a loop loses its starts only.
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

import numpy as np

from bench.common import DATA_VARIABLE, data_files, machine, markdown_table
from bench.engines import engine
from nacrith.codec.model_codec import LANES
from nacrith.models import load_model
from nacrith.models.exact.model import ExactModel

NACRITH = [sys.executable, "-m", "nacrith"]
SIZES = (1_000, 20_000)


def pieces(folder: Path, count: int, rng: random.Random, even: bool) -> list[bytes]:
    contents = [path.read_bytes() for path in data_files(folder)]
    least, most = SIZES
    found = []
    for _ in range(count):
        size = rng.randint(least, most)
        if not even:  # a density of 1 / size^2
            size = round(1 / rng.uniform(1 / most, 1 / least))
        long_enough = [content for content in contents if len(content) >= size]
        if not long_enough:
            raise SystemExit(f"{folder}: no file of {size} bytes; give a folder with longer files")
        content = rng.choice(long_enough)
        begin = rng.randrange(len(content) - size + 1)
        found.append(content[begin : begin + size])
    return found


def seconds_of(commands: Sequence[Sequence[str]]) -> float:
    begin = time.perf_counter()
    for command in commands:
        subprocess.run([*NACRITH, *command], check=True)
    return time.perf_counter() - begin


def bound(model: ExactModel) -> dict[str, float]:
    """Tokens a second of the model alone, as well as it can be used."""
    ids = np.random.default_rng(1).integers(0, model.vocab_size, min(256, model.max_context)).tolist()
    prefill, _ = engine.prefill(model.engine, ids, 2.0)
    return {"compress": prefill, "decompress": engine.decode(model.engine, ids, LANES, 2.0)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="many small files, together and one by one")
    parser.add_argument("--data", type=Path, default=os.environ.get(DATA_VARIABLE))
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--loop", type=int, default=20)
    parser.add_argument("--even", action="store_true", help="all sizes equally likely")
    parser.add_argument("--level", type=int, default=6)
    parser.add_argument("--model")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    if args.data is None:
        parser.error(f"give --data or set {DATA_VARIABLE}")
    rng = random.Random(args.seed)
    model = ["-m", args.model] if args.model else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        files = []
        for number, piece in enumerate(pieces(Path(args.data), args.count, rng, args.even)):
            files.append(folder / "in" / str(number))
            files[-1].write_bytes(piece)
        content = {file: file.stat().st_size for file in files}
        step = max(1, len(files) // args.loop)
        some = sorted(files, key=lambda file: content[file])[step // 2 :: step]

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
        table, seconds = [], {}
        for way, (command, where, loop) in steps.items():
            record = str(folder / f"{where}.jsonl")
            together = seconds_of([[*command, "--output-dir", str(folder / where), "--manifest", record]])
            alone = seconds_of(loop)
            seconds[way] = together, alone
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
        loaded = load_model(args.model)
        assert isinstance(loaded, ExactModel)
        tokens = {file: len(loaded.tokenizer.encode(file.read_bytes())) for file in files}
    print(f"{machine()}\n{args.count} files, {sum(content.values()):,} bytes, level {args.level}")
    print(f"the loop: {len(some)} of them, {sum(content[file] for file in some):,} bytes\n")
    heads = ["", "batch, files/s", "bytes/s", "loop, files/s", "bytes/s", "times faster"]
    print(markdown_table(heads, table))
    table = []
    for way, rate in bound(loaded).items():
        together, alone = seconds[way]
        each, loop = together / sum(tokens.values()), alone / sum(tokens[file] for file in some)
        numbers = (1000 * each, 1000 * loop, 1000 / rate)
        table.append([way, *(f"{x:.3f}" for x in numbers), f"{1 / rate / each:.0%}", f"{loop * rate:.2f}"])
    print(f"\n{sum(tokens.values()):,} tokens; the model alone: prefill, and {LANES} lanes\n")
    heads = ["", "batch, ms/token", "loop", "model alone", "batch reached", "times faster at most"]
    print(markdown_table(heads, table))


if __name__ == "__main__":
    main()
