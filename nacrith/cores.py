"""How many processor cores this process may use: the default for numbers of threads and processes.

The number of cores of the machine is only an upper bound: a process may be bound to some of them (affinity),
and a container or batch system may limit its CPU time (the CPU quota of a cgroup). Threads beyond the quota
gain nothing, since the whole group is stopped for the rest of each period once the quota is used up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """The number of usable cores, at least 1; part of a core counts as one. root: of the file system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *_quotas(root)]))


def _quotas(root: Path) -> Iterator[int]:
    """The CPU quotas, in cores rounded up, of the cgroups that contain this process."""
    for base, directory in _hierarchies(root):
        while True:
            if (quota := _quota(directory)) is not None:
                yield quota
            if directory == base:
                break
            directory = directory.parent  # the quotas of enclosing groups apply too


def _hierarchies(root: Path) -> Iterator[tuple[Path, Path]]:
    """The mount point of each cgroup hierarchy with CPU quotas, and the directory of our group in it."""
    groups = {}  # the path of the group in its hierarchy; key "" for version 2, "cpu" for version 1
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
        try:  # in a container, only the container's own group may be mounted
            inside = PurePosixPath(group).relative_to(_unescaped(mount[3]))
        except ValueError:
            inside = PurePosixPath()
        yield base, base if ".." in inside.parts else base / inside


def _quota(directory: Path) -> int | None:
    """The quota of one group. Version 2 states "QUOTA PERIOD" (microseconds) or "max PERIOD", version 1
    the two numbers in files of their own."""
    words = " ".join(_lines(directory / "cpu.max")).split()
    if not words:
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for name in files for word in _lines(directory / name)]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max", or no such files
        return None
    return -(-quota // period) if quota > 0 and period > 0 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux, or no such file in this hierarchy
        return []


def _unescaped(field: str) -> str:
    """A path in mountinfo, in which the kernel escapes characters: a space is \\040, for example."""
    first, *rest = field.split("\\")
    return first + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
