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
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.common import DATA_VARIABLE, NACRITH, data_files, machine, markdown_table
from bench.engines import engine
from nacrith.codec.pool import LANES
from nacrith.models import load_model
from nacrith.models.exact.model import ExactModel

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


@dataclass
class Trial:
    """One run of the benchmark. files: of `folder`/in. some: those of the loop, evenly chosen by size."""

    folder: Path
    files: list[Path]
    some: list[Path]
    level: int
    model: list[str]
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of each way: together, and in the loop."""

    def __post_init__(self) -> None:
        self.sizes = {file: file.stat().st_size for file in self.files}

    def out(self, way: str, file: Path) -> Path:
        """Where batch puts the result for a file: below the directory, without the leading slash."""
        return Path(f"{self.folder}/{way}{file}")

    def run(self) -> None:
        level = [f"-{self.level}"]
        steps = {
            "compress": (
                ["batch", "-q", *level, *self.model, str(self.folder / "in")],
                "packed",
                [["compress", "-q", *level, *self.model, str(file)] for file in self.some],
            ),
            "decompress": (
                ["batch", "-dq", *self.model, str(self.folder / "packed")],
                "back",
                [
                    ["decompress", "-q", *self.model, "-o", f"{file}.back", f"{file}.nac"]
                    for file in self.some
                ],
            ),
        }
        for way, (command, where, loop) in steps.items():
            record = str(self.folder / f"{where}.jsonl")
            together = [*command, "--output-dir", str(self.folder / where), "--manifest", record]
            self.seconds[way] = seconds_of([together]), seconds_of(loop)

    def compare(self) -> None:
        """All bytes, there and back."""
        for file in self.files:
            packed = self.out("packed", Path(f"{file}.nac"))
            if self.out("back", packed.with_suffix("")).read_bytes() != file.read_bytes():
                raise SystemExit(f"{file}: did not come back")
        for file in self.some:
            if Path(f"{file}.back").read_bytes() != file.read_bytes():
                raise SystemExit(f"{file}: did not come back")
            if Path(f"{file}.nac").read_bytes() != self.out("packed", Path(f"{file}.nac")).read_bytes():
                raise SystemExit(f"{file}: batch made another archive")

    def rates(self) -> str:
        """The table of files and bytes a second."""
        table = []
        for way, (together, alone) in self.seconds.items():
            rates = [sum(self.sizes.values()) / together, sum(self.sizes[file] for file in self.some) / alone]
            counts = [f"{len(self.files) / together:.2f}", f"{len(self.some) / alone:.2f}"]
            row = [counts[0], f"{rates[0]:.0f}", counts[1], f"{rates[1]:.0f}", f"{rates[0] / rates[1]:.2f}"]
            table.append([way, *row])
        heads = ["", "batch, files/s", "bytes/s", "loop, files/s", "bytes/s", "times faster"]
        return markdown_table(heads, table)

    def against(self, model: ExactModel, tokens: dict[Path, int]) -> str:
        """The table of the time a token takes, against the model alone."""
        table = []
        for way, rate in bound(model).items():
            together, alone = self.seconds[way]
            each, loop = together / sum(tokens.values()), alone / sum(tokens[file] for file in self.some)
            times = (f"{x:.3f}" for x in (1000 * each, 1000 * loop, 1000 / rate))
            table.append([way, *times, f"{1 / rate / each:.0%}", f"{loop * rate:.2f}"])
        heads = ["", "batch, ms/token", "loop", "model alone", "batch reached", "times faster at most"]
        return markdown_table(heads, table)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
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
    return args


def main(arguments: Sequence[str] | None = None) -> None:
    args = parsed(arguments)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        files = []
        for number, piece in enumerate(pieces(Path(args.data), args.count, rng, args.even)):
            files.append(folder / "in" / str(number))
            files[-1].write_bytes(piece)
        step = max(1, len(files) // args.loop)
        some = sorted(files, key=lambda file: file.stat().st_size)[step // 2 :: step]
        trial = Trial(folder, files, some, args.level, ["-m", args.model] if args.model else [])
        trial.run()
        trial.compare()
        model = load_model(args.model)
        assert isinstance(model, ExactModel)
        tokens = {file: len(model.tokenizer.encode(file.read_bytes())) for file in files}
    print(f"{machine()}\n{args.count} files, {sum(trial.sizes.values()):,} bytes, level {args.level}")
    print(f"the loop: {len(some)} of them, {sum(trial.sizes[file] for file in some):,} bytes\n")
    print(trial.rates())
    print(f"\n{sum(tokens.values()):,} tokens; the model alone: prefill, and {LANES} lanes\n")
    print(trial.against(model, tokens))


if __name__ == "__main__":
    main()
