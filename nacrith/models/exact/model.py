"""The exact engine as a LanguageModel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nacrith.cores import usable_cores
from nacrith.errors import ModelError
from nacrith.lazy import lazy
from nacrith.models.exact import engines, modelfile
from nacrith.models.exact.config import SINKS
from nacrith.models.exact.numpy_engine import ROLLBACK
from nacrith.models.exact.rope import LOW
from nacrith.models.protocol import Session
from nacrith.models.tokenizer.byte_bpe import ByteTokenizer
from nacrith.workers import Workers


class ExactModel:
    """A model file and the engine that runs it; implements models.protocol.LanguageModel.

    threads: None for every core that this process may use. Results never depend on it.
    """

    portable = True
    rollback_limit = ROLLBACK

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self._take(modelfile.read(path), threads or usable_cores())

    @classmethod
    def of_file(cls, file: modelfile.ModelFile, threads: int) -> ExactModel:
        """The model of a file that has been read."""
        made = cls.__new__(cls)
        made._take(file, threads)
        return made

    def _take(self, file: modelfile.ModelFile, threads: int) -> None:
        self.file = file
        self.threads = threads
        tensors = self.file.tensors
        self.weights = sum(t.size for t in tensors.values() if t.dtype == np.int8)  # their number
        self.max_length = LOW * len(tensors["rope.coarse"][0])
        self._stamp = self.file.stamp

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def fingerprint(self) -> bytes:
        return self.file.fingerprint

    @property
    def vocab_size(self) -> int:
        return self.file.config.vocab

    @property
    def bos_id(self) -> int:
        return self.file.config.bos_id

    @property
    def max_context(self) -> int:
        return self.file.config.max_context

    @lazy
    def tokenizer(self) -> ByteTokenizer:
        return ByteTokenizer.from_definition(self.file.tokenizer_definition)

    @lazy
    def engine(self) -> engines.Engine:
        engine = engines.create(self.file, self.threads)
        # Stored before the weights go, which the engine holds in its own form: a process may fork in between.
        self.__dict__["engine"] = engine
        self.file = self.file.without_weights()
        return engine

    def verify_source(self) -> None:
        """ModelError unless the model is still in the file from which it was read. Callers use this before
        they remove the originals of archives. It is cheap as long as the file is unchanged."""
        self._stamp = modelfile.recheck(self.file.path, self.fingerprint, self._stamp)

    def prepare(self) -> None:
        if "engine" in self.__dict__ and "tokenizer" in self.__dict__:
            return
        # Native code creates the engine without the GIL, so the tokenizer can be built at the same time.
        Workers(2).run([lambda: self.engine, lambda: self.tokenizer.vocabulary(self.vocab_size)])

    def first_layers(self, count: int) -> ExactModel:
        """A model of the first `count` layers, with the same vocabulary, last norm and output head: what the
        model would say if it stopped there. It reads the file again. ModelError if that has changed."""
        file = modelfile.read(self.file.path)
        if file.fingerprint != self.fingerprint:
            raise ModelError(f"{self.file.path}: the file has been changed since the model was loaded")
        return ExactModel.of_file(file.first_layers(count), self.threads)

    def session(self, lanes: int = 1, window: int | None = None) -> Session:
        """A session with empty lanes; ValueError for a window outside 2 * SINKS .. max_context."""
        window = self.max_context if window is None else window
        if not 2 * SINKS <= window <= self.max_context:
            raise ValueError(f"window {window} is not within {2 * SINKS}..{self.max_context}")
        return self.engine.session(lanes, window)
