"""The work of one `nacrith batch` worker on one file: the same as that of `compress` or `decompress`.

It runs in another process than the command, so everything it gets from the command can be pickled, and its
messages go through the executor to the process that prints them.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

from nacrith import atomic
from nacrith.archive import Metadata
from nacrith.archive.blockcodec import BlockCodec, CodecId, Progress
from nacrith.cli import signals
from nacrith.cli.compress import chunks, write_archive
from nacrith.cli.console import PASSED_ON, CommandError, Console, describe_os_error
from nacrith.cli.engines import decoder, encoder
from nacrith.cli.inputs import CHANGED, Input, open_input
from nacrith.cli.options import Settings
from nacrith.cli.outputs import AtomicFile, explained
from nacrith.cli.stored import restored_path, restored_status, stored_in
from nacrith.errors import NacrithError
from nacrith.jobs.plan import Job
from nacrith.jobs.pool import Outcome, Tell, Work

_CODECS = 4
"""Most codecs that a worker keeps: the archives of a batch may have been made in different ways."""


class _Relay(Console):
    """A console that sends its messages to the command."""

    def __init__(self, tell: Tell, verbosity: int) -> None:
        super().__init__(verbosity, progress=False)
        self._tell = tell
        self._of_thread = threading.local()

    def at_work_on(self, file: str) -> None:
        """Messages of this thread are about `file` from now on."""
        self._of_thread.file = file

    def once(self, text: str) -> None:
        self._tell.say(0, text, "")  # the command prints it for the first of its workers

    def _say(self, level: int, text: str, name: str) -> None:
        if self.verbosity >= level:
            self._tell.say(level, text, name or getattr(self._of_thread, "file", ""))


@dataclass(frozen=True)
class BatchStart:
    """Prepares a worker: loads the model, once.

    own_process: whether nacrith handles the signals of the process.
    """

    decompress: bool
    level: int
    model: str | None
    model_required: bool
    max_size: int | None
    backend: str | None
    force_backend: bool
    store_name: bool
    group_size: int | None
    prefix: bytes
    verbosity: int
    own_process: bool

    def __call__(self, tell: Tell, threads: int) -> Work:
        if self.own_process:
            signals.install()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets it too, and stops its workers
        console = _Relay(tell, self.verbosity)
        settings = Settings(
            console,
            level=self.level,
            model=self.model,
            model_required=self.model_required,
            threads=threads,
            max_size=self.max_size,
            backend=self.backend,
            force_backend=self.force_backend,
            store_name=self.store_name,
            group_size=self.group_size,
            prefix=self.prefix,
        )
        codecs = _Codecs(settings)
        if not self.decompress:  # each archive names the model that it needs
            codec = codecs.to_encode()
            with_model = f"model {codec.id.model_name}" if codec else "no model"
            console.note(f"{with_model}, {settings.threads} threads")

        def work(job: Job, progress: Progress) -> Outcome:
            console.at_work_on(job.file)
            began = time.monotonic()
            try:
                return _work(job, codecs, self.decompress, progress, console.warning)
            except NacrithError as error:
                problem = str(error)
            except OSError as error:
                problem = describe_os_error(error, about=job.source)
            except MemoryError:
                problem = "not enough memory; use fewer workers (-j) or a smaller model (-m)"
            except PASSED_ON:
                raise
            except BaseException as error:  # a panic of a Rust library is a BaseException
                what = f"{type(error).__name__}: {error}".replace("\n", " ")
                problem = f"internal error, please report it: {what}"
            finally:
                console.at_work_on("")
            return Outcome(problem, time.monotonic() - began)

        return work


class _Codecs:
    """The codecs of a worker. Its threads share them, and so share their lanes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._made: dict[CodecId | None, BlockCodec | None] = {}
        self._lock = threading.Lock()

    def to_encode(self) -> BlockCodec | None:
        """None if no model is used."""
        return self._get(None)

    def to_decode(self, codec_id: CodecId) -> BlockCodec:
        codec = self._get(codec_id)
        assert codec is not None
        return codec

    def _get(self, key: CodecId | None) -> BlockCodec | None:
        from nacrith.codec.model_codec import ModelCodec

        with self._lock:
            if key not in self._made:
                made = encoder(self.settings) if key is None else decoder(self.settings, key)
                if made is not None:
                    assert isinstance(made, ModelCodec)  # workers have no --device
                    made.shared = True
                while len(self._made) >= _CODECS:  # a thread that still uses it keeps its reference
                    self._made.pop(next(iter(self._made)))
                self._made[key] = made
            return self._made[key]


