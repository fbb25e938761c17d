"""The compressors that nacrith is measured against, by their Python libraries, at their strongest.

Also the child process of one measurement: `python -m bench.files.peers NAME compress|decompress IN OUT`
prints the seconds that the call itself took, so that no peer is charged for the start of Python,
and the peak memory of the process.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import common

Codec = Callable[[bytes], bytes]
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@dataclass(frozen=True)
class Peer:
    """name: as in the tables. load: imports the library; its version, compressor, decompressor."""

    name: str
    load: Callable[[], tuple[str, Codec, Codec]]


def _gzip() -> tuple[str, Codec, Codec]:
    import gzip
    import zlib

    return (
        f"zlib {zlib.ZLIB_RUNTIME_VERSION}",
        lambda data: gzip.compress(data, 9, mtime=0),
        gzip.decompress,
    )


def _bzip2() -> tuple[str, Codec, Codec]:
    import bz2

    return "Python's bz2", lambda data: bz2.compress(data, 9), bz2.decompress


def _xz() -> tuple[str, Codec, Codec]:
    import lzma

    preset = 9 | lzma.PRESET_EXTREME
    return "Python's lzma", lambda data: lzma.compress(data, preset=preset), lzma.decompress


def _zstd() -> tuple[str, Codec, Codec]:
    import zstandard

    def compress(data: bytes) -> bytes:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            22, window_log=27, enable_ldm=True, write_checksum=True
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)

    return (
        f"libzstd {'.'.join(map(str, zstandard.ZSTD_VERSION))}",
        compress,
        lambda data: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(data),
    )


def _brotli() -> tuple[str, Codec, Codec]:
    import brotli

    def compress(data: bytes) -> bytes:
        result: bytes = brotli.compress(data, quality=11, lgwin=24)
        return result

    return f"brotli {brotli.__version__}", compress, brotli.decompress


def _ppmd(order: int, memory: int = 256 << 20) -> Callable[[], tuple[str, Codec, Codec]]:
    """PPMd variant H. The raw stream does not know its end: 8 bytes of length go before it."""

    def load() -> tuple[str, Codec, Codec]:
        import pyppmd

        def compress(data: bytes) -> bytes:
            encoder = pyppmd.Ppmd7Encoder(order, memory)
            body: bytes = encoder.encode(data) + encoder.flush()
            return len(data).to_bytes(8, "little") + body

        def decompress(data: bytes) -> bytes:
            decoder: Any = pyppmd.Ppmd7Decoder(order, memory)
            length = int.from_bytes(data[:8], "little")
            content = bytearray(decoder.decode(data[8:], length)) if length else bytearray()
            while len(content) < length and not decoder.eof:
                # The decoder may hold back what a last zero byte of input would release.
                content += decoder.decode(b"\0", length - len(content))
            return bytes(content)

        return f"pyppmd {pyppmd.__version__}", compress, decompress

    return load


def _learner(shape: str) -> Callable[[], tuple[str, Codec, Codec]]:
    """nacrith's learner without a language model, in one shape.

    Its tables have 256 bytes for each byte of the file, at most 2^26; 8 bytes of length precede the payload.
    """

    def load() -> tuple[str, Codec, Codec]:
        import nacrith
        from nacrith.learner import Shape, decode, encode

        def tables(size: int) -> int:
            return min(max((256 * size).bit_length(), 16), 26)

        def compress(data: bytes) -> bytes:
            return len(data).to_bytes(8, "big") + (encode(data, Shape[shape], tables(len(data))) or b"")

        def decompress(data: bytes) -> bytes:
            size = int.from_bytes(data[:8], "big")
            return decode(data[8:], Shape[shape], tables(size), size)

        return f"nacrith {nacrith.__version__}", compress, decompress

    return load


def _zpaq() -> tuple[str, Codec, Codec]:
    """zpaq's strongest method, context mixing; Debian's package zpaq. Its archives name the file."""

    def compress(data: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "f").write_bytes(data)
            subprocess.run(["zpaq", "add", "f.zpaq", "f", "-m5", "-t1"], cwd=folder, check=True, **_QUIET)
            return (Path(folder) / "f.zpaq").read_bytes()

    def decompress(data: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "f.zpaq").write_bytes(data)
            subprocess.run(["zpaq", "extract", "f.zpaq", "-t1"], cwd=folder, check=True, **_QUIET)
            return (Path(folder) / "f").read_bytes()

    return "zpaq of this machine", compress, decompress


PEERS = {
    peer.name: peer
    for peer in (
        Peer("gzip -9", _gzip),
        Peer("bzip2 -9", _bzip2),
        Peer("xz -9e", _xz),
        Peer("zstd -22 --long=27", _zstd),
        Peer("brotli 11", _brotli),
        *([Peer("PPMd o6", _ppmd(6)), Peer("PPMd o16", _ppmd(16))] if find_spec("pyppmd") else []),
        *([Peer("zpaq -m5", _zpaq)] if shutil.which("zpaq") else []),
    )
}

OWN = {
    peer.name: peer
    for peer in (
        Peer("learner, text", _learner("TEXT")),
        Peer("learner, data", _learner("DATA")),
        Peer("learner, fast", _learner("FAST")),
    )
}
"""Parts of nacrith that are measured beside the peers."""


def main(arguments: list[str]) -> None:
    name, direction, source, target = arguments
    _, compress, decompress = (PEERS | OWN)[name].load()
    data = Path(source).read_bytes()
    begin = time.perf_counter()
    result = compress(data) if direction == "compress" else decompress(data)
    seconds = time.perf_counter() - begin
    Path(target).write_bytes(result)
    print(seconds, common.own_peak_mb())


if __name__ == "__main__":
    main(sys.argv[1:])
