"""Calls of codecs/learner/learner: one text that is coded without a model, by its handle."""

from __future__ import annotations

import ctypes

from nacrith.native import abi
from nacrith.native.library import Library, payload_of, value


def encoder(
    library: Library, shape: int, bits: int, length: int, layout: tuple[int, int], kernels: str | None
) -> int:
    """A handle for a text of `length` bytes. layout: step and row. ValueError for a shape, size, layout or
    name that does not exist."""
    handle = abi.Handle()
    library.check(library.c.nacrith_learner_encoder(shape, bits, length, *layout, _name(kernels), handle))
    return value(handle)


def decoder(
    library: Library,
    shape: int,
    bits: int,
    length: int,
    layout: tuple[int, int],
    kernels: str | None,
    payload: bytes,
) -> int:
    """A handle for the text of `length` bytes that `payload` stands for."""
    handle, name = abi.Handle(), _name(kernels)
    call = library.c.nacrith_learner_decoder
    library.check(call(shape, bits, length, *layout, name, payload, len(payload), handle))
    return value(handle)


def encode(library: Library, learner: int, data: bytes) -> int:
    """Takes the next bytes of the text. Returns a length that the payload has at least, whatever follows."""
    size = ctypes.c_int64()
    library.check(library.c.nacrith_learner_encode(learner, data, len(data), ctypes.byref(size)))
    return size.value


def decode(library: Library, learner: int, size: int) -> bytes:
    """The next `size` bytes of the text."""
    data = ctypes.create_string_buffer(size)
    library.check(library.c.nacrith_learner_decode(learner, data, size))
    return data.raw


def finish(library: Library, learner: int) -> bytes:
    """The payload of a text that has been taken whole."""
    return payload_of(library, library.c.nacrith_learner_finish, learner)


def _name(kernels: str | None) -> bytes | None:
    return None if kernels is None else kernels.encode()
