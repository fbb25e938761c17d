"""The plan of a batch: paths, directories and patterns to jobs, each with an output of its own.

A path is kept below the output directory as it was given, as tar keeps names: without a leading / or
../. Two inputs never share an output and no output is an input; where names would make it so, the
whole plan is refused before any work. What cannot be read becomes a job with a `problem`, so that it
is on record as every other failure is.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nacrith.errors import NacrithError

Rename = Callable[[str, str], str | None]
"""The path of an output below its directory, for the path of an input below it and as it was given; None for
an input that is not to be taken."""


class PlanError(NacrithError):
    """Paths or a shard that no batch can be made of."""


@dataclass(frozen=True)
class Job:
    """One file to do.

    file, output: input and output as they are shown and recorded. source, target: the same, absolute.
    kept: the input's path below the output directory; says which shard the job is in.
    size: bytes of the input. replace: the output is an earlier result, or was asked to be overwritten.
    problem: why nothing can be done about it, found before any work.
    """

    file: str
    output: str = ""
    source: str = ""
    target: str = ""
    kept: str = ""
    size: int = 0
    replace: bool = False
    problem: str = ""


@dataclass
class Plan:
    """jobs: largest first. skipped: files that were named but have the wrong kind of name; left_out:
    likewise, and found in a directory or by a pattern."""

    jobs: list[Job] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def plan(paths: Iterable[str], directory: str, rename: Rename, manifest: str | None = None) -> Plan:
    """The jobs that `paths` ask for, with outputs below `directory`.

    manifest: a file that is never an input. PlanError if two inputs would have the same output.
    """
    made = Plan()
    by_target: dict[str, Job] = {}
    problems: dict[str, Job] = {}
    ours = None if manifest is None else os.path.realpath(manifest)
    for path, named, problem in _find(paths, os.path.realpath(directory)):
        kept = kept_path(path)
        renamed = rename(kept, path)
        if not named and os.path.realpath(path) == ours:
            continue
        if renamed is None and not (problem and (named or os.path.isdir(path))):
            (made.skipped if named else made.left_out).append(path)
            continue
        size = 0
        if not problem:
            try:
                size = os.stat(path).st_size
            except OSError as error:
                problem = _reason(error)
        if problem or renamed is None:
            problems.setdefault(path, Job(path, kept=kept, problem=problem))
            continue
        output = os.path.join(directory, renamed)
        job = Job(path, output, os.path.abspath(path), os.path.abspath(output), kept, size)
        other = by_target.setdefault(job.target, job)
        if other.source != job.source:
            raise PlanError(
                f"{other.file} and {path} would both become {output}; give them in separate runs, with"
                " output directories of their own"
            )
    sources = {job.source: job for job in by_target.values()}
    for job in by_target.values():
        if job.target in sources:
            raise PlanError(
                f"the output of {job.file} would overwrite {sources[job.target].file}, which is an input;"
                " choose another output directory"
            )
    made.left_out = sorted({*made.left_out} - {*made.skipped})
    made.jobs = sorted([*by_target.values(), *problems.values()], key=lambda job: (-job.size, job.file))
    return made


def kept_path(path: str) -> str:
    """`path` as it is kept below an output directory: normal, relative, nothing that leads out."""
    parts = os.path.splitdrive(os.path.normpath(path))[1].split(os.sep)
    while parts and parts[0] in ("", os.pardir, os.curdir):
        parts.pop(0)
    return os.sep.join(parts)


def _find(paths: Iterable[str], directory: str) -> Iterator[tuple[str, bool, str]]:
    """(path, whether it was named itself, problem) of every file meant, some perhaps repeatedly."""
    for path in paths:
        if os.path.lexists(path):
            yield from _below(path, True, directory if _encloses(path, directory) else None)
        elif glob.has_magic(path):
            found = sorted(glob.glob(path, recursive=True))
            if not found:
                yield path, True, "no file matches; check the pattern"
            fixed = os.path.join(_fixed_part(path), "")
            pruned = directory if _encloses(fixed, directory) else None
            for match in found:
                if pruned is None or not _encloses(pruned, os.path.realpath(match), strictly=False):
                    yield from _below(match, False, pruned)
        else:
            yield path, True, "no such file or directory; check the name"


def _below(path: str, named: bool, pruned: str | None) -> Iterator[tuple[str, bool, str]]:
    """The file `path`, or every file in the directory `path` but for those in `pruned`."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        yield path, named, _reason(error)
        return
    if stat.S_ISREG(mode):
        yield path, named, ""
        return
    if not stat.S_ISDIR(mode):
        if named:
            yield path, named, "not a regular file; use nacrith compress for it"
        return
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        yield path, named, _reason(error)
        return
    for entry in entries:
        # A link to a directory is not followed: it may lead back up.
        if entry.is_symlink() and os.path.isdir(entry.path):
            continue
        if pruned is None or os.path.realpath(entry.path) != pruned:
            yield from _below(entry.path, False, pruned)


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return f"{text[:1].lower()}{text[1:]}; check the name and the permissions"


