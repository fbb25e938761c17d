"""Kind 5, PPMd: prediction by partial matching, variants H and I, by the `pyppmd` package.

All workarounds for the faults of that library are in this file:

- its encoders sometimes lose a byte, so results are verified (`verify`) and input is given in small steps;
- its decoders corrupt memory if one is freed while it waits for input, so they are always fed to the end;
- it decodes on a thread of its own, waits for ever if that thread cannot be started, and leaks input that
  it has not consumed. This file cannot prevent either.

Specification: formats/archive-v1.md, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.fallback.codec import Codec, Variant
from nacrith.fallback.shared import bits, sample

VARIANT_I = 0x80  # the high bit of the payload's first byte; the low 7 bits are the order
_STEP = 1 << 14  # bytes given to an encoder at a time
_FEED = 1 << 16  # zero bytes given to a decoder that needs more input


class Ppmd(Codec):
    """Variant: (the payload's first byte,)."""

    kind = 5
    name = "ppmd"
    verify = True  # the only codec whose library is known to lose bytes

    def variants(self, data: bytes, *, text: bool, quick: bool) -> Sequence[Variant]:
        if quick:
            return ((VARIANT_I | 6,), (32,))
        return ((VARIANT_I | 6,), (VARIANT_I | 16,), (VARIANT_I | 3,), (64,))

    def encode(self, data: bytes, variant: Variant) -> bytes:
        """Omits the 0 that variant H begins with, and zeros at the end: the decoder supplies both."""
        import pyppmd

        (order,) = variant
        make = pyppmd.Ppmd8Encoder if order & VARIANT_I else pyppmd.Ppmd7Encoder
        encoder = make(order & 0x7F, _memory(len(data)))
        # In small steps: the library sometimes loses a byte if one call makes more than 32 KiB of output.
        parts = [encoder.encode(data[i : i + _STEP]) for i in range(0, len(data), _STEP)]
        packed: bytes = b"".join(parts) + encoder.flush()
        start = 0 if order & VARIANT_I else 1
        return bytes([order]) + packed[start:].rstrip(b"\0")

    def decode(self, payload: bytes, size: int) -> bytes:
        import pyppmd

        order = payload[0] if payload else 0
        if not 2 <= order & 0x7F <= (16 if order & VARIANT_I else 64):
            raise ValueError(f"impossible PPMd order {order & 0x7F}")
        make = pyppmd.Ppmd8Decoder if order & VARIANT_I else pyppmd.Ppmd7Decoder
        coded = payload[1:] if order & VARIANT_I else b"\0" + payload[1:]
        if coded.startswith(b"\0\xff\xff\xff\xff") and not order & VARIANT_I:
            raise ValueError("impossible PPMd range coder state")
        if not size:
            return b""
        try:
            decoder = make(order & 0x7F, _memory(size))
            data: bytes = decoder.decode(coded + bytes(_FEED), size)
            while len(data) < size and decoder.needs_input and not decoder.eof:
                data += decoder.decode(bytes(_FEED), size - len(data))
        except (pyppmd.PpmdError, SystemError, EOFError, OSError) as error:
            raise ValueError(str(error)) from error
        return data

    def sees_gain(self, data: bytes) -> bool:
        """Encode a sample with a low order, which finds bytes that are not equally frequent."""
        part = sample(data)
        return len(self.encode(part, (VARIANT_I | 3,))) <= 0.995 * len(part)


def _memory(size: int) -> int:
    """Model memory in bytes: 16 times the content, rounded up to a power of two, 1..128 MiB."""
    return 1 << bits(16 * size, 20, 27)
