"""The exact engine as a LanguageModel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np

from nacrith.cores import usable_cores
from nacrith.errors import ModelError
from nacrith.models.exact import backends, modelfile
from nacrith.models.exact.config import SINKS
from nacrith.models.exact.numpy_engine import ROLLBACK
from nacrith.models.exact.rope import LOW
from nacrith.models.protocol import Session
from nacrith.models.tokenizer import ByteTokenizer


class ExactModel:
    """A model file and the engine that runs it; implements models.protocol.LanguageModel.

    threads: None for every core this process may use. Results never depend on it.
    """

    portable = True
    rollback_limit = ROLLBACK

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        self.file = modelfile.read(path)
        self.threads = threads or usable_cores()

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
    def weights(self) -> int:
        """How many int8 weights there are."""
        return sum(t.size for t in self.file.tensors.values() if t.dtype == np.int8)

    @property
    def max_context(self) -> int:
        return self.file.config.max_context

    @property
    def max_length(self) -> int:
        return LOW * len(self.file.tensors["rope.coarse"][0])

    @cached_property
    def tokenizer(self) -> ByteTokenizer:
        return ByteTokenizer.from_definition(self.file.tokenizer_definition)

    @cached_property
    def engine(self) -> backends.Engine:
        return backends.create(self.file, self.threads)

    def prepare(self) -> None:
        if "engine" in self.__dict__ and "tokenizer" in self.__dict__:
            return
        with ThreadPoolExecutor(1) as pool:  # the engine is native code, which runs beside Python
            engine = pool.submit(lambda: self.engine)
            _ = self.tokenizer
            engine.result()

    def verify_source(self) -> None:
        if modelfile.read(self.file.path).fingerprint != self.fingerprint:
            raise ModelError(f"{self.file.path}: holds another model than when it was loaded; run again")

    def session(self, lanes: int = 1, window: int | None = None) -> Session:
        """Fresh lanes; ValueError for a window outside 2 * SINKS .. max_context."""
        window = self.max_context if window is None else window
        if not 2 * SINKS <= window <= self.max_context:
            raise ValueError(f"window {window} is not within {2 * SINKS}..{self.max_context}")
        return self.engine.session(lanes, window)
