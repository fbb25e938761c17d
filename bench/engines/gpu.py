"""The torch engine on a GPU, in one command: whether its integers are those of the CPU, and how fast it is.

    python -m bench.engines.gpu [FILE] [--device cuda] [--model smollm2-135m] [--level 6] [--threads T]
        [--rounds 20] [--lanes 1 16 64 256] [--seconds 2]

1. Random steps (several lanes, cuts, roll-backs, trees; windows of all sizes) are taken by the torch engine
   on the device and by the native engine on the CPU (numpy, where that is not installed). All rows must be
   equal, and the counts that symbols are coded with.
2. FILE becomes an archive by `nacrith compress` on the device and on the CPU. The bytes must be equal, and
   the device's archive must decode on both.
3. Tokens a second of prefill and of steps in so many lanes, on the device and on the CPU.

--device: cuda for the first GPU; cuda:0,cuda:1 or all, of which part 2 uses all and the others the first; cpu
runs the same with torch on the CPU, to try the command. FILE is by default this project's README. Saves what
it prints in results/gpu.json. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import RESULTS, ROOT, machine, markdown_table
from bench.engines import engine
from nacrith.coder.cdf import counts
from nacrith.cores import usable_cores
from nacrith.errors import ModelError
from nacrith.models import load_model, store
from nacrith.models.exact.model import ExactModel
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import ROLLBACK, NumpyEngine
from nacrith.models.exact.torch_engine import TorchEngine

_MOST = 80  # tokens of a lane in one step of part 1
_TURNS = 6


def reference(file: ModelFile, threads: int) -> dict[str, Any]:
    """The engine of the CPU, by its name."""
    try:
        return {"native": NativeEngine(file, threads)}
    except ModelError as error:
        print(f"numpy, which is slow, is the reference: {error}")
        return {"numpy": NumpyEngine(file, threads)}


def fuzz(file: ModelFile, ours: Any, theirs: Any, rounds: int, seed: int = 1) -> tuple[int, str]:
    """Rows compared, and where the first difference is ("" if there is none)."""
    rng = np.random.default_rng(seed)
    compared, vocab = 0, file.config.vocab
    for number in range(rounds):
        lanes = int(rng.integers(1, 9))
        window = int(rng.choice([16, 64, file.config.max_context, rng.integers(16, file.config.max_context)]))
        pair = [made.session(lanes, window) for made in (ours, theirs)]
        for turn in range(_TURNS):
            where = f"round {number}, turn {turn}, {lanes} lanes, window {window}"
            sizes = rng.integers(0, rng.choice([2, _MOST]), lanes)
            ids = [rng.integers(0, vocab, size).tolist() for size in sizes]
            trees = [[int(rng.integers(-1, j)) if j else -1 for j in range(len(lane))] for lane in ids]
            as_trees = bool(rng.integers(3) == 0)
            rows = [s.extend_tree(ids, trees) if as_trees else s.extend(ids) for s in pair]
            for one, other in zip(*rows, strict=True):
                compared += len(one)
                if not np.array_equal(one, other):
                    return compared, where
                if len(one) and not np.array_equal(counts(one[-1]), counts(other[-1])):
                    return compared, f"{where}, counts"
            for lane in range(lanes):
                if as_trees:
                    path = [j for j in (0, 1) if j < len(ids[lane]) and trees[lane][j] == j - 1]
                    for session in pair:
                        session.keep(lane, path[: 1 + turn % 2])
                else:
                    length = int(pair[0].lengths[lane])
                    back = int(rng.integers(0, min(length, ROLLBACK // 8) + 1))
                    for session in pair:
                        session.rollback(lane, length - back)
    return compared, ""


def archives(file: Path, device: str, model: list[str], level: int, threads: int) -> dict[str, Any]:
    """Seconds of `nacrith` on the device and on the CPU; "differs" says what did, if anything."""
    own = {k: v for k, v in os.environ.items() if k not in ("NACRITH_ENGINE", "NACRITH_DEVICE")}
    options = {"cpu": ["-T", str(threads)], "device": ["-T", str(threads), "--device", device]}
    environments = {"cpu": own, "device": own}
    if device == "cpu":  # there, --device would leave the engine to be the native one
        options["device"] = options["cpu"]
        environments["device"] = own | {"NACRITH_ENGINE": "torch", "NACRITH_DEVICE": "cpu"}
    found: dict[str, Any] = {"file": file.name, "size": file.stat().st_size, "level": level, "differs": ""}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(where: str, what: str, target: str, *arguments: str) -> bytes:
            output = folder / target
            command = [
                sys.executable,
                "-m",
                "nacrith",
                what,
                "-q",
                "-o",
                str(output),
                *options[where],
                *model,
            ]
            begin = time.perf_counter()
            subprocess.run([*command, *arguments], check=True, env=environments[where])
            found[f"{what}_{where}_s"] = round(time.perf_counter() - begin, 2)
            return output.read_bytes()

        ours = run("device", "compress", "device.nac", f"-{level}", str(file))
        found["bytes"] = len(ours)
        if run("cpu", "compress", "cpu.nac", f"-{level}", str(file)) != ours:
            found["differs"] = "the archives"
        for where in ("device", "cpu"):
            if run(where, "decompress", f"by-{where}", str(folder / "device.nac")) != file.read_bytes():
                found["differs"] += f" what the {where} decodes"
    return found


def rates(
    made: dict[str, Any], vocab: int, context: int, lanes: list[int], seconds: float
) -> list[list[str]]:
    """A row for each engine."""
    ids = np.random.default_rng(2).integers(0, vocab, context).tolist()
    table = []
    for name, one in made.items():
        prefill, _ = engine.prefill(one, ids, seconds)
        steps = [engine.decode(one, ids, count, seconds) for count in lanes]
        table.append([name, *(f"{rate:.0f}" for rate in (prefill, *steps))])
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.engines.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path, nargs="?", default=ROOT / "README.md")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default=store.DEFAULT_MODEL)
    parser.add_argument("--level", type=int, default=6)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--context", type=int, default=1024, help="tokens of the prefill")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement, at least")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    args = parser.parse_args(arguments)
    first = "cuda:0" if args.device == "all" else args.device.split(",")[0]
    model = load_model(args.model, threads=args.threads)
    assert isinstance(model, ExactModel)
    file = model.file
    try:
        made: dict[str, Any] = {f"torch {first}": TorchEngine(file, args.threads, first)}
    except ModelError as error:
        raise SystemExit(f"{error}; or --device cpu, to try the command") from None
    made |= reference(file, args.threads)
    name = torch.cuda.get_device_name(first) if first != "cpu" else "torch on the CPU"
    about = f"{name}, torch {torch.__version__}, {machine()}, {args.threads} threads, {file.name}"
    print(about)
    compared, differs = fuzz(file, *made.values(), args.rounds)
    print(f"1. {compared:,} rows in {args.rounds} rounds: {f'DIFFERENT, {differs}' if differs else 'equal'}")
    found = archives(args.file, args.device, ["-m", args.model], args.level, args.threads)
    print(f"2. {json.dumps(found)}: {'DIFFERENT' if found['differs'] else 'equal'}", flush=True)
    context = min(args.context, file.config.max_context)
    table = rates(made, file.config.vocab, context, args.lanes, args.seconds)
    head = ["tokens/s", f"prefill {context}", *(f"{n} lanes" for n in args.lanes)]
    print(f"3.\n{markdown_table(head, table)}")
    record = {"about": about, "rows_compared": compared, "rows_differ": differs, "archive": found}
    args.out.write_text(json.dumps({**record, "tokens_per_second": [head, *table]}, indent=1) + "\n")
    return 1 if differs or found["differs"] else 0


if __name__ == "__main__":
    sys.exit(main())
