"""Copies of what is in the middle of something: refused, or real copies."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from archive_fakes import pack
from clirunner import MODEL, TEXT

import nacrith
from nacrith.archive import ArchiveReader, ArchiveWriter
from nacrith.codec import group
from nacrith.codec.params import CodingParams
from nacrith.fallback import CODECS

LEVEL = {"level": 2, "model": str(MODEL)}
MAKERS: dict[str, Callable[[], Any]] = {
    "Compressor": lambda: nacrith.Compressor(**LEVEL),
    "Decompressor": nacrith.Decompressor,
    "reading": lambda: nacrith.open(io.BytesIO(pack(TEXT, None))),
    "reading text": lambda: nacrith.open(io.BytesIO(pack(TEXT, None)), "rt"),
    "writing": lambda: nacrith.open(io.BytesIO(), "wb", **LEVEL),
    "ArchiveReader": lambda: ArchiveReader(io.BytesIO(pack(TEXT, None)), lambda _: None, CODECS),  # type: ignore
    "ArchiveWriter": lambda: ArchiveWriter(io.BytesIO(), None, CODECS, block_bytes=1 << 20),
}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_no_copy_shares_state(make: Callable[[], Any], copied: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="cannot"):
        copied(make())


@pytest.mark.skipif(nacrith.engine != "native", reason="the native core is not built")
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copy_shares_a_native_handle(copied: Callable[[Any], Any]) -> None:
    """The original would free it."""
    model: Any = nacrith.load_model(str(MODEL))
    coder = group.encoder(model.tokenizer.vocabulary(model.vocab_size), CodingParams(64), [1])
    for made in (model.engine, model.session(1, 64), coder):
        with pytest.raises(TypeError, match="cannot copy or pickle a Native"):
            copied(made)


def test_what_has_no_state_can_be_copied() -> None:
    (info,) = nacrith.info(pack(TEXT, None))
    assert copy.deepcopy(info) == copy.copy(info) == pickle.loads(pickle.dumps(info)) == info
    for error in (nacrith.CorruptError("x"), nacrith.TruncatedError("x"), nacrith.ModelError("x")):
        assert str(pickle.loads(pickle.dumps(error))) == "x"
