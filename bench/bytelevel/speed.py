"""Bytes a second of a byte model: generating (a question for each byte) and scoring, and what epsilon does.

    python -m bench.bytelevel.speed FILE [--head N] [--model M] [--threads T] [--epsilon X...]

CPU counts the bytes of a second of processor time, which others on the machine disturb less than the clock.
Positions are those that the model computes per byte; heads are the live token sequences after a byte;
`bits` is the cost of the text, coded byte by byte, and `bound` what epsilon adds to it at most.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np

from bench.common import markdown_table
from nacrith.bytelevel import ByteModel
from nacrith.models import load_model


def clocks() -> tuple[float, float]:
    """Seconds of the clock, and of this process on processors."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--head", type=int, default=2000)
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--epsilon", type=float, nargs="*", default=[1e-4, 1e-3, 1e-2])
    options = parser.parse_args()
    data = options.file.read_bytes()[: options.head]
    language_model = load_model(options.model, threads=options.threads)
    language_model.prepare()
    rows = []
    exact = 0.0
    for epsilon in (0.0, *options.epsilon):
        model = ByteModel(language_model, epsilon=epsilon)
        warm = model.start()
        warm.extend(data)
        model.evaluator.positions = model.evaluator.calls = 0
        state = model.start()
        bits, heads = 0.0, []
        begin = clocks()
        for byte in data:
            bits -= math.log2(state.next_byte()[byte])
            state.push(byte)
            heads.append(state.live_heads)
        speeds = [f"{len(data) / s:.0f}" for s in np.subtract(clocks(), begin)]
        exact = exact or bits
        work = model.evaluator
        rows.append(
            [
                f"generate, epsilon {epsilon:g}",
                *speeds,
                f"{work.positions / len(data):.2f}",
                f"{work.calls / len(data):.2f}",
                f"{np.mean(heads):.2f} ({max(heads)})",
                f"{bits:.1f} ({100 * (bits / exact - 1):+.3f} %)",
                f"{100 * state.excess_bits / exact:.3f} %",
            ]
        )
    for name in ("score", "profile"):
        model = ByteModel(language_model)
        model.start().extend(data)
        begin = clocks()
        bits = model.score(data) if name == "score" else float(model.start().profile(data).sum())
        speeds = [f"{len(data) / s:.0f}" for s in np.subtract(clocks(), begin)]
        work = model.evaluator
        per = [f"{work.positions / len(data):.2f}", f"{work.calls / len(data):.3f}"]
        rows.append([name, *speeds, *per, "", f"{bits:.1f}", ""])
    print(f"{len(data)} bytes of {options.file.name}, {language_model.name}")
    print(markdown_table(["", "bytes/s", "CPU", "positions", "calls", "heads (most)", "bits", "bound"], rows))


if __name__ == "__main__":
    main()
