"""What small files would gain from a start that is not cold: a text of common passages, learnt at first.

    python -m bench.coding.primes SHARD.jsonl.xz... --measure SHARD.jsonl.xz [--files FILE...] [--bytes N...]
                                  [--with-model] [--each N] [--texts N] [--model M]

SHARD: lines of {"text", "source", "kind"} (see the training corpus). The priming text is made of passages
that share most with other texts: greedily those with the most n-grams of 8 bytes that are in many texts and
in none of the passages chosen before (as the dictionaries of zstd are made; Liao et al., "Effective
construction of relative Lempel-Ziv dictionaries", 2016). What is measured is from other sources than what is
learnt, as a user's files are: the sources are divided by a hash of their names. --files measures the
beginnings of these instead, which no model has been trained on.

Prints for each kind the bytes with a cold start, and the per cent of them after each priming text: for the
learner alone as level 3 uses it, or with --with-model beside a model as level 6 does, with `--prefix` as it
is. The priming text is learnt once, and each file is coded by a fork of that state. POSIX only.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import lzma
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.common import markdown_table
from nacrith.codec import group, predictor_set
from nacrith.codec.levels import LEVELS
from nacrith.codec.params import CodingParams
from nacrith.codec.prefix import teach
from nacrith.fallback.learner import table_bits
from nacrith.learner import Shape, codec
from nacrith.models import load_model

Texts, Sized = dict[str, list[bytes]], dict[str, list[int]]
"""By kind: what is coded, and the bytes that it takes."""

Ready = Callable[[bytes], int]
"""Codes one text from the state that it holds, in a fork, and returns the bytes that it takes."""

NO_LICENCE = ("dotnet/csharplang", "libsdl-org/sdlwiki")
"""Sources of the corpus for which nothing states a licence."""

SIZES = (1500, 4000, 9000, 20000, 50000)
"""Bytes of the files that are measured, in turn."""

_GRAM, _SLOTS = 8, 1 << 22
_PASSAGE = 256
_TEXT = 8000  # bytes of a text that passages are looked for in
_ROWS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description="what a priming text would bring to small files")
    parser.add_argument("shards", nargs="+", type=Path)
    parser.add_argument("--measure", type=Path, required=True)
    parser.add_argument("--files", type=Path, nargs="+", default=[])
    parser.add_argument("--bytes", type=int, nargs="+", default=[50_000, 100_000, 200_000])
    parser.add_argument("--with-model", action="store_true")
    parser.add_argument("--each", type=int, default=6, help="files of each kind")
    parser.add_argument("--texts", type=int, default=200, help="texts of each kind to choose passages from")
    parser.add_argument("--model")
    args = parser.parse_args()
    measured = (
        given(args.files) if args.files else texts([args.measure], args.each, measured=True, whole=True)
    )
    pool = texts(args.shards, args.texts, measured=False)
    coder = beside(args.model, measured) if args.with_model else alone
    cold = {kind: sizes(coder(b""), found) for kind, found in measured.items()}
    columns = {}
    chosen = {kind: passages(found, max(args.bytes)) for kind, found in pool.items()}
    for size in args.bytes:
        prime = joined(chosen, size)
        begin = time.process_time()
        ready = coder(prime)
        print(
            f"{len(prime)} bytes learnt in {time.process_time() - begin:.2f} s of the processor", flush=True
        )
        columns[f"{size // 1000} KB"] = {kind: sizes(ready, found) for kind, found in measured.items()}
    print(table(measured, cold, columns))


def texts(shards: Sequence[Path], most: int, *, measured: bool, whole: bool = False) -> Texts:
    """The first texts of each kind, from one half of the sources; whole: of the sizes of SIZES in turn."""
    found: Texts = defaultdict(list)
    for record in records(shards):
        kind, source, text = record["kind"], record["source"], record["text"].encode()
        size = SIZES[len(found[kind]) % len(SIZES)] if whole else _TEXT
        side = hashlib.sha256(source.encode()).digest()[0] % 2 == 1
        if (
            side == measured
            and source not in NO_LICENCE
            and len(found[kind]) < most
            and len(text) >= size // 2
        ):
            found[kind].append(text[: text.rfind(b"\n", 0, size) + 1] or text[:size])
    return {kind: found[kind] for kind in sorted(found)}


def records(shards: Sequence[Path]) -> Iterator[dict[str, str]]:
    for shard in shards:
        with lzma.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def given(files: Sequence[Path]) -> Texts:
    """Their beginnings, by suffix."""
    found: Texts = defaultdict(list)
    for number, path in enumerate(sorted(files)):
        found[path.suffix.lstrip(".") or "none"].append(path.read_bytes()[: SIZES[number % 2]])
    return dict(found)


def passages(pool: Sequence[bytes], size: int) -> list[bytes]:
    """Passages of the pool, the best first, of `size` bytes in all."""
    common = np.zeros(_SLOTS, np.int32)  # texts that an n-gram is in
    for text in pool:
        common[grams(text)] += 1
    worth = np.where(common > 1, np.log2(np.maximum(common, 1)), 0)
    cut = [passage for text in pool for passage in cut_up(text)]
    inside = [grams(passage) for passage in cut]

    def mark(i: int) -> float:
        return float(worth[inside[i]].sum()) / len(cut[i])

    heap = [(-mark(i), i) for i in range(len(cut))]
    heapq.heapify(heap)
    chosen: list[bytes] = []
    while heap and size > 0:
        _, i = heapq.heappop(heap)
        now = mark(i)  # it may have fallen, since others were chosen
        if heap and now < -heap[0][0]:
            heapq.heappush(heap, (-now, i))
            continue
        chosen.append(cut[i])
        size -= len(cut[i])
        worth[inside[i]] = 0
    return chosen


def grams(text: bytes) -> np.ndarray:
    """Hashes of the n-grams in a text, each once."""
    letters = np.frombuffer(text, np.uint8).astype(np.uint64)
    n = max(len(letters) - _GRAM + 1, 0)
    hashed = np.zeros(n, np.uint64)
    for i in range(_GRAM):
        hashed = hashed * np.uint64(0x100000001B3) + letters[i : i + n]
    return np.unique((hashed * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(42)).astype(np.int64))


def cut_up(text: bytes) -> Iterator[bytes]:
    """A text in pieces of about _PASSAGE bytes, at ends of lines where there are some."""
    at = 0
    while at < len(text):
        end = text.find(b"\n", at + _PASSAGE // 2, at + 2 * _PASSAGE) + 1 or at + _PASSAGE
        if len(text[at:end]) > _PASSAGE // 3:
            yield text[at:end]
        at = end


def joined(chosen: dict[str, list[bytes]], size: int) -> bytes:
    """As much of each kind, in turns, the best last."""
    taken: list[tuple[int, int, bytes]] = []
    for order, found in enumerate(chosen.values()):
        left = size // len(chosen)
        for place, passage in enumerate(found):
            if left <= 0:
                break
            taken.append((-place, order, passage))
            left -= len(passage)
    return b"".join(passage for _, _, passage in sorted(taken))


def alone(prime: bytes) -> Ready:
    """The learner without a model, after a priming text."""

    def coding(most: int) -> codec.Coding:
        return codec._coding(Shape.TEXT, table_bits(most), most, codec.NO_LAYOUT, None)[0]

    if not prime:
        return lambda text: coding(len(text)).encode(text)
    held = coding(len(prime) + SIZES[-1])
    before = held.encode(prime)
    return lambda text: held.encode(text) - before


def beside(name: str | None, measured: Texts) -> Callable[[bytes], Ready]:
    """As `alone`, beside a model with the parameters of level 6. The files are single lanes. measured: what
    will be coded."""
    model = load_model(name)
    model.prepare()
    level = LEVELS[6]
    window = min(level.window, model.max_context)
    params = CodingParams(window, predictor_set(model), level.capacity, level.bits)
    vocabulary = model.tokenizer.vocabulary(model.vocab_size)
    longest = max(len(model.tokenizer.encode(text)) for found in measured.values() for text in found)

    def ready(prime: bytes) -> Ready:
        prefix = model.tokenizer.encode(prime)
        session = model.session(1, window)

        def encoder(tokens: int) -> group.GroupEncoder:
            return group.encoder(vocabulary, params, [tokens])

        held = encoder(len(prefix) + longest)
        if prefix:
            teach(session, [0], prefix, model, window, lambda rows, tokens: held.learn(rows, *_lane(tokens)))

        def code(text: bytes) -> int:
            tokens = model.tokenizer.encode(text)
            made = held if prefix else encoder(len(tokens))
            inputs = [prefix[-1] if prefix else model.bos_id, *tokens]
            for at in range(0, len(tokens), _ROWS):
                part = tokens[at : at + _ROWS]
                rows = session.extend([inputs[at : at + len(part)]])[0]
                made.encode(np.ascontiguousarray(rows), *_lane(part))
            if prefix:  # a group wants all the tokens that it was made for; what is learnt costs nothing
                lane, at, learnt = _lane([model.bos_id] * (longest - len(tokens)))
                made.learn(np.ascontiguousarray(rows[:1]), lane, 0 * at, learnt)
            return len(made.finish())

        return code

    return ready


def _lane(tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """lanes, at and tokens of GroupEncoder, all of lane 0."""
    return np.zeros(len(tokens), np.int32), np.arange(len(tokens)), np.array(tokens, np.int32)


def sizes(ready: Ready, found: Sequence[bytes]) -> list[int]:
    """Bytes that each text takes, each coded by a child of its own."""
    return [in_child(lambda text=text: ready(text)) for text in found]  # type: ignore[misc]


def in_child(call: Callable[[], int]) -> int:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, str(call()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise SystemExit("a child process failed")
    return int(said)


def table(measured: Texts, cold: Sized, columns: dict[str, Sized]) -> str:
    """A line for each kind, and for all."""

    def share(size: Sized, kinds: Sequence[str]) -> str:
        return f"{100 * sum(sum(size[k]) for k in kinds) / sum(sum(cold[k]) for k in kinds):.1f}"

    rows = []
    for name, kinds in [*((kind, [kind]) for kind in measured), ("all", list(measured))]:
        content = sum(len(text) for kind in kinds for text in measured[kind])
        files, start = sum(len(measured[k]) for k in kinds), sum(sum(cold[k]) for k in kinds)
        rows.append(
            [name, f"{files}", f"{content:,}", f"{start:,}", *(share(c, kinds) for c in columns.values())]
        )
    return markdown_table(["kind", "files", "bytes", "cold", *(f"{name}, %" for name in columns)], rows)


if __name__ == "__main__":
    main()
