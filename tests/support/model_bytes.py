"""The committed model file as bytes, and files made like it with any header: for tests of damage."""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
from paths import TINY
from small_models import random_model

from nacrith.models.exact import modelfile

CONTENT = TINY.read_bytes()
HEADER_SIZE, INFO_SIZE = struct.unpack("<II", CONTENT[48:56])
INFO_END = 56 + HEADER_SIZE + INFO_SIZE
DATA = -(-INFO_END // 64) * 64


def with_tokenizer() -> dict[str, np.ndarray]:
    return {**random_model().tensors, "tokenizer": np.frombuffer(b"{}", np.uint8)}


def sealed(header: object, info: bytes = b"{}", data: bytes = b"") -> bytes:
    """A file with a right fingerprint around any header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    start = modelfile.MAGIC + hashlib.sha256(raw + data).digest()
    start += struct.pack("<II", len(raw), len(info)) + raw + info
    return start + bytes(-len(start) % 64) + data


def header_with(**changes: object) -> dict[str, object]:
    header = json.loads(CONTENT[56 : 56 + HEADER_SIZE])
    header["config"] |= changes
    return header
