"""Speed of the engines: tokens a second of prefill, and of decode steps with several lanes.

    python -m bench.engines.engine MODEL [MODEL] [--before LIBRARY] [--engines NAME...] [--threads T]
        [--context N] [--lanes N...] [--seconds S]

MODEL is a model file (.nacm). Every backend that is installed is measured in this one run, with all its
sets of kernels, on tokens of a page of the documentation; the rows they return are compared on the way.
Prefill feeds one lane with `context` tokens in one call; a decode step feeds one token to each of several
lanes, which hold the first 32 of them. Rates are those of the fastest repetition, since anything else on the
machine only ever slows it down.

Beside each rate of the native engine is its share of the peak: the time that the model's matrix products
would take if the processor did nothing but the instructions that multiply, in registers, as measured in
this run.

Of two models, such as one source converted with activations of different limits, both are measured in
turns, and the ratio is the median of the pairs; likewise one model with the native engine of another commit
(--before, a build of codecs/ with the same interface) and with this one.
"""

from __future__ import annotations

import argparse
import importlib.util
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import common
from nacrith import native
from nacrith.cores import usable_cores
from nacrith.errors import ModelError
from nacrith.models.exact import modelfile
from nacrith.models.exact.config import ExactConfig
from nacrith.models.exact.modelfile import ModelFile
from nacrith.models.exact.native_engine import NativeEngine
from nacrith.models.exact.numpy_engine import NumpyEngine
from nacrith.models.exact.ops import INT8_MAX
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.native import engine as calls

_HELD = 32
"""Tokens that a lane holds before its decode steps."""

_TEXT = common.ROOT / "docs/pages/format.md"

_BYTES_UP_TO = 511
"""Sets with byte products take rows of at most this magnitude as bytes, except for AMX (RowForm::limit)."""

NATIVE = "native "
Make = Callable[[ModelFile], Any]


@dataclass(frozen=True)
class Subject:
    """What is measured: a model, with the native engine of `library` if that is given."""

    label: str
    file: ModelFile
    library: native.Library | None = None

    def engine(self, name: str, make: Make, threads: int) -> Any:
        if self.library is None or not name.startswith(NATIVE):
            return make(self.file)
        return NativeEngine(self.file, threads, name.removeprefix(NATIVE), self.library)


def engines(threads: int) -> dict[str, Make]:
    """What makes each engine that runs here, by name."""
    made: dict[str, Make] = {"numpy": lambda file: NumpyEngine(file, threads)}
    try:
        names = native.load().kernels()
    except ModelError as error:
        print(f"numpy only: {error}")
        names = []
    for name in names:
        made[NATIVE + name] = lambda file, name=name: NativeEngine(file, threads, name)
    if importlib.util.find_spec("torch"):
        from nacrith.models.exact.torch_engine import TorchEngine, find_device

        for device in sorted({"cpu", find_device(None).type}):
            made[f"torch {device}"] = lambda file, device=device: TorchEngine(file, threads, device)
    return made


def products(config: ExactConfig) -> dict[str, int]:
    """Products of a weight and an activation for one token, by the kind of matrix."""
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return {
        "qkv": config.layers * (queries + 2 * keys) * config.width,
        "o": config.layers * queries * config.width,
        "mlp": config.layers * 2 * config.ffn * config.width,
        "down": config.layers * config.ffn * config.width,
        "head": config.vocab * config.width,
    }


def peak(kernels: str, threads: int, *, bytes_only: bool, seconds: float) -> float:
    """Products a second of the bare multiply instructions in all threads at once; 0 if the set has none."""
    library = native.load()

    def multiply(rounds: int) -> int:
        return calls.bare(library, kernels, bytes_only=bytes_only, rounds=rounds)

    def timed(rounds: int) -> float:
        others = [threading.Thread(target=multiply, args=(rounds,)) for _ in range(threads - 1)]
        begin = time.perf_counter()
        for thread in others:
            thread.start()
        count = multiply(rounds)
        for thread in others:
            thread.join()
        return count * threads / (time.perf_counter() - begin)

    if multiply(1) == 0:
        return 0.0
    rounds, end, best = 1000, time.perf_counter() + seconds, 0.0
    while time.perf_counter() < end:
        best = max(best, timed(rounds))
        rounds = min(2 * rounds, 1 << 20)
    return best


def least_seconds(kernels: str, config: ExactConfig, peaks: Mapping[bool, float]) -> float:
    """Of one token's products at the peaks for activations of one byte (True) and two; 0 if unknown."""
    limit = INT8_MAX if kernels == "amx" else _BYTES_UP_TO
    counts = products(config).items()
    rates = [(count, peaks[config.act_limits[kind] <= limit]) for kind, count in counts]
    return sum(count / rate for count, rate in rates) if all(rate for _, rate in rates) else 0.0


def page(file: ModelFile, count: int) -> list[int]:
    """The first tokens of a text, repeated if it has fewer."""
    tokenizer = ByteTokenizer.from_definition(file.tokenizer_definition)
    return np.resize(np.array(tokenizer.encode(_TEXT.read_bytes())), count).tolist()


