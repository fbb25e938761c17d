"""The coding parameters that an archive records, and the sets of predictors that they name."""

from __future__ import annotations

import itertools
import subprocess
import sys
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nacrith.codec.params import CodingParams
from nacrith.errors import CorruptError, UnsupportedFormatError
from nacrith.models.floats import binding as bound
from nacrith.predictors.registry import SETS

BINDING = {"backend": "fake", "threads": "2", "cpu": "Some (R) CPU @ 2.00GHz"}


@given(
    st.integers(16, 1 << 16), st.one_of(st.none(), st.integers(8, 20)), st.integers(1, 2), st.integers(16, 26)
)
def test_params_round_trip(window: int, capacity: int | None, number: int, bits: int) -> None:
    some = (0, 0) if capacity is None else (number, capacity)
    for binding, prefix in itertools.product(({}, BINDING), (b"", bytes(range(8)))):
        params = CodingParams(window, *some, bits, binding, prefix=prefix)
        assert CodingParams.from_bytes(params.to_bytes()) == params


@pytest.mark.parametrize(("tokens", "bits"), [(0, 16), (16, 16), (17, 17), (1 << 9, 21), (1 << 30, 26)])
def test_damage_asks_for_no_more_memory_than_a_block_of_its_length_needs(tokens: int, bits: int) -> None:
    assert CodingParams(64, bits=26).bits_for(tokens) == bits
    assert CodingParams(64, bits=16).bits_for(tokens) == 16


def test_the_bytes() -> None:
    data = CodingParams(2048, 1, 13, 22, BINDING).to_bytes()
    assert data == b"\x02\x51\x16\x80\x10backend=fake\nthreads=2\ncpu=Some (R) CPU @ 2.00GHz"
    assert CodingParams(64, bits=22, prefix=b"12345678").to_bytes() == b"\x02\x00\x96\x4012345678"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", CorruptError),
        (b"\2\0\x10", CorruptError),
        (b"\1\0\x40", UnsupportedFormatError),
        (b"\1\0\x40\x40", UnsupportedFormatError),
        (b"\3\0\x10\x40", CorruptError),
        (b"\4\0\x10\x40", UnsupportedFormatError),
        (b"\2\x63\x10\x40", UnsupportedFormatError),
        (b"\2\x10\x10\x40", UnsupportedFormatError),
        (b"\2\xd1\x10\x40", UnsupportedFormatError),
        (b"\2\0\x0f\x40", CorruptError),
        (b"\2\0\x1b\x40", CorruptError),
        (b"\2\0\x90\x40", CorruptError),
        (b"\2\0\x90\x40\1\2\3\4\5\6\7", CorruptError),
        (b"\2\0\x10\x05", CorruptError),
        (b"\2\0\x10\xff\xff\xff\x7f", CorruptError),
        (b"\2\0\x10\xc0", CorruptError),
        (b"\2\0\x10\x10\x01", CorruptError),
    ],
)
def test_bad_params(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        CodingParams.from_bytes(data)


@given(st.binary(max_size=60))
@settings(max_examples=200)
def test_damaged_params(tail: bytes) -> None:
    try:
        params = CodingParams.from_bytes(bytes([2, 0, 20, 64]) + tail)
    except (CorruptError, UnsupportedFormatError):
        return
    assert bool(params.binding) == bool(tail)
    assert len(params.binding) <= tail.count(b"=")


@pytest.mark.parametrize("tail", [b"a", b"a=", b"=a", b"a=b\n", b"a=b\na=c", b"a=\x7f", b"A=b", b"a=\xff"])
def test_a_binding_that_is_none(tail: bytes) -> None:
    with pytest.raises(CorruptError):
        CodingParams.from_bytes(b"\x02\x00\x14\x40" + tail)


def test_bindings_of_every_backend_fit() -> None:
    longest = bound.printable("x" * 100)
    version = longest[: bound.MAX_VERSION]
    both = {"threads": "1024", "gpu": longest}
    llama = {"backend": "llama.cpp", "llama-cpp-python": version, "library": "0" * 16, "cpu": longest}
    llama |= {"device": "gpu", "plan": "step/512/f16", "lanes": "256", "gpu-layers": "9999"}
    torch = {"backend": "transformers", "transformers": version, "torch": version, "device": "cuda"}
    torch |= {"dtype": "bfloat16", "matmul": "highest", "plan": "step/512/eager", "cache": "dynamic"}
    for most in (llama | both, torch | both):
        assert len(CodingParams(2048, 1, 13, 22, most).to_bytes()) <= 255


@pytest.mark.parametrize("number", list(SETS))
def test_each_set_is_complete(number: int) -> None:
    entry = SETS[number]
    assert entry.number == number
    assert number < 16  # what an archive has room for
    if entry.prior:
        assert resources.files("nacrith.predictors").joinpath(entry.prior).is_file()


def test_the_table_of_sets_is_cheap() -> None:
    """`info` reads coding parameters, and numpy takes longer to import than all else that it does."""
    script = "import sys, nacrith.codec.params; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
