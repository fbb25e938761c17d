"""What the benchmarks share: the files, the machine's description, a child process with its costs.

POSIX only: the peak memory of a child comes from wait4. Linux counts into it what the parent held
at the fork, so a benchmark keeps itself small (it streams files, and imports nothing heavy before
its last child has ended), and a child that may be smaller than that reports its own peak
(`own_peak_mb`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

DATA_VARIABLE = "NACRITH_BENCH_DATA"
RESULTS = Path(__file__).resolve().parent / "results"
ROOT = Path(__file__).resolve().parent.parent
NACRITH = [sys.executable, "-m", "nacrith"]

_NOT_DATA = ("*.md", "SHA1SUM", "MD5SUM", "SHA256SUM", ".*")


@dataclass(frozen=True)
class Cost:
    """What one child process took. seconds: wall clock; peak_mb: resident memory in 10^6 bytes."""

    seconds: float
    peak_mb: float


class ChildError(Exception):
    """A child process that did not end well: its exit code and the end of what it said."""


def data_files(folder: Path, patterns: Sequence[str] = ()) -> list[Path]:
    """The files below `folder`, in order, of which path or name matches one of `patterns`."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if any(fnmatch(path.name, skip) for skip in _NOT_DATA):
            continue
        names = (path.relative_to(folder).as_posix(), path.name)
        if not patterns or any(fnmatch(name, pattern) for pattern in patterns for name in names):
            found.append(path)
    return found


def copy_head(source: Path, target: Path, head: int | None) -> tuple[int, str]:
    """Copy the first `head` bytes (None: all); their number and SHA-256."""
    digest = hashlib.sha256()
    left = source.stat().st_size if head is None else head
    size = 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while left and (piece := reader.read(min(left, 1 << 20))):
            writer.write(piece)
            digest.update(piece)
            size += len(piece)
            left -= len(piece)
    return size, digest.hexdigest()


def file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_child(
    arguments: Sequence[str], checkout: Path | None = None, variables: Mapping[str, str] | None = None
) -> tuple[Cost, str]:
    """Run a command to its end: what it cost and its standard output. ChildError if it fails.

    checkout: another checkout of nacrith for the child's Python to import, and the folder that it runs in,
    which Python's -m searches first. variables: added to the child's environment.
    """
    path = os.pathsep.join(filter(None, [str(checkout or ROOT), os.environ.get("PYTHONPATH")]))
    begin = time.perf_counter()
    child = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": path} | dict(variables or {}),
        cwd=checkout,
    )
    try:
        assert child.stdout is not None
        with child.stdout as pipe:
            output = pipe.read().decode("utf-8", "replace")
        _, status, usage = os.wait4(child.pid, 0)
    except BaseException:
        child.kill()
        child.wait()
        raise
    seconds = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        said = output.strip().splitlines()[-1:] or ["it said nothing"]
        raise ChildError(f"exit code {child.returncode}: {said[0]}")
    return Cost(seconds, _resident_mb(usage)), output


def own_peak_mb() -> float:
    """Peak resident memory of this process since it was executed, interpreter included."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return _resident_mb(resource.getrusage(resource.RUSAGE_SELF))


def resident_mb() -> float:
    """Resident memory of this process now. Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _resident_mb(usage: resource.struct_rusage) -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 1e6


def machine() -> str:
    """Processor, cores, memory, system and Python, in a line."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{cpu}, {os.cpu_count()} logical cores, {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` as a whole, so that an interrupted run leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def load_result(path: Path) -> dict[str, Any]:
    """What `write_json` saved, {"machine", "rows"}, or an empty one. Ends the program if it is of another
    machine."""
    if not path.exists():
        return {"machine": machine(), "rows": []}
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if result["machine"] != machine():
        sys.exit(f"{path} was measured on another machine; choose another --out")
    return result


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, padded to be read raw; the first column is aligned to the left."""
    table = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(table[0]), line(rule), *map(line, table[1:])]) + "\n"