def in_turns(steps: Sequence[Callable[[], float]], seconds: float) -> list[list[float]]:
    """What each of the steps returned, which are repeated in turns for `seconds` each."""
    found: list[list[float]] = [[] for _ in steps]
    end = time.perf_counter() + seconds * len(steps)
    while True:
        for step, taken in zip(steps, found, strict=True):
            taken.append(step())
        if time.perf_counter() > end:
            return found


def prefill_step(engine: Any, ids: list[int], rows: list[np.ndarray]) -> Callable[[], float]:
    """A step that takes all ids in an empty lane, puts its last row in rows and returns seconds a token."""
    session = engine.session(1, engine.config.max_context)

    def step() -> float:
        session.rollback(0, 0)
        begin = time.perf_counter()
        last = session.extend([ids])[0][-1]
        taken = time.perf_counter() - begin
        rows[:] = [last.copy()]
        return taken / len(ids)

    return step


def decode_step(engine: Any, ids: list[int], lanes: int) -> Callable[[], float]:
    """A step that takes one token in each of several lanes and returns seconds a token."""
    session = engine.session(lanes, engine.config.max_context)
    session.extend([ids[:_HELD]] * lanes)
    held = session.lengths[0]

    def step() -> float:
        begin = time.perf_counter()
        session.extend([[ids[held % len(ids)]]] * lanes)
        taken = time.perf_counter() - begin
        for lane in range(lanes):
            session.rollback(lane, held)
        return taken / lanes

    return step


def prefill(engine: Any, ids: list[int], seconds: float) -> tuple[float, np.ndarray]:
    """Tokens a second of a prefill, and its last row."""
    rows: list[np.ndarray] = []
    [taken] = in_turns([prefill_step(engine, ids, rows)], seconds)
    return 1 / min(taken), rows[0]


def decode(engine: Any, ids: list[int], lanes: int, seconds: float) -> float:
    """Tokens a second of decode steps, over all lanes."""
    [taken] = in_turns([decode_step(engine, ids, lanes)], seconds)
    return 1 / min(taken)


def shown(taken: list[float], least: float) -> str:
    """Tokens a second, with the share of the peak if that is known."""
    best = min(taken)
    return f"{1 / best:.1f}" + (f" ({least / best:.0%})" if least else "")


def measure(
    name: str, subjects: Sequence[Subject], make: Make, ids: list[int], args: argparse.Namespace
) -> tuple[list[list[str]], list[np.ndarray]]:
    """The table's lines of one engine, for each subject and for the ratio of two, and each one's last row."""
    made = [subject.engine(name, make, args.threads) for subject in subjects]
    least = [0.0] * len(subjects)
    if name.startswith(NATIVE):
        kernels = name.removeprefix(NATIVE)
        peaks = {
            small: peak(kernels, args.threads, bytes_only=small, seconds=args.seconds / 2)
            for small in (True, False)
        }
        least = [least_seconds(kernels, subject.file.config, peaks) for subject in subjects]
    rows: list[list[np.ndarray]] = [[] for _ in subjects]
    plan = [[prefill_step(engine, ids, last) for engine, last in zip(made, rows, strict=True)]]
    plan += [[decode_step(engine, ids, lanes) for engine in made] for lanes in args.lanes]
    columns = [in_turns(steps, args.seconds) for steps in plan]
    lines = []
    for n, subject in enumerate(subjects):
        label = name if len(subjects) == 1 else f"{name}, {subject.label}"
        lines.append([label, *(shown(column[n], least[n]) for column in columns)])
    if len(subjects) == 2:
        pairs = [[a / b for a, b in zip(*column, strict=True)] for column in columns]
        lines.append([f"{name}, ratio", *(f"{median(ratios):.2f}" for ratios in pairs)])
    return lines, [last[0] for last in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.engines.engine", description=__doc__.split("\n")[0]
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help="one model file, or two")
    parser.add_argument("--before", type=Path, metavar="LIBRARY", help="of another commit")
    parser.add_argument("--engines", nargs="+", metavar="NAME", help="only these, such as 'native avx512'")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--context", type=int, default=512, help="tokens of the prefill")
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement, at least")
    args = parser.parse_args()
    if len(args.models) > (1 if args.before else 2):
        parser.error("too many models")
    subjects = [Subject(f"model {n + 1}", modelfile.read(path)) for n, path in enumerate(args.models)]
    if args.before:
        [now] = subjects
        subjects = [Subject("before", now.file, native.Library(args.before)), Subject("now", now.file)]
    ids = page(subjects[0].file, args.context)
    for subject in subjects:
        print(f"{subject.label}: {subject.file.name}, limits {subject.file.config.act_limits}")
    print(f"{common.machine()}, {args.threads} threads, context {args.context}")
    table: list[list[str]] = []
    rows: list[list[np.ndarray]] = []
    chosen = {n: make for n, make in engines(args.threads).items() if not args.engines or n in args.engines}
    for name, make in chosen.items():
        lines, last = measure(name, subjects, make, ids, args)
        table += lines
        rows.append(last)
    head = ["tokens/s (share of peak)", f"prefill {args.context}", *(f"{n} lanes" for n in args.lanes)]
    print(common.markdown_table(head, table))
    if any(not np.array_equal(row, first) for last in rows for row, first in zip(last, rows[0], strict=True)):
        raise SystemExit("the engines do not agree")


if __name__ == "__main__":
    main()
