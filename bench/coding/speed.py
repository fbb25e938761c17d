"""How fast coding is, where the time goes, what the ensemble changes, and against llama.cpp.

    python -m bench.coding.speed FILE... [--parts P...] [--head N] [--lanes N] [--rounds N] [--threads T]
                                 [--model M] [--gguf GGUF... --llama PYTHON...]

Parts (default: all; `llama` needs --gguf, the same model in types of llama.cpp, and interpreters that have
llama-cpp-python):

- `coding`: each file as one group of lanes, coded by the model alone and with the ensemble, in turns: tokens
  a second, by how much the ensemble changes the time, and the shares of the model, of the group's coder, and
  of Python.
- `ratio`: each file at the default level: time of decoding divided by that of encoding, of the clock and of
  the processors; and KB a second of processor time of the learner alone, as level 1 and level 3 use it.
- `start`: seconds from calling `nacrith` to its first byte of output.
- `memory`: peak of a process that codes the first file at the default level, both ways.
- `roofline`: weights' bytes and products a second of the engine, against what this machine can read.
- `llama`: prefill with all logits, and decode steps, in turns with llama.cpp.

Figures are medians over the rounds, and ratios those of the pairs. Use a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

import nacrith
from bench.common import NACRITH, ROOT, ChildError, machine, markdown_table, run_child
from bench.engines.engine import decode as decode_rate
from bench.engines.engine import page, prefill
from nacrith.codec.decode_job import DecodeJob
from nacrith.codec.encoding import EncodeJob
from nacrith.codec.levels import DEFAULT_LEVEL, LEVELS
from nacrith.codec.model_codec import ModelCodec
from nacrith.codec.params import CodingParams
from nacrith.cores import usable_cores
from nacrith.learner import codec as learner
from nacrith.models import load_model
from nacrith.models.exact.model import ExactModel

PARTS = ("coding", "ratio", "start", "memory", "roofline", "llama")
LEVEL = LEVELS[DEFAULT_LEVEL]


class Clock:
    """Seconds spent in the model and in the coders of groups while `running`."""

    def __init__(self) -> None:
        self.seconds = {"model": 0.0, "coder": 0.0}

    def timed(self, kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self.seconds[kind] += time.perf_counter() - begin

        return call

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sessions and coders used in here are clocked."""
        session = ExactModel.session

        def clocked_session(*args: Any, **named: Any) -> Any:
            made = session(*args, **named)
            made.extend = self.timed("model", made.extend)  # type: ignore[method-assign]
            return made

        with (
            patch.object(ExactModel, "session", clocked_session),
            patch.object(EncodeJob, "code", self.timed("coder", EncodeJob.code)),
            patch.object(DecodeJob, "read", self.timed("coder", DecodeJob.read)),
        ):
            yield


def clocked(work: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, float]]:
    """What it returns; seconds in all, and of its parts."""
    clock = Clock()
    with clock.running():
        begin = time.perf_counter()
        result = work(*args)
        total = time.perf_counter() - begin
    parts = clock.seconds
    return result, {"all": total, **parts, "python": total - sum(parts.values())}


