"""What runs the model: archives of one file by the exact engine and by the backends in floats, side by side.

    python -m bench.engines.backends FILE [--head N] [--level 9] [--sets 0 1] [--threads 1] [--workers 1]
        [--model smollm2-135m] [--backends exact llama.cpp] [--fresh]

For each backend and predictor set (0: the model alone): the bytes of the archive, bits per byte, and tokens a
second of both ways, of one worker. The archive is the one that the command line makes, and is read back.

A model in floats takes hours for a large file. So each worker is a process with a model of its own and says
how far it is, and what it has done of a block is kept beside the results: the same command goes on where it
was interrupted. `--threads 1 --workers 2` is the way to use two cores that also do other work: threads of
llama.cpp wait for each other hundreds of times in a token. `bench.engines.quality` has the float reference.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.common import RESULTS, machine
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec.levels import DEFAULT_LEVEL, LEVELS
from nacrith.codec.model_codec import ModelCodec, binding_of
from nacrith.codec.params import CodingParams
from nacrith.codec.payload import parse
from nacrith.fallback import CODECS
from nacrith.models import load_model, store
from nacrith.models.protocol import LanguageModel

_SAID_EVERY = 20.0  # seconds


@dataclass(frozen=True)
class Run:
    """What is measured. kept: where finished blocks are."""

    backend: str
    model: str
    threads: int | None
    level: int
    sets: tuple[int, ...]
    kept: Path


@dataclass(frozen=True)
class Done:
    """seconds: of this worker. results: payloads or contents."""

    tokens: int
    seconds: float
    results: list[bytes]


def codec_of(run: Run, number: int, model: LanguageModel) -> ModelCodec:
    chosen = LEVELS[run.level]
    window = min(chosen.window, model.max_context)
    capacity = chosen.capacity if number else 0
    params = CodingParams(window, number, capacity, chosen.bits, binding_of(model))
    return ModelCodec(model, params, lanes=chosen.lanes, threads=run.threads)


_model: LanguageModel | None = None
"""Of this process."""


def load(run: Run) -> LanguageModel:
    global _model
    _model = load_model(run.model, threads=run.threads, backend=run.backend)
    return _model


def encode(run: Run, number: int, blocks: list[bytes]) -> Done:
    """The payloads of blocks, with one set."""
    assert _model is not None
    codec = codec_of(run, number, _model)
    key = [b"encode", codec.id.fingerprint + codec.id.params, *blocks]
    what = f"encodes {sum(map(len, blocks)):,} bytes, set {number}, bytes"
    return _kept(run, key, partial(_code, codec.encode, blocks, blocks), what)


def decode(run: Run, number: int, jobs: list[tuple[bytes, int]]) -> Done:
    """The contents of payloads of one set."""
    assert _model is not None
    codec = codec_of(run, number, _model)
    key = [b"decode", codec.id.fingerprint + codec.id.params, *(payload for payload, _ in jobs)]
    what = f"decodes {sum(size for _, size in jobs):,} bytes, set {number}, bytes"
    return _kept(run, key, partial(_code, codec.decode, jobs, None), what)


def _code(
    work: Callable[..., list[bytes]], items: list[Any], blocks: list[bytes] | None, tell: Progress
) -> Done:
    """blocks: those of the items; None if they are the results."""
    begin = time.perf_counter()
    results = work(items, tell)
    seconds = time.perf_counter() - begin
    payloads = results if blocks is not None else [payload for payload, _ in items]
    sizes = map(len, blocks if blocks is not None else results)
    tokens = sum(sum(parse(p, size).lengths) for p, size in zip(payloads, sizes, strict=True))
    return Done(tokens, seconds, results)


def _kept(run: Run, key: Sequence[bytes], work: Any, what: str) -> Done:
    """What `work` does, or did in an earlier run."""
    name = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in key)).hexdigest()
    path = run.kept / f"{name}.json"
    if path.exists():
        found = json.loads(path.read_text())
        return Done(found["tokens"], found["seconds"], [bytes.fromhex(x) for x in found["results"]])
    done: Done = work(_Say(f"{run.backend} {what}"))
    run.kept.mkdir(parents=True, exist_ok=True)
    partly = path.with_suffix(".tmp")
    partly.write_text(json.dumps({**vars(done), "results": [x.hex() for x in done.results]}))
    partly.replace(path)
    return done


class _Say:
    """Progress, now and then, on standard error."""

    def __init__(self, what: str) -> None:
        self._what, self._done = what, 0
        self._begun = self._said = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said > _SAID_EVERY:
            self._said = now
            rate = self._done / (now - self._begun)
            print(f"{self._what}: {self._done:,} so far, {rate:.1f}/s", file=sys.stderr, flush=True)


class Given:
    """A BlockCodec of what is known already; it notes the blocks that it has no payload for."""

    batch = 1 << 24

    def __init__(self, codec_id: CodecId) -> None:
        self.id = codec_id
        self.payloads: dict[bytes, bytes] = {}
        self.contents: dict[bytes, bytes] = {}
        self.missing: list[bytes] = []

    def encode(self, blocks: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        self.missing += [block for block in blocks if block not in self.payloads]
        return [self.payloads.get(block, b"") for block in blocks]

    def decode(self, blocks: Sequence[tuple[bytes, int]], progress: Progress | None = None) -> list[bytes]:
        return [self.contents[payload] for payload, _ in blocks]


def archive(data: bytes, codec: Given, level: int) -> io.BytesIO:
    out = io.BytesIO()
    with ArchiveWriter(out, codec, CODECS, block_bytes=LEVELS[level].group) as writer:
        writer.write(data)
    out.seek(0)
    return out


def measure(run: Run, data: bytes, workers: int) -> list[dict[str, Any]]:
    """A row for each set."""
    model = load(run)  # here too: whatever is wrong with it is said once
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, load, (run,)) if workers > 1 else None
    try:
        return [_row(run, number, model, data, pool.map if pool else map) for number in run.sets]
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _row(run: Run, number: int, model: LanguageModel, data: bytes, each: Any) -> dict[str, Any]:
    codec_id = codec_of(run, number, model).id
    first = Given(codec_id)
    archive(data, first, run.level)
    blocks = sorted(first.missing, key=len, reverse=True)
    encoded = list(each(partial(encode, run, number), [[block] for block in blocks]))
    payloads = [payload for done in encoded for payload in done.results]
    jobs = list(zip(payloads, map(len, blocks), strict=True))
    decoded = list(each(partial(decode, run, number), [[job] for job in jobs]))
    given = Given(codec_id)
    given.payloads = dict(zip(blocks, payloads, strict=True))
    given.contents = {p: done.results[0] for p, done in zip(payloads, decoded, strict=True)}
    out = archive(data, given, run.level)
    if b"".join(ArchiveReader(out, lambda _: given, CODECS)) != data:
        sys.exit(f"{run.backend}, set {number}: the archive does not give the file back")
    size = len(out.getvalue())
    row = {"backend": run.backend, "set": number, "bytes": size, "bpb": 8 * size / max(1, len(data))}
    for way, parts in (("encode", encoded), ("decode", decoded)):
        row[f"{way}_tokens"] = sum(part.tokens for part in parts)
        row[f"{way}_s"] = sum(part.seconds for part in parts)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="backends side by side")
    parser.add_argument("file", type=Path)
    parser.add_argument("--head", type=int)
    parser.add_argument("--level", type=int, default=DEFAULT_LEVEL)
    parser.add_argument("--sets", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--model", default=store.DEFAULT_MODEL)
    parser.add_argument("--backends", nargs="+", default=["exact", "llama.cpp"])
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    parser.add_argument("--out", type=Path, default=RESULTS / "backends.json")
    args = parser.parse_args(arguments)
    data = args.file.read_bytes()[: args.head]
    kept = args.out.with_suffix(".kept")
    if args.fresh:
        for path in kept.glob("*.json"):
            path.unlink()
    rows: list[dict[str, Any]] = []
    print(f"{machine()}, {args.threads or 'all'} threads, {args.workers} workers")
    print(
        f"{'backend':14} {'set':>4} {'bytes':>8} {'bpb':>7} {'encode tokens/s':>16} {'decode tokens/s':>16}"
    )
    for backend in args.backends:
        run = Run(backend, args.model, args.threads, args.level, tuple(args.sets), kept)
        for row in measure(run, data, args.workers):
            rows.append(row)
            rates = [row[f"{way}_tokens"] / max(row[f"{way}_s"], 1e-9) for way in ("encode", "decode")]
            numbers = f"{row['bytes']:8} {row['bpb']:7.4f} {rates[0]:16.1f} {rates[1]:16.1f}"
            print(f"{backend:14} {row['set']:4} {numbers}", flush=True)
    about = {"file": args.file.name, "size": len(data), "level": args.level, "threads": args.threads}
    args.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
