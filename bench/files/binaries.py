"""Mixed binaries of this machine against the best of xz, zstd and brotli for each file.

    python -m bench.files.binaries [--bytes N] [-1 .. -9]

The files: six tenths programs and libraries (of Python and numpy), the rest a tar of small files of the
standard library, sound and pictures; of the latter two what Python's tests bring, and one each that is
computed. The same machine gives the same files. Every archive is decompressed and compared. Prints one table
and saves nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import struct
import sys
import sysconfig
import tarfile
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import nacrith
from bench.common import machine, markdown_table
from bench.files.peers import PEERS

AGAINST = ("xz -9e", "zstd -22 --long=27", "brotli 11")
LIBRARY = Path(sysconfig.get_path("stdlib"))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.files.binaries", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--bytes", type=int, default=10_000_000, metavar="N", help="of all files, about")
    parser.set_defaults(level=3)
    for level in range(1, 10):
        parser.add_argument(f"-{level}", dest="level", action="store_const", const=level)
    return parser.parse_args(arguments)


def chosen(paths: Iterable[Path], budget: int, least: int = 0) -> dict[str, bytes]:
    """Files of `least` bytes or more that fit into the budget, in an order that their names alone decide."""
    found: dict[str, bytes] = {}
    for path in sorted(set(paths), key=lambda path: hashlib.sha256(path.name.encode()).digest()):
        size = path.stat().st_size
        if least <= size <= budget and path.name not in found:
            found[path.name] = path.read_bytes()
            budget -= size
    return found


def programs() -> list[Path]:
    packages = Path(np.__file__).parent
    places = [LIBRARY / "lib-dynload", packages, packages.with_name("numpy.libs")]
    libraries = [path for place in places for path in place.rglob("*.so*") if path.is_file()]
    commands = [Path(sys.base_prefix, "bin", name) for name in ("python3", "openssl", "sqlite3")]
    return [*libraries, Path(sys.executable).resolve(), *(path for path in commands if path.is_file())]


def tar(budget: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        files = (p for p in LIBRARY.glob("*/*") if p.is_file() and p.stat().st_size <= 8000)
        for name, content in chosen(files, budget * 3 // 4).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def sound(size: int) -> bytes:
    """A WAV of two channels of 16 bits: notes that fade away, with harmonics and faint noise."""
    time = np.arange(size // 4) / 44_100
    beat, since = np.divmod(time, 0.35)
    pitch = 220 * 2 ** (beat * 7 % 12 / 12)
    tone = sum(np.sin(2 * np.pi * k * pitch * since) / k**1.5 for k in range(1, 6)) * np.exp(-4 * since)
    noise = np.random.default_rng(1).normal(0, 8, (len(time), 2))
    samples = np.stack([9000 * tone, 7000 * np.roll(tone, 40)], 1) + noise
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((2, 2, 44_100, len(time), "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return out.getvalue()


def picture(size: int) -> bytes:
    """A BMP of 24 bits: soft shades with edges, with faint noise."""
    side = max(int((size // 3) ** 0.5) // 4 * 4, 4)
    y, x = np.mgrid[:side, :side] / side
    shades = [
        np.sin(5 * x + 3 * y * k) * np.cos(4 * y - k * x) + (np.hypot(x - 0.5, y - 0.4) < 0.3)
        for k in (1, 2, 3)
    ]
    noise = np.random.default_rng(2).normal(0, 2, (side, side, 3))
    pixels = (110 + 50 * np.stack(shades, 2) + noise).clip(0, 255).astype(np.uint8).tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(pixels), 0, 0, 54) + head + pixels


def files(size: int) -> dict[str, bytes]:
    made = chosen(programs(), size * 6 // 10, least=20_000)
    made |= {"stdlib.tar": tar(size * 15 // 100)}
    made |= chosen(LIBRARY.rglob("*.wav"), size // 10, least=10_000)
    made |= {"notes.wav": sound(size // 20)}
    made |= chosen(LIBRARY.rglob("*.bmp"), size // 20, least=1000)
    return made | {"shades.bmp": picture(size // 10)}


def archive_size(data: bytes, level: int) -> int:
    archive = nacrith.compress(data, level=level)
    if nacrith.decompress(archive) != data:
        raise SystemExit("ROUND TRIP FAILED: the decompressed file is another one")
    return len(archive)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    peers = [PEERS[name].load()[1] for name in AGAINST]
    rows, total, ours, best = [], 0, 0, 0
    for name, data in files(options.bytes).items():
        sizes = [archive_size(data, options.level), *(len(compress(data)) for compress in peers)]
        total, ours, best = total + len(data), ours + sizes[0], best + min(sizes[1:])
        rows.append(
            [
                name,
                f"{len(data):,}",
                *(f"{s:,}" for s in sizes),
                f"{100 * sizes[0] / min(sizes[1:]) - 100:+.1f}",
            ]
        )
        print(name, *rows[-1][1:], file=sys.stderr, flush=True)
    rows.append(["all", f"{total:,}", f"{ours:,}", *[""] * len(peers), f"{100 * ours / best - 100:+.1f}"])
    print(f"{machine()}\n")
    print(
        markdown_table(["file", "bytes", f"nacrith -{options.level}", *AGAINST, "against the best, %"], rows)
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