def remove_temporary(job: Job) -> None:
    """Remove the temporary output of a worker that was killed, whose lock is therefore free."""
    atomic.collect(job.target)


class _Hashed:
    """Passes bytes on to an output; counts and hashes them."""

    def __init__(self, output: AtomicFile) -> None:
        self._output = output
        self.hash = hashlib.sha256()
        self.count = 0

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        self.count += len(data)
        return self._output.write(data)


class _HashedInput:
    """Reads from an input; counts and hashes the bytes. Not seekable: it is read once, front to back."""

    def __init__(self, source: Input, progress: Progress) -> None:
        self._file = source.file
        self._progress = progress
        self.hash = hashlib.sha256()
        self.count = 0

    def read(self, size: int, /) -> bytes:
        data = self._file.read(size)
        self.hash.update(data)
        self.count += len(data)
        self._progress(len(data))
        return data


def _work(
    job: Job, codecs: _Codecs, decompress: bool, progress: Progress, warn: Callable[[str], None]
) -> Outcome:
    """Process one file; raises whatever goes wrong. Progress is in bytes of the input."""
    began = time.monotonic()
    directory = os.path.dirname(job.target)
    with explained(f"cannot create {directory}"):
        os.makedirs(directory, exist_ok=True)
    with open_input(job.source, archive=decompress) as source:
        # The result exists but is not recorded: the batch was killed between the two, or its manifest is
        # lost. It is accepted if it has the content that would be written.
        unknown = not job.replace and os.path.lexists(job.target)
        with AtomicFile(job.target, replace=job.replace or unknown) as output:
            outside = _Hashed(output)
            if decompress:
                inside = _HashedInput(source, progress)
                stored = stored_in(source) if codecs.settings.store_name else Metadata()
                restored_path(job.target, stored)  # refuses a bad stored name
                status = restored_status(source.status, stored)
                _decompress(inside, outside, codecs)
            else:
                inside = _HashedInput(source, lambda _: None)  # the model reports progress
                status = source.status
                codec = codecs.to_encode()
                write_archive(source, inside, outside, codec, codecs.settings, progress)
                if codec is not None:
                    codec.verify_source()
            if unknown:
                if not _is_content(output, job.target):
                    raise CommandError(
                        f"{output.name} exists already, with other content; use -f to overwrite it"
                    )
            elif remark := output.commit(status):
                warn(remark)
        if source.changed:
            warn(f"{CHANGED}; {output.name} contains what was read")
    content, archive = (outside, inside) if decompress else (inside, outside)
    return Outcome(
        seconds=time.monotonic() - began,
        size=inside.count,
        output_size=outside.count,
        sha256=content.hash.hexdigest(),
        archive_sha256=archive.hash.hexdigest(),
    )


def _is_content(output: AtomicFile, path: str) -> bool:
    """Whether the file at `path` has the content that was written to `output`."""
    if not os.path.isfile(path):
        return False
    with output.reread() as ours, open(path, "rb") as theirs:
        return all(a == b for a, b in zip_longest(chunks(ours), chunks(theirs)))


def _decompress(source: _HashedInput, output: _Hashed, codecs: _Codecs) -> None:
    from nacrith.archive import ArchiveReader
    from nacrith.fallback import CODECS

    for piece in ArchiveReader(source, codecs.to_decode, CODECS, max_size=codecs.settings.max_size):
        output.write(piece)
