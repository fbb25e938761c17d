"""`Registry`: a set of fallback codecs. It codes each block with the one that makes it smallest.

It implements `nacrith.archive.blockcodec.FallbackCodecs`. The choice is a function of the data and of the
versions of the libraries, never of the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from nacrith.archive.blockcodec import Effort, FallbackBlock
from nacrith.errors import CorruptError
from nacrith.fallback.codec import MAX_BLOCK, Codec, Cost, Variant
from nacrith.fallback.shared import middle
from nacrith.workers import run_all

Candidate = tuple[Codec, Variant]

RAW = 0
KINDS = (RAW, *range(2, 16))  # 1 is the model's
MOST_THREADS = 4  # an encoder may take 700 MB, whatever the number of cores
REPETITION = 256  # times smaller than its content: a payload that a slow codec need not improve
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
        effort: Effort = Effort.FULL,
        threads: int = 1,
    ) -> FallbackBlock:
        """Return the smallest coding of `data`, at most 16 MiB; it is raw if no codec makes `data` smaller.

        text: leave out variants that help with binaries only. threads: how many encoders may run at a time;
        at most four do.
        """
        if len(data) > MAX_BLOCK:
            raise ValueError(f"a block has at most {MAX_BLOCK} bytes, not {len(data)}")
        if not data or self._is_noise(data):
            return FallbackBlock(RAW, data)
        candidates = [
            (codec, variant)
            for codec in self.codecs.values()
            for variant in codec.variants(data, text=text, effort=effort)
        ]
        for cost in (Cost.SLOW, Cost.NORMAL):
            candidates = _promising(candidates, data, cost, threads)
        made = _encode_each(candidates, data, threads)
        blocks = [FallbackBlock(codec.kind, made[codec, v]) for codec, v in candidates if (codec, v) in made]
        return min([FallbackBlock(RAW, data), *blocks], key=lambda block: len(block.payload))

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

    def _is_noise(self, data: bytes) -> bool:
        """Whether no codec expects a gain on this large block, such as a part of an encrypted file.

        The codecs are asked in order: where a fast one expects a gain, no slow one is asked.
        """
        return len(data) >= Cost.SLOW.least and not any(c.sees_gain(data) for c in self.codecs.values())


def _encode_each(candidates: list[Candidate], data: bytes, threads: int) -> dict[Candidate, bytes]:
    """Encode `data` with each candidate; with the slow ones last, and only if it is no endless repetition."""
    made: dict[Candidate, bytes] = {}
    for cost in (Cost.NORMAL, Cost.SLOW):
        if min(map(len, made.values()), default=len(data)) * REPETITION <= len(data):
            break
        chosen = [candidate for candidate in candidates if candidate[0].cost == cost]
        calls = [partial(codec.encode, data, variant) for codec, variant in chosen]
        payloads = run_all(calls, min(threads, MOST_THREADS) if len(data) >= SMALL else 1)
        made.update(zip(chosen, payloads, strict=True))
    return made


def _promising(candidates: list[Candidate], data: bytes, cost: Cost, threads: int) -> list[Candidate]:
    """Drop the candidates that are not worth their time on a block of this length, after a trial.

    All candidates encode a part of the block. The trial decides about the codecs of this cost class and of
    slower ones: the variants that `Cost.kept` allows remain, if they come within the codec's margin of the
    best result. The part is at most half of the block, so a trial never makes a payload that could be
    used.
    """
    if len(data) < cost.least or all(codec.cost != cost for codec, _ in candidates):
        return candidates
    part = middle(data, cost.part)
    sizes = {
        candidate: len(payload) for candidate, payload in _encode_each(candidates, part, threads).items()
    }
    smallest = min(sizes.values())
    kept: list[Candidate] = []
    for codec in dict.fromkeys(codec for codec, _ in candidates):
        of_codec = [candidate for candidate in candidates if candidate[0] is codec]
        if codec.cost.least > cost.least:  # a faster class
            kept += of_codec
            continue
        best = sorted((c for c in of_codec if c in sizes), key=sizes.__getitem__)
        if codec.cost.kept > 1:
            best.sort(key=lambda c: c != of_codec[0])  # the default is first
        kept += [c for c in best[: codec.cost.kept] if sizes[c] <= smallest * codec.margin]
    return kept