def coder(model: ExactModel, number: int, data: bytes, lanes: int) -> ModelCodec:
    """Of `data` in this many lanes."""
    window = min(LEVEL.window, model.max_context)
    params = CodingParams(window, number, LEVEL.capacity if number else 0, LEVEL.bits)
    size = max(1, len(data) // lanes)
    return ModelCodec(model, params, lanes=lanes, lane_size=size, threads=model.threads)


def coding(model: ExactModel, files: dict[str, bytes], lanes: int, rounds: int) -> str:
    table = []
    for name, data in files.items():
        tokens = len(model.tokenizer.encode(data))
        taken: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(rounds):
            for number in (0, 1):
                codec = coder(model, number, data, lanes)
                (payload,), times = clocked(codec.encode, [data])
                taken.setdefault(("encode", number), []).append(times)
                back, times = clocked(codec.decode, [(payload, len(data))])
                taken.setdefault(("decode", number), []).append(times)
                if back != [data]:
                    raise SystemExit(f"{name} did not come back")
        for way in ("encode", "decode"):
            alone, full = taken[way, 0], taken[way, 1]
            cost = median(f["all"] / a["all"] for a, f in zip(alone, full, strict=True)) - 1
            share = {k: median(f[k] / f["all"] for f in full) for k in ("model", "coder", "python")}
            rates = [tokens / median(t["all"] for t in runs) for runs in (alone, full)]
            table.append(
                [
                    f"{name} {way}",
                    str(lanes),
                    str(tokens),
                    *(f"{rate:.0f}" for rate in rates),
                    f"{cost:+.1%}",
                    *(f"{s:.1%}" for s in share.values()),
                ]
            )
    head = ["coding", "lanes", "tokens", "alone, tokens/s", "with predictors", "time"]
    return markdown_table([*head, "model", "coder", "Python"], table)


def both_ways(encode: Callable[[bytes], Any], decode: Callable[[Any, int], Any], data: bytes) -> list[float]:
    """Seconds of the clock and of the processors: encoding, then decoding."""
    times = [(time.perf_counter(), time.process_time())]
    made = encode(data)
    times.append((time.perf_counter(), time.process_time()))
    if decode(made, len(data)) != data:
        raise SystemExit("a text did not come back")
    times.append((time.perf_counter(), time.process_time()))
    return [b - a for before, after in pairwise(times) for a, b in zip(before, after, strict=True)]


def alone(shape: learner.Shape, bits: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Encoding and decoding of the learner without a model."""
    return (
        lambda text: learner.encode(text, shape, bits),
        lambda made, size: learner.decode(made, shape, bits, size),
    )


def ratio(model: ExactModel, files: dict[str, bytes], rounds: int) -> str:
    params = CodingParams(min(LEVEL.window, model.max_context), 1, LEVEL.capacity, LEVEL.bits)
    codec = ModelCodec(model, params, lanes=LEVEL.lanes, threads=model.threads)
    ways: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (lambda text: codec.encode([text])[0], lambda made, size: codec.decode([(made, size)])[0])
    ]
    for shape, level in ((learner.Shape.FAST, 1), (learner.Shape.TEXT, 3)):
        ways.append(alone(shape, LEVELS[level].bits))
    table = []
    for name, data in files.items():
        found = [[both_ways(*way, data) for _ in range(rounds)] for way in ways]
        row = [name, str(len(data)), *(f"{median(r[i + 2] / r[i] for r in found[0]):.2f}" for i in (0, 1))]
        for runs in found[1:]:
            row += [f"{len(data) / 1000 / median(r[i] for r in runs):.0f}" for i in (1, 3)]
        table.append(row)
    head = ["default level", "bytes", "decode/encode, clock", "processors"]
    rates = [f"{shape} {way}, KB/s" for shape in ("fast", "text") for way in ("in", "out")]
    return markdown_table([*head, *rates], table)


def start(model: str | None, rounds: int) -> str:
    """Seconds until the first byte on standard output."""
    chosen = ["-m", model] if model else []
    with tempfile.TemporaryDirectory() as folder:
        text, archive = Path(folder, "text"), Path(folder, "text.nac")
        text.write_text("It is a truth universally acknowledged, that a first byte takes longest.\n" * 2)
        subprocess.run([*NACRITH, "compress", "-q", *chosen, str(text)], check=True)
        commands = {
            "nacrith --help": ["--help"],
            "nacrith compress -c": ["compress", "-qc", *chosen, str(text)],
            "nacrith decompress -c": ["decompress", "-qc", *chosen, str(archive)],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, arguments in commands.items():
                begin = time.perf_counter()
                with subprocess.Popen([*NACRITH, *arguments], stdout=subprocess.PIPE) as child:
                    assert child.stdout is not None
                    if not child.stdout.read(1):
                        raise SystemExit(f"{name} said nothing")
                    seconds[name].append(time.perf_counter() - begin)
                    child.stdout.read()
    return markdown_table(["start", "s"], [[name, f"{median(s):.2f}"] for name, s in seconds.items()])


def memory(model: str | None, path: Path, head: int | None) -> str:
    chosen = ["-m", model] if model else []
    table = []
    with tempfile.TemporaryDirectory() as folder:
        text, archive = Path(folder, "text"), Path(folder, "text.nac")
        text.write_bytes(path.read_bytes()[:head])
        for name, arguments in (
            ("compress", ["compress", "-q", *chosen, str(text)]),
            ("decompress", ["decompress", "-qf", *chosen, str(archive)]),
        ):
            cost, _ = run_child([*NACRITH, *arguments])
            table.append([name, f"{cost.seconds:.1f}", f"{cost.peak_mb:.0f}"])
    return markdown_table([f"{path.name}, default level", "s", "peak MB"], table)


def roofline(model: ExactModel, threads: int) -> str:
    """A step of one lane reads every weight once; a prefill multiplies each by every token."""
    config = model.engine.config
    block = (
        config.width * (2 * config.heads + 2 * config.kv_heads) * config.head_dim
        + 3 * config.width * config.ffn
    )
    weights = config.layers * block + config.vocab * config.width
    ids = list(np.random.default_rng(1).integers(0, config.vocab, 512))
    prefilled = max(prefill(model.engine, ids, 2.0)[0] for _ in range(3))
    step = max(decode_rate(model.engine, ids, 1, 2.0) for _ in range(3))
    chunks = np.array_split(np.ones(1 << 26), threads)  # 512 MiB, beyond every cache

    def read() -> float:
        workers = [threading.Thread(target=np.dot, args=(chunk, chunk)) for chunk in chunks]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(chunk.nbytes for chunk in chunks) / (time.perf_counter() - begin)

    bandwidth = max(read() for _ in range(5))
    rows = [
        ["weights of the products", f"{weights / 1e6:.1f} MB"],
        ["memory, read by all threads", f"{bandwidth / 1e9:.1f} GB/s"],
        ["step of one lane", f"{step:.1f} tokens/s, {step * weights / 1e9:.1f} GB/s of weights"],
        ["of what memory allows", f"{step * weights / bandwidth:.0%}"],
        ["prefill of 512", f"{prefilled:.0f} tokens/s, {prefilled * weights / 1e9:.0f} G multiply-adds/s"],
    ]
    return markdown_table(["roofline", ""], rows)


def llama(
    model: ExactModel, ggufs: list[Path], pythons: list[str], lanes: int, threads: int, rounds: int
) -> str:
    context, seconds = 512, 2.0
    ids = page(model.file, context)
    rates: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        ours = {"prefill": prefill(model.engine, ids, seconds)[0]}
        for n in sorted({1, lanes}):
            ours[f"lanes {n}"] = decode_rate(model.engine, ids, n, seconds)
        rates.setdefault("nacrith", []).append(ours)
        for python, gguf in product(pythons, ggufs):
            numbers = [str(n) for n in (threads, context, lanes, seconds)]
            try:
                _, output = run_child(
                    [python, str(ROOT / "bench/engines/llama_speed.py"), str(gguf), *numbers]
                )
            except ChildError as error:
                print(f"{python}: {error}")
                continue
            said = json.loads(output.splitlines()[-1])
            name = f"llama.cpp of {said['version']}, {gguf.stem}"
            rates.setdefault(name, []).append(said["tokens_per_second"])
    heads = list(rates["nacrith"][0])
    table = [[name, *(f"{median(r[h] for r in found):.1f}" for h in heads)] for name, found in rates.items()]
    return markdown_table([f"tokens/s, prefill {context}", *heads], table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.coding.speed", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1])
    parser.add_argument("--head", type=int)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--model")
    parser.add_argument("--gguf", nargs="+", type=Path)
    parser.add_argument("--llama", nargs="+", default=[sys.executable], metavar="PYTHON")
    args = parser.parse_args()
    if "llama" in args.parts and args.gguf is None:
        parser.error("part llama needs --gguf")
    parts = {  # those of children first, while this process is small
        "start": lambda: start(args.model, args.rounds),
        "memory": lambda: memory(args.model, args.files[0], args.head),
    }
    print(f"{machine()}, {args.threads} threads, medians of {args.rounds}\n", flush=True)
    for name in parts:
        if name in args.parts:
            print(parts[name](), flush=True)
    model = load_model(args.model, threads=args.threads)
    assert isinstance(model, ExactModel)
    files = {path.name: path.read_bytes()[: args.head] for path in args.files}
    print(f"{model.name}, {nacrith.engine}\n")
    parts = {
        "ratio": lambda: ratio(model, files, args.rounds),
        "coding": lambda: coding(model, files, args.lanes, args.rounds),
        "roofline": lambda: roofline(model, args.threads),
        "llama": lambda: llama(model, args.gguf, args.llama, args.lanes, args.threads, args.rounds),
    }
    for name in parts:
        if name in args.parts:
            print(parts[name](), flush=True)


if __name__ == "__main__":
    main()
