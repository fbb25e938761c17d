"""Compresses files with nacrith and its peers, checks every round trip, makes tables and a plot.

    python -m bench.files.ratio --data DIR [--head N] [--files GLOB...] [-1 .. -9] [--model M] [--out DIR]

nacrith runs as its console command in a process of its own, and is charged for all of it: the start
of Python, the loading of the model, the reading and writing of files. Peers (bench/files/peers.py) run in
a process of their own too, and are charged for the library call alone. Peak memory is that of the
whole process, for both. Results are kept in a JSON file after every measurement; what is there
already is not measured again, unless --fresh says so.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nacrith
from bench import common
from bench.files import peers

Row = dict[str, Any]
Step = Callable[[str, Path, Path], common.Cost]  # direction, input, output

FIELDS = (
    "file",
    "bytes",
    "program",
    "version",
    "compressed",
    "bpb",
    "compress_s",
    "decompress_s",
    "compress_mb",
    "decompress_mb",
    "date",
    "sha256",
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.files.ratio",
        description="Sizes, seconds and memory of nacrith and its peers on the same files.",
        epilog="A level is given as -1 to -9; without one it is nacrith's default.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get(common.DATA_VARIABLE),
        help=f"folder with the files (default: ${common.DATA_VARIABLE})",
    )
    parser.add_argument("--head", type=int, metavar="N", help="only the first N bytes of each file")
    parser.add_argument("--files", nargs="+", default=(), metavar="GLOB", help="only these files")
    parser.add_argument("--model", help="nacrith's model (default: its own default)")
    parser.add_argument("--threads", type=int, metavar="N", help="nacrith's threads")
    parser.add_argument("--out", type=Path, default=common.RESULTS, help="folder for the results")
    parser.add_argument("--peers-only", action="store_true", help="leave nacrith out")
    parser.add_argument("--nacrith-only", action="store_true", help="leave the peers out")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    for level in range(1, 10):
        parser.add_argument(
            f"-{level}", dest="level", action="store_const", const=level, help=argparse.SUPPRESS
        )
    options = parser.parse_args(arguments)
    if options.data is None:
        parser.error(f"where are the files? give --data DIR or set {common.DATA_VARIABLE}")
    options.data = Path(options.data)
    if not options.data.is_dir():
        parser.error(f"{options.data} is not a folder")
    if options.head is not None and options.head < 1:
        parser.error("--head wants a positive number of bytes")
    return options


def nacrith_name(options: argparse.Namespace) -> str:
    level = f" -{options.level}" if options.level else ""
    return f"nacrith{level}" + (f" {Path(options.model).name}" if options.model else "")


def nacrith_step(
    options: argparse.Namespace, checkout: Path | None = None, variables: Mapping[str, str] | None = None
) -> Step:
    """nacrith's console command, by default this checkout's; `common.run_child` has the arguments."""

    def step(direction: str, source: Path, target: Path) -> common.Cost:
        command = [sys.executable, "-m", "nacrith", direction, "-q", "-f", "-o", str(target)]
        if direction == "compress" and options.level:
            command.append(f"-{options.level}")
        if options.model:
            command += ["-m", options.model]
        if options.threads is not None:
            command += ["-T", str(options.threads)]
        cost, _ = common.run_child([*command, "--", str(source)], checkout, variables)
        return cost

    return step


def peer_step(name: str) -> Step:
    def step(direction: str, source: Path, target: Path) -> common.Cost:
        _, output = common.run_child(
            [sys.executable, "-m", "bench.files.peers", name, direction, str(source), str(target)]
        )
        seconds, peak_mb = map(float, output.split())
        return common.Cost(seconds, peak_mb)

    return step


def measure(step: Step, source: Path, folder: Path, digest: str) -> Row:
    """One program on one file, both ways. ChildError if it fails or the file does not come back."""
    packed, restored = folder / "packed.nac", folder / "restored"
    there = step("compress", source, packed)
    back = step("decompress", packed, restored)
    if common.file_hash(restored) != digest:
        raise common.ChildError("ROUND TRIP FAILED: the decompressed file is another one")
    size, compressed = source.stat().st_size, packed.stat().st_size
    return {
        "compressed": compressed,
        "bpb": round(8 * compressed / size, 4) if size else None,
        "compress_s": round(there.seconds, 3),
        "decompress_s": round(back.seconds, 3),
        "compress_mb": round(there.peak_mb, 1),
        "decompress_mb": round(back.peak_mb, 1),
    }


def programs(options: argparse.Namespace) -> dict[str, tuple[str, Step]]:
    """Name, version and step of everything that is to be measured."""
    chosen: dict[str, tuple[str, Step]] = {}
    if not options.peers_only:
        version = f"nacrith {nacrith.__version__}"
        chosen[nacrith_name(options)] = (version, nacrith_step(options))
    if not options.nacrith_only:
        for name, peer in (peers.PEERS | peers.OWN).items():
            chosen[name] = (peer.load()[0], peer_step(name))
    return chosen


def render(result: dict[str, Any]) -> str:
    """The Markdown of a result: sizes, then seconds and memory, with what they were measured on."""
    rows: list[Row] = result["rows"]
    files = list(dict.fromkeys((r["file"], r["bytes"]) for r in rows))
    names = list(dict.fromkeys(r["program"] for r in rows))
    at = {(r["file"], r["bytes"], r["program"]): r for r in rows}

    def cells(show: Callable[[Row], str]) -> list[list[str]]:
        return [
            [file, f"{size:,}"] + [show(at[file, size, n]) if (file, size, n) in at else "" for n in names]
            for file, size in files
        ]

    sizes = cells(lambda r: f"{r['compressed']:,} ({r['bpb']:.3f})" if r["bytes"] else "0")
    complete = [key for key in files if all((*key, n) in at for n in names)]
    total = sum(size for _, size in complete)
    if len(complete) > 1:
        sums = [sum(at[file, size, n]["compressed"] for file, size in complete) for n in names]
        label = "all" if len(complete) == len(files) else f"the {len(complete)} complete ones"
        sizes.append([label, f"{total:,}"] + [f"{s:,} ({8 * s / total:.3f})" for s in sums])
    costs = cells(
        lambda r: (
            f"{r['compress_s']:.2f} / {r['decompress_s']:.2f} s, "
            f"{max(r['compress_mb'], r['decompress_mb']):.0f} MB"
        )
    )
    versions = dict.fromkeys(f"{r['program']}: {r['version']}" for r in rows)
    dates = sorted(r["date"] for r in rows)
    return "\n".join(
        [
            "# Compressed sizes\n",
            f"{result['machine']}. Measured {dates[0][:10]} to {dates[-1][:10]}. "
            f"{'; '.join(versions)}. Every round trip was checked.\n",
            "Bytes, and bits per byte in brackets:\n",
            common.markdown_table(["file", "bytes", *names], sizes),
            "Wall seconds to compress / decompress, larger peak memory of the two:\n",
            common.markdown_table(["file", "bytes", *names], costs),
        ]
    )


def as_csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    name = "ratio" if options.head is None else f"ratio-head{options.head}"
    path = options.out / f"{name}.json"
    result = common.load_result(path)
    rows: list[Row] = result["rows"]
    files = common.data_files(options.data, options.files)
    if not files:
        sys.exit(f"no file in {options.data} matches {' '.join(options.files) or 'anything'}")
    chosen = programs(options)
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "input"
        for file in files:
            size, digest = common.copy_head(file, source, options.head)
            shown = file.relative_to(options.data).as_posix()
            for program, (version, step) in chosen.items():
                key = {
                    "file": shown,
                    "bytes": size,
                    "program": program,
                    "version": version,
                    "sha256": digest,
                }
                old = [r for r in rows if {k: r[k] for k in key} == key]
                if old and not options.fresh:
                    continue
                try:
                    measured = measure(step, source, Path(folder), digest)
                except common.ChildError as error:
                    failures += 1
                    print(f"{shown}: {program}: {error}", file=sys.stderr, flush=True)
                    continue
                now = datetime.now(UTC).isoformat(timespec="seconds")
                row = key | measured | {"date": now}
                # A new version of a program takes the place of the old one.
                identity = ("file", "bytes", "program")
                rows[:] = [r for r in rows if any(r[k] != row[k] for k in identity)] + [row]
                common.write_json(path, result)
                print(
                    f"{shown}: {program}: {size:,} to {row['compressed']:,}, "
                    f"{row['compress_s']} s and {row['decompress_s']} s",
                    file=sys.stderr,
                    flush=True,
                )
    if rows:
        order = {n: i for i, n in enumerate([nacrith_name(options), *peers.PEERS, *peers.OWN])}
        rows.sort(key=lambda r: (r["file"], r["bytes"], order.get(r["program"], -1), r["program"]))
        common.write_json(path, result)
        common.write_atomic(path.with_suffix(".csv"), as_csv(rows))
        common.write_atomic(path.with_suffix(".md"), render(result))
        print(render(result))
        draw(rows, path.with_suffix(".png"))
    if failures:
        print(f"{failures} measurements failed; run again to repeat them", file=sys.stderr)
    return 1 if failures else 0


def draw(rows: list[Row], path: Path) -> None:
    try:
        from bench.files.plot import plot_bpb
    except ImportError:
        print("no plot: pip install '.[bench]' brings matplotlib", file=sys.stderr)
        return
    plot_bpb(rows, path)
    print(f"plot: {path}")


if __name__ == "__main__":
    sys.exit(main())
