"""How many cores may be used: affinity, and the CPU quota of made-up trees of cgroups, version 1 and 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from paths import TINY

from nacrith import cores
from nacrith.cores import usable_cores
from nacrith.models.exact.model import ExactModel

V2 = "36 25 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "30 25 0:25 {root} /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    "31 25 0:26 {root} /sys/fs/cgroup/cpuset rw,nosuid - cgroup cgroup rw,cpuset\n"
)


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores, whatever machine this is."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def tree(root: Path, group: str, mounts: str, files: dict[str, str]) -> Path:
    """A root of a file system where this process is in `group`."""
    for name, text in {"proc/self/cgroup": group, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"a/b/cpu.max": "200000 100000\n"}, 2),
        ({"a/b/cpu.max": "max 100000\n"}, 16),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),  # of the group around it
        ({"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ({"a/b/cpu.max": "150000 100000\n"}, 2),  # rounded up
        ({"a/b/cpu.max": "1000 100000\n"}, 1),
        ({"a/b/cpu.max": "6400000 100000\n"}, 16),  # more than there are
        ({"a/c/cpu.max": "100000 100000\n"}, 16),  # of another group
        ({"a/b/cpu.max": "", "a/cpu.max": "nonsense\n"}, 16),
        ({"a/b/cpu.max": "0 0\n"}, 16),
        ({}, 16),
    ],
)
def test_quota_of_version_2(tmp_path: Path, limits: dict[str, str], expected: int) -> None:
    files = {f"sys/fs/cgroup/{name}": text for name, text in limits.items()}
    assert usable_cores(tree(tmp_path, "0::/a/b\n", V2, files)) == expected


@pytest.mark.parametrize(
    ("group", "mounted", "inside"),
    [
        ("/docker/4c1", "/", "docker/4c1/"),  # on the host
        ("/docker/4c1", "/docker/4c1", ""),  # in a container
        ("/docker/4c1/x", "/docker/4c1", "x/"),
        ("/", "/", ""),  # in one with a name space of its own
        ("/../..", "/", ""),  # a process of outside that name space
        ("/elsewhere", "/docker/4c1", ""),
    ],
)
def test_quota_of_version_1(tmp_path: Path, group: str, mounted: str, inside: str) -> None:
    where = f"sys/fs/cgroup/cpu,cpuacct/{inside}"
    files = {f"{where}cpu.cfs_quota_us": "250000\n", f"{where}cpu.cfs_period_us": "100000\n"}
    groups = f"5:cpuset:/other\n4:cpu,cpuacct:{group}\n0::/\n"
    root = tree(tmp_path, groups, V1.format(root=mounted), files)
    assert usable_cores(root) == 3
    (root / f"{where}cpu.cfs_quota_us").write_text("-1\n")
    assert usable_cores(root) == 16


def test_a_mount_with_a_space_in_its_name(tmp_path: Path) -> None:
    mounts = V2.replace("/sys/fs/cgroup", r"/c\040groups")
    assert usable_cores(tree(tmp_path, "0::/\n", mounts, {"c groups/cpu.max": "100000 100000"})) == 1


def test_without_cgroups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores(tmp_path) == 16
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert usable_cores(tmp_path) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(tmp_path) == 1


def test_threads_keep_to_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, "0::/\n", V2, {"sys/fs/cgroup/cpu.max": "300000 100000"})
    monkeypatch.setattr(cores.usable_cores, "__defaults__", (root,))
    assert ExactModel(TINY).threads == 3
