"""How many processor cores this process may use, for whoever decides on a number of threads or processes.

The machine's number is an upper bound only: a process may be bound to some cores (affinity), and a container
or batch system may grant it a share of their time (a cgroup's CPU quota). Threads beyond the quota make
nothing faster: the whole group is stopped for the rest of each period once the quota is used up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """At least 1. A quota of a part of a core counts as a core. root: of the file system, for tests."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas(root)]))


def _quotas(root: Path) -> Iterator[int]:
    """The quota, in cores rounded up, of each cgroup that this process is in and that has one."""
    for base, directory in _hierarchies(root):
        while True:
            if (quota := _quota(directory)) is not None:
                yield quota
            if directory == base:
                break
            directory = directory.parent  # a group is bound by those that it is in, too


def _hierarchies(root: Path) -> Iterator[tuple[Path, Path]]:
    """Mount point and this process's own directory below it, of cgroup hierarchies that have a CPU quota."""
    groups = {}  # "" for version 2, "cpu" for version 1: the group as its hierarchy names it
    for line in _lines(root / "proc/self/cgroup"):  # 4:cpu,cpuacct:/user.slice
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers or "cpu" in controllers.split(","):
            groups[controllers and "cpu"] = path
    for line in _lines(root / "proc/self/mountinfo"):
        # 31 23 0:26 /docker/4c1 /sys/fs/cgroup/cpu rw,nosuid - cgroup cgroup rw,cpu,cpuacct
        before, _, after = line.partition(" - ")
        mount, kind = before.split(), after.split()
        if len(mount) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        if kind[0] == "cgroup" and "cpu" not in kind[2].split(","):
            continue
        group = groups.get("" if kind[0] == "cgroup2" else "cpu")
        if group is None:
            continue
        base = root / _unescaped(mount[4]).lstrip("/")
        try:  # in a container, the mount may show no more than the container's own group
            inside = PurePosixPath(group).relative_to(_unescaped(mount[3]))
        except ValueError:
            inside = PurePosixPath()
        yield base, base if ".." in inside.parts else base / inside


def _quota(directory: Path) -> int | None:
    """Of version 2: "150000 100000" or "max 100000", microseconds in each period; of version 1 two files."""
    words = " ".join(_lines(directory / "cpu.max")).split()
    if not words:
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in files for word in _lines(directory / name)]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max", or nothing
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:  # another system, or no such file in this hierarchy
        return []


def _unescaped(field: str) -> str:
    """A path of mountinfo, where the kernel writes a space as \\040 and so on."""
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
