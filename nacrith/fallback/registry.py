"""`Registry`: a set of fallback codecs. It codes each block with the one that makes it smallest.

It implements `nacrith.archive.blockcodec.FallbackCodecs`. The choice is a function of the data and of the
versions of the libraries, never of the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from nacrith.archive.blockcodec import FallbackBlock
from nacrith.errors import CorruptError
from nacrith.fallback.codec import MAX_BLOCK, Codec, Cost, Variant
from nacrith.fallback.shared import middle
from nacrith.workers import run_all

Candidate = tuple[Codec, Variant]

RAW = 0
KINDS = (RAW, *range(2, 16))  # 1 is the model's
MOST_THREADS = 4  # an encoder may take 700 MB, whatever the number of cores
SMALL = 1 << 12  # bytes up to which starting threads takes longer than they save


class Registry:
    """codecs: raw first, then in order of preference between results of the same length."""

    def __init__(self, *codecs: Codec) -> None:
        self.codecs = {codec.kind: codec for codec in codecs}
        if len(self.codecs) < len(codecs) or not {RAW} <= set(self.codecs) <= set(KINDS):
            raise ValueError("codecs need kinds of their own, 0 (raw, always there) or 2 to 15")
        self.names: Mapping[int, str] = MappingProxyType({codec.kind: codec.name for codec in codecs})

    def encode(
        self,
        data: bytes,
        *,
        text: bool = False,
        quick: bool = False,
        threads: int = 1,
        made: FallbackBlock | None = None,
    ) -> FallbackBlock:
        """Return the smallest coding of `data`, at most 16 MiB; it is raw if no codec makes `data` smaller.

        text: leave out variants that help with binaries only. quick: try only codecs that are fast and good
        at short text. threads: how many encoders may run at a time; at most four do. made: an earlier result
        for the same data. Its candidates are not tried again, and it is returned unless a new one is smaller.
        """
        if len(data) > MAX_BLOCK:
            raise ValueError(f"a block has at most {MAX_BLOCK} bytes, not {len(data)}")
        best = made or FallbackBlock(RAW, data)
        if not data or self._is_noise(data):
            return best
        candidates = [
            (codec, variant)
            for codec in self.codecs.values()
            for variant in codec.variants(data, text=text, quick=quick)
        ]
        for cost in (Cost.SLOW, Cost.NORMAL):
            candidates = _promising(candidates, data, cost, threads)
        candidates = [candidate for candidate in candidates if candidate not in best.tried]
        payloads = _encode_each(candidates, data, threads)
        tried = best.tried.union(candidates)
        for (codec, _), payload in sorted(
            zip(candidates, payloads, strict=True), key=lambda result: len(result[1])
        ):
            if len(payload) >= len(best.payload):
                break
            if not codec.verify or self._decodes_to(codec.kind, payload, data):
                return FallbackBlock(codec.kind, payload, tried)
        return FallbackBlock(best.kind, best.payload, tried)

    def decode(self, kind: int, payload: bytes, size: int) -> bytes:
        """Decode `payload` to `size` bytes. Raises CorruptError if that fails or the length differs.

        Errors that the payload has not caused, such as MemoryError, are not converted.
        """
        try:
            data = self.codecs[kind].decode(payload, size)
        except ValueError as error:
            raise CorruptError(f"payload does not decode: {error}") from error
        if len(data) != size:
            raise CorruptError(f"payload decodes to {len(data)} bytes, not to the stated {size}")
        return data

    def _decodes_to(self, kind: int, payload: bytes, data: bytes) -> bool:
        try:
            return self.decode(kind, payload, len(data)) == data
        except CorruptError:
            return False

    def _is_noise(self, data: bytes) -> bool:
        """Whether no codec expects a gain on this large block, such as a part of an encrypted file."""
        return len(data) >= Cost.NORMAL.least and not any(c.sees_gain(data) for c in self.codecs.values())


def _encode_each(candidates: list[Candidate], data: bytes, threads: int) -> list[bytes]:
    """Encode `data` with each candidate. Returns the payloads in order."""
    calls = [partial(codec.encode, data, variant) for codec, variant in candidates]
    return run_all(calls, min(threads, MOST_THREADS) if len(data) >= SMALL else 1)


def _promising(candidates: list[Candidate], data: bytes, cost: Cost, threads: int) -> list[Candidate]:
    """Drop the candidates that are not worth their time on a block of this length, after a trial.

    All candidates encode a part of the block. The trial decides about the codecs of this cost class and of
    slower ones: two variants of each remain, the default and the best of the others, if they come within the
    codec's margin of the best result. The part is at most half of the block, so a trial never makes a payload
    that could be used.
    """
    if len(data) < cost.least or all(codec.cost != cost for codec, _ in candidates):
        return candidates
    part = middle(data, cost.part)
    payloads = _encode_each(candidates, part, threads)
    sizes = {candidate: len(payload) for candidate, payload in zip(candidates, payloads, strict=True)}
    smallest = min(sizes.values())
    kept: list[Candidate] = []
    for codec in dict.fromkeys(codec for codec, _ in candidates):
        of_codec = [candidate for candidate in candidates if candidate[0] is codec]
        if codec.cost.least > cost.least:  # a faster class
            kept += of_codec
            continue
        first, *others = of_codec
        chosen = [first, *sorted(others, key=sizes.__getitem__)[:1]]
        kept += [candidate for candidate in chosen if sizes[candidate] <= smallest * codec.margin]
    return kept
