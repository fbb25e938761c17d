"""What runs the model: archives of one file by the exact engine and by the backends in floats, side by side.

    python -m bench.engines.backends FILE [--head N] [--level 9] [--sets 0 1] [--threads 1] [--workers 1]
        [--model smollm2-135m] [--backends exact llama.cpp] [--fresh]

For each backend and predictor set (0: the model alone): the bytes of the archive, bits per byte, and tokens a
second of both ways, of one worker. The archive is the one that the command line makes, and is read back; the
model runs once for the payloads of all sets, since it takes nearly all of the time, and once more for each
set, to decode.

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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.common import RESULTS, machine
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.archive.blockcodec import CodecId, Progress
from nacrith.codec.levels import DEFAULT_LEVEL, LEVELS, block_bytes
from nacrith.codec.model_codec import LANES, ModelCodec, binding_of
from nacrith.codec.params import CodingParams
from nacrith.codec.step import EncodePort
from nacrith.codec.text import strip_crlf
from nacrith.fallback import CODECS
from nacrith.models import load_model, store
from nacrith.models.protocol import LanguageModel
from nacrith.varint import put_varint, read_varint

_ROWS = 64  # taken from the model at a time
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
    """seconds: of this worker. results: for each block its payloads, one for each set; or one row of
    contents."""

    tokens: int
    seconds: float
    results: list[list[bytes]]


def codecs(run: Run, model: LanguageModel) -> list[ModelCodec]:
    """One for each set."""
    chosen = LEVELS[run.level]
    window = min(chosen.window, model.max_context)
    made = []
    for number in run.sets:
        capacity = chosen.capacity if number else 0
        made.append(ModelCodec(model, CodingParams(window, number, capacity, binding_of(model))))
    return made


_model: LanguageModel | None = None
"""Of this process."""


def load(run: Run) -> LanguageModel:
    global _model
    _model = load_model(run.model, threads=run.threads, backend=run.backend)
    return _model


def encode(run: Run, blocks: list[bytes]) -> Done:
    """The payloads of blocks, by all sets."""
    assert _model is not None
    made = codecs(run, _model)
    key = [b"encode", *blocks, *(codec.id.fingerprint + codec.id.params for codec in made)]
    what = f"encodes {sum(map(len, blocks)):,} bytes, tokens"
    return _kept(run, key, lambda tell: _encode(made, blocks, tell), what)


def _encode(made: list[ModelCodec], blocks: list[bytes], tell: Progress) -> Done:
    model, window = made[0].model, made[0].params.window
    texts = [strip_crlf(block) for block in blocks]
    ids = [list(model.tokenizer.encode(text)) for text, _ in texts]
    ports = [[EncodePort(codec._ensemble()) for codec in made] for _ in blocks]
    session = model.session(len(blocks), window)
    begin, at = time.perf_counter(), 0
    while at < max(map(len, ids)):
        held = at % model.max_length
        end = min(at + _ROWS, at - held + model.max_length)
        inputs = []
        for i, lane in enumerate(ids):
            if not held:
                session.rollback(i, 0)
            first = [lane[at - 1] if held else model.bos_id] if at < len(lane) else []
            inputs.append([*first, *lane[at : min(end, len(lane)) - 1]])
        for i, rows in enumerate(session.extend(inputs)):
            for port in ports[i]:
                port.steps(rows, ids[i][at:end])
            tell(len(rows))
        at = end
    heads = [put_varint(2 * len(lane) + crlf) for lane, (_, crlf) in zip(ids, texts, strict=True)]
    payloads = [[head + port.finish() for port in mine] for head, mine in zip(heads, ports, strict=True)]
    return Done(sum(map(len, ids)), time.perf_counter() - begin, payloads)


def decode(run: Run, number: int, jobs: list[tuple[bytes, int]]) -> Done:
    """The contents of payloads of one set."""
    assert _model is not None
    (codec,) = codecs(replace(run, sets=(number,)), _model)
    key = [b"decode", codec.id.fingerprint + codec.id.params, *(payload for payload, _ in jobs)]

    def work(tell: Progress) -> Done:
        begin = time.perf_counter()
        contents = codec.decode(jobs, tell)
        tokens = sum(read_varint(payload, 5)[0] >> 1 for payload, _ in jobs)
        return Done(tokens, time.perf_counter() - begin, [contents])

    return _kept(run, key, work, f"decodes {sum(size for _, size in jobs):,} bytes, set {number}, bytes")


def _kept(run: Run, key: Sequence[bytes], work: Any, what: str) -> Done:
    """What `work` does, or did in an earlier run."""
    name = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in key)).hexdigest()
    path = run.kept / f"{name}.json"
    if path.exists():
        found = json.loads(path.read_text())
        return Done(
            found["tokens"], found["seconds"], [[bytes.fromhex(x) for x in r] for r in found["results"]]
        )
    done: Done = work(_Say(f"{run.backend} {what}"))
    run.kept.mkdir(parents=True, exist_ok=True)
    partly = path.with_suffix(".tmp")
    partly.write_text(json.dumps({**vars(done), "results": [[x.hex() for x in r] for r in done.results]}))
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

    lanes = 1 << 20

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
    with ArchiveWriter(out, codec, CODECS, block_bytes=block_bytes(level)) as writer:
        writer.write(data)
    out.seek(0)
    return out


def _groups(items: list[Any], size: int) -> list[list[Any]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


def measure(run: Run, data: bytes, workers: int) -> list[dict[str, Any]]:
    """A row for each set."""
    model = load(run)  # here too: whatever is wrong with it is said once
    ids = [codec.id for codec in codecs(run, model)]
    first = Given(ids[0])
    archive(data, first, run.level)
    blocks = sorted(first.missing, key=len, reverse=True)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, load, (run,)) if workers > 1 else None
    each = pool.map if pool else map
    try:
        side_by_side = LANES if model.portable else model.lanes
        encoded = list(each(partial(encode, run), _groups(blocks, side_by_side)))
        payloads = [mine for done in encoded for mine in done.results]
        rows = []
        for i, number in enumerate(run.sets):
            jobs = [(mine[i], len(block)) for mine, block in zip(payloads, blocks, strict=True)]
            groups = _groups(jobs, side_by_side)
            decoded = list(each(partial(decode, run, number), groups))
            given = Given(ids[i])
            given.payloads = {block: mine[i] for block, mine in zip(blocks, payloads, strict=True)}
            for some, done in zip(groups, decoded, strict=True):
                given.contents |= {
                    job[0]: content for job, content in zip(some, done.results[0], strict=True)
                }
            out = archive(data, given, run.level)
            if b"".join(ArchiveReader(out, lambda _, given=given: given, CODECS)) != data:
                sys.exit(f"{run.backend}, set {number}: the archive does not give the file back")
            size = len(out.getvalue())
            row = {"backend": run.backend, "set": number, "bytes": size, "bpb": 8 * size / max(1, len(data))}
            for way, parts in (("encode", encoded), ("decode", decoded)):
                row[f"{way}_tokens"] = sum(part.tokens for part in parts)
                row[f"{way}_s"] = sum(part.seconds for part in parts)
            rows.append(row)
        return rows
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


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
