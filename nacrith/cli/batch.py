"""`nacrith batch`: many files to a directory, by many workers, recorded in a manifest.

`nacrith.jobs` plans the batch, runs it and keeps the manifest; `batch_work` processes one file. This module
connects the two to the user: options, messages, progress and the exit code.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from typing import Any

import click

from nacrith.cli import signals
from nacrith.cli.batch_work import BatchStart, remove_temporary
from nacrith.cli.compress import SUFFIX
from nacrith.cli.console import ERROR, OK, WARNING, CommandError, shown
from nacrith.cli.inputs import open_input
from nacrith.cli.options import (
    Settings,
    backend_option,
    force_backend_option,
    group_size_option,
    level_options,
    max_size_option,
    message_options,
    model_option,
    name_option,
    prefix_option,
    settings,
    threads_option,
)
from nacrith.cli.outputs import explained
from nacrith.cli.progress import ProgressBar, duration
from nacrith.cli.stored import restored_path, stored_in
from nacrith.cores import usable_cores
from nacrith.jobs import devices
from nacrith.jobs.manifest import DONE, FAILED, Manifest, is_done
from nacrith.jobs.plan import Job, Plan, PlanError, Shard, plan, shard
from nacrith.jobs.pool import Died, Executor, Finished, Outcome, Progress, Said, bundled

SMALL_FILE, SMALL_ARCHIVE = 1 << 16, 1 << 14
"""Files of at most this many bytes are bundled: a file that small does not fill the lanes of a model."""

_FILLS_LANES = 16
"""Number of small files that fill the lanes together. For fewer, one worker on all cores is faster than
several."""


@click.command("batch", short_help="Many files, over many workers.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--output-dir", metavar="DIR", required=True, help="Where the outputs go.")
@click.option(
    "--manifest", metavar="FILE", required=True, help="Record of all files, JSON lines, for resuming."
)
@click.option("-d", "--decompress", is_flag=True, help="Decompress instead.")
@click.option("-f", "--force", is_flag=True, help="Overwrite files that the manifest does not record.")
@click.option(
    "--executor",
    metavar="NAME",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="local: processes of this machine (default); ray: actors of a Ray cluster.",
)
@click.option("-j", "--jobs", metavar="N", type=click.IntRange(1, 1024), help="Workers (default: by cores).")
@click.option("--device", metavar="LIST", help="cpu, all, or GPUs as in cuda:0,cuda:1: a worker on each.")
@click.option("--shard", metavar="I/N", help="Part I of N, from 0; slurm/N: that of the array task.")
@level_options
@group_size_option
@prefix_option
@name_option
@max_size_option
@model_option
@backend_option
@force_backend_option
@threads_option
@message_options
def command(paths: Sequence[str], **options: Any) -> int:
    """Compress every file of the PATHs: files, directories with all below, or quoted patterns.

    Outputs keep their paths below DIR. What the manifest has as done, and still is as it says, is
    not done again. A file that fails is recorded, and the others are done.
    """
    return _Batch(settings(options), paths, options).run()


class _Batch:
    """One run of the command. options: those that only this command has."""

    def __init__(self, settings: Settings, paths: Sequence[str], options: dict[str, Any]) -> None:
        self._settings = settings
        self._paths = paths
        self._options = options
        self._decompress: bool = options["decompress"]
        self._failed = 0
        self._part: Shard | None = None
        # An earlier result counts only if these are the same.
        self._how: dict[str, Any] = {
            "mode": "decompress" if self._decompress else "compress",
            "name": True if settings.store_name else None,  # None, since older records have no such field
        }
        if not self._decompress:
            self._how |= {"level": settings.level, "model": settings.model, "backend": settings.backend}
            self._how["group_size"] = settings.group_size
            self._how["prefix"] = sha256(settings.prefix).hexdigest() if settings.prefix else None

    def run(self) -> int:
        console, options = self._settings.console, self._options
        if options["shard"] is not None:
            self._part = shard(options["shard"], os.environ)
        planned = plan(self._paths, options["output_dir"], self._rename, options["manifest"])
        jobs = planned.jobs if self._part is None else self._part.of(planned.jobs)
        path = options["manifest"]
        with explained(f"cannot open the manifest {path}"):
            manifest = Manifest(path)
        try:
            self._check_part(manifest)
            if manifest.damaged:
                console.warning(f"{manifest.damaged} damaged lines are ignored", path)
            for job in jobs:
                if job.problem:
                    self._finish(job, Outcome(job.problem), manifest)
            todo = self._todo([job for job in jobs if not job.problem], manifest)
            if todo:
                self._run(todo, len(jobs), manifest)
        finally:
            manifest.close()
        return self._end(planned, len(jobs))

    def _check_part(self, manifest: Manifest) -> None:
        """Check the assumption that a SLURM array is whole: it may be the first tasks of a longer one."""
        part = self._part
        others = {text for text in manifest.shards if part and text.partition("/")[2] != str(part.count)}
        if part and part.guessed and others:
            other = min(others)
            raise PlanError(
                f"--shard slurm: this array has {part.count} tasks, and {manifest.path} has files of shard"
                f" {other}; write --shard slurm/{other.partition('/')[2]} if it is a part of that array"
            )

    def _rename(self, name: str, path: str) -> str | None:
        archive = name.endswith(SUFFIX)
        if not self._decompress:
            return None if archive and not self._options["force"] else name + SUFFIX
        if not archive or os.path.basename(name) == SUFFIX:
            return None
        stem = name.removesuffix(SUFFIX)
        if self._settings.store_name and os.path.isfile(path):
            # The worker that decompresses the file reports what is wrong with it.
            with suppress(OSError, CommandError), open_input(path, archive=True) as source:
                stem = restored_path(stem, stored_in(source))
        return stem

    def _todo(self, jobs: list[Job], manifest: Manifest) -> list[Job]:
        """The jobs that are not done yet. Their outputs may be replaced if the manifest says that we made
        them."""
        todo = []
        for job in jobs:
            if is_done(manifest.record(job), job, self._how):
                self._settings.console.note("is done, skipped", job.file)
            else:
                todo.append(replace(job, replace=self._options["force"] or manifest.has_made(job)))
        return todo

    def _run(self, jobs: list[Job], count: int, manifest: Manifest) -> None:
        settings = self._settings
        small = SMALL_ARCHIVE if self._decompress else SMALL_FILE
        few = sum(job.size <= small for job in jobs)
        executor = self._executor(len(jobs), len(jobs) - few + -(-few // _FILLS_LANES))

        def die() -> None:
            for died in executor.stop():
                remove_temporary(died.job)

        signals.install()  # Ray installs handlers of its own, which would leave temporary files
        signals.before_death.add(die)
        # A write to the pipe of a dead worker must not end this process.
        before = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        told: set[tuple[int, str]] = set()
        total = sum(job.size for job in jobs)
        done = count - len(jobs)
        counted: dict[str, int] = {}  # by source: bytes that the bar has counted of it
        try:
            with ProgressBar(settings.console, "batch", total) as bar:
                bar.label = f"{done}/{count} files"
                for event in executor.run(bundled(jobs, small, executor.workers)):
                    if isinstance(event, Progress):
                        counted[event.job.source] = counted.get(event.job.source, 0) + event.count
                        bar(event.count)
                    elif isinstance(event, Died):
                        remove_temporary(event.job)
                        bar(-counted.pop(event.job.source, 0))
                    elif isinstance(event, Finished):
                        done += 1
                        bar.label = f"{done}/{count} files"
                        bar(event.job.size - counted.pop(event.job.source, 0))
                        self._finish(event.job, event.outcome, manifest)
                    elif isinstance(event, Said) and (event.name or (event.level, event.text) not in told):
                        told.add((event.level, event.text))  # all workers report the same about the model
                        settings.console.relay(event.level, event.text, event.name)
        finally:
            die()
            signals.before_death.discard(die)
            signal.signal(signal.SIGPIPE, before)

    def _executor(self, files: int, portions: int) -> Executor:
        """The executor. portions: number of files, with the small ones that fill one worker's lanes counted
        as one."""
        settings, options = self._settings, self._options
        device, ray = options["device"], options["executor"] == "ray"
        start = BatchStart(
            decompress=self._decompress,
            level=settings.level,
            model=settings.model,
            model_required=settings.model_required,
            max_size=settings.max_size,
            backend=settings.backend,
            force_backend=settings.force_backend,
            store_name=settings.store_name,
            group_size=settings.group_size,
            prefix=settings.prefix,
            verbosity=settings.console.verbosity,
            own_process=not ray,
        )
        on_gpus = device not in (None, "cpu")
        workers = options["jobs"]
        if ray:
            from nacrith.jobs.ray_pool import RayExecutor

            if on_gpus and device != "all":
                workers = min(len(devices.gpu_numbers(device)), workers or files)
            return RayExecutor(start, workers=workers, gpus=on_gpus, threads=settings.threads, files=files)
        from nacrith.jobs.local import LocalExecutor

        threads = settings.threads or usable_cores()
        if on_gpus:
            chosen = devices.gpus(device, os.environ)[: min(files, workers or files)]
            return LocalExecutor(start, devices.on_gpus(chosen, threads))
        workers = min(workers or devices.core_workers(threads, portions), files)
        return LocalExecutor(start, devices.on_cores(workers, threads, device))

    def _finish(self, job: Job, outcome: Outcome, manifest: Manifest) -> None:
        console, failed = self._settings.console, bool(outcome.error)
        record = {
            "file": job.file,
            "output": job.output,
            "status": FAILED if failed else DONE,
            "error": outcome.error or None,
            "seconds": round(outcome.seconds, 3),
            "size": None if failed else outcome.size,
            "output_size": None if failed else outcome.output_size,
            "sha256": outcome.sha256 or None,
            "archive_sha256": outcome.archive_sha256 or None,
            "shard": None if self._part is None else str(self._part),
            **self._how,
        }
        with explained(f"cannot write the manifest {manifest.path}"):
            manifest.append(record)
        if failed:
            self._failed += 1
            console.error(outcome.error, job.file)
        else:
            sizes = f"{outcome.size:,} to {outcome.output_size:,} bytes"
            console.note(f"{sizes} ({duration(outcome.seconds)})", job.file)

    def _end(self, planned: Plan, count: int) -> int:
        console = self._settings.console
        has = "does not have" if self._decompress else "already has"
        for path in planned.skipped:
            console.warning(f"{has} the suffix {SUFFIX}, skipped", path)
        for path in planned.left_out:
            console.note(f"{has} the suffix {SUFFIX}, left out", path)
        if planned.left_out:
            console.warning(self._left_out(planned.left_out))
        if self._failed:
            console.error(f"{self._failed} of {count} files failed; run again to try them once more")
            return ERROR
        return WARNING if planned.skipped or planned.left_out else OK

    def _left_out(self, paths: Sequence[str]) -> str:
        count = f"{len(paths)} files" if len(paths) > 1 else "1 file"
        has = "without" if self._decompress else "with"
        otherwise = "" if self._decompress else ", -f compresses them again"
        example = f"such as {shown(paths[0])}; -v names all{otherwise}"
        return f"{count} found {has} the suffix {SUFFIX} left out, {example}"
