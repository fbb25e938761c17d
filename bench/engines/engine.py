"""Speed of the engines: tokens a second of prefill, and of decode steps with several lanes.

    python -m bench.engines.engine MODEL [--threads T] [--context N] [--lanes N...] [--seconds S]

MODEL is a model file (.nacm). Every backend that is installed is measured in this one run, in turns, and
with all its sets of kernels; the rows they return are compared on the way. Prefill feeds one lane with
`context` tokens in one call; a decode step feeds one token to each of several lanes, which hold the first
32 of them. Rates are those of the fastest repetition, since anything else on the machine only ever slows
it down.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import common
from nacrith import native
from nacrith.cores import usable_cores
from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine


def engines(file: ModelFile, threads: int) -> dict[str, Any]:
    """Every engine that runs here, by name, and the seconds it took to load."""
    made: dict[str, Callable[[], Any]] = {"numpy": lambda: NumpyEngine(file, threads)}
    try:
        names = native.load().kernels()
    except ModelError as error:
        print(f"numpy only: {error}")
        names = []
    for name in names:
        made[f"native {name}"] = lambda name=name: NativeEngine(file, threads, name)
    if importlib.util.find_spec("torch"):
        from nacrith.models.exact.torch_engine import TorchEngine, find_device

        for device in sorted({"cpu", find_device(None).type}):
            made[f"torch {device}"] = lambda device=device: TorchEngine(file, threads, device)
    found = {}
    for name, make in made.items():
        begin = time.perf_counter()
        found[name] = make()
        print(f"{name}: loaded in {time.perf_counter() - begin:.2f} s")
    return found


def prefill(engine: Any, ids: list[int], seconds: float) -> tuple[float, np.ndarray]:
    """Tokens a second, and the last row."""
    best, end = 0.0, time.perf_counter() + seconds
    while True:
        session = engine.session(1, engine.config.max_context)
        begin = time.perf_counter()
        row = session.extend([ids])[0][-1].copy()
        best = max(best, len(ids) / (time.perf_counter() - begin))
        if time.perf_counter() > end:
            return best, row


def decode(engine: Any, ids: list[int], lanes: int, seconds: float) -> float:
    """Tokens a second over all lanes."""
    session = engine.session(lanes, engine.config.max_context)
    session.extend([ids[:32]] * lanes)
    best, end, step = 0.0, time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        begin = time.perf_counter()
        session.extend([[ids[step % len(ids)]]] * lanes)
        best = max(best, lanes / (time.perf_counter() - begin))
        step += 1
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.engines.engine", description=__doc__.split("\n")[0]
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--context", type=int, default=256, help="tokens of the prefill")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, at least")
    args = parser.parse_args()
    file = modelfile.read(args.model)
    ids = np.random.default_rng(1).integers(0, file.config.vocab, args.context).tolist()
    print(f"{file.name}, {common.machine()}, {args.threads} threads, context {args.context}")
    rows, table = [], []
    for name, engine in engines(file, args.threads).items():
        rate, row = prefill(engine, ids, args.seconds)
        rows.append(row)
        steps = [decode(engine, ids, n, args.seconds) for n in args.lanes]
        table.append([name, *(f"{r:.1f}" for r in (rate, *steps))])
    head = ["tokens/s", f"prefill {args.context}", *(f"{n} lanes" for n in args.lanes)]
    print(common.markdown_table(head, table))
    if any(not np.array_equal(row, rows[0]) for row in rows):
        raise SystemExit("the engines do not agree")


if __name__ == "__main__":
    main()