def _fixed_part(pattern: str) -> str:
    """The directory that a pattern searches: what stands before its first special character."""
    head = pattern
    while glob.has_magic(head):
        head = os.path.dirname(head)
    return head or os.curdir


def _encloses(outer: str, inner: str, *, strictly: bool = True) -> bool:
    """Whether the real path `inner` lies below the directory `outer`, or (not strictly) is it."""
    real = os.path.realpath(outer)
    if inner == real:
        return not strictly
    return os.path.commonpath([real, inner]) == real


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, from 0. A file's part follows from its path alone, so that it stays
    the same when other files come and go, and every machine finds it by itself.

    guessed: that there are `count` parts is what an array looks like, and not what was said.
    """

    index: int
    count: int
    guessed: bool = False

    def holds(self, job: Job) -> bool:
        digest = hashlib.sha256(os.fsencode(job.kept)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if self.holds(job)]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


_SLURM = "slurm"


def shard(text: str, environment: Mapping[str, str]) -> Shard:
    """The shard that "i/n" names (i from 0 to n-1); "slurm/n" takes i from the SLURM array task, and
    "slurm" n as well, from an array that may be whole."""
    left, slash, right = text.partition("/")
    if text == _SLURM:
        return _of_whole_array(environment)
    if not (slash and _is_number(right) and (left == _SLURM or _is_number(left))):
        raise PlanError(f"--shard {text}: write i/n, as in 0/4, or slurm/n")
    index = _slurm(environment, "ID")[0] if left == _SLURM else int(left)
    found = Shard(index, int(right))
    if not 0 <= found.index < found.count:
        where = f" and SLURM_ARRAY_TASK_ID={index}" if left == _SLURM else ""
        last = found.count - 1
        raise PlanError(f"--shard {text}{where}: i/n counts from 0: 0/{right} to {last}/{right}")
    return found


def _of_whole_array(environment: Mapping[str, str]) -> Shard:
    """SLURM tells a task what was submitted, and not what that is a part of: the tasks that failed are
    submitted again by their numbers, --array=3,7 of what was 0-9."""
    task, count, first, last = _slurm(environment, "ID", "COUNT", "MIN", "MAX")
    if (first, last) != (0, count - 1) or not 0 <= task < count:
        raise PlanError(
            f"--shard slurm: {count} array tasks from {first} to {last} are no whole array of tasks 0 to n-1;"
            " write --shard slurm/n, n being the number of tasks of the whole array (10 for --array=0-9)"
        )
    return Shard(task, count, guessed=True)


def _slurm(environment: Mapping[str, str], *names: str) -> list[int]:
    try:
        return [int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in names]
    except (KeyError, ValueError):
        raise PlanError(
            f"--shard slurm needs SLURM_ARRAY_TASK_{', _'.join(names)}, which SLURM sets in an array job"
            " (sbatch --array=0-9)"
        ) from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
