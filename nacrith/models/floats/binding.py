"""The settings of floating-point models, and the binding: the environment that their archives depend on.

The logits of such a model are reproducible only with the same library, processor, device, number of threads,
precision and plan. The *binding* of a model names all of these with their values, and archives record it. A
decoder opens the model with the recorded settings (`opening`), and compares the values that cannot be set
(`check_binding`).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nacrith import settings
from nacrith.cores import usable_cores
from nacrith.errors import ModelError, ModelMismatchError
from nacrith.models import store
from nacrith.models.protocol import LanguageModel
from nacrith.models.store import records

if TYPE_CHECKING:
    from _typeshed import StrPath

MAX_THREADS = 1024
MAX_VERSION = 16  # characters of a package's version that a binding records


class BoundModel(LanguageModel, Protocol):
    """A model that is not portable: its archives are bound to an environment."""

    @property
    def lanes(self) -> int:
        """The number of sequences whose next tokens are computed in one batch."""
        ...

    @property
    def binding(self) -> Mapping[str, str]:
        """Everything besides model and tokens that logits depend on, in printable ASCII (see
        formats/coding-v2.md)."""
        ...


@dataclass(frozen=True)
class Requirement:
    """What a floating-point backend needs. module: the import name. packages: the distributions. extra:
    nacrith's extra that installs them."""

    module: str
    packages: tuple[str, ...]
    extra: str


REQUIREMENTS = {
    "llama.cpp": Requirement("llama_cpp", ("llama-cpp-python",), "llama"),
    "transformers": Requirement("transformers", ("torch", "transformers"), "hf"),
}

DYNAMIC, STATIC = settings.CACHES
"""A binding records only a static KV cache."""


@dataclass(frozen=True)
class Settings:
    """The settings of a backend.

    device: cpu, cuda, cuda:N, or "" for CUDA if there is any. For transformers, dtype: of the weights; cache:
    the kind of KV cache. For llama.cpp, gpu_layers: layers on the GPU, None for all; lanes: the number of
    sequences in a batch.
    """

    threads: int
    device: str = ""
    dtype: str = "float32"
    gpu_layers: int | None = None
    cache: str = DYNAMIC
    lanes: int = 1

    @classmethod
    def of_environment(cls, threads: int | None) -> Settings:
        """The settings that environment variables give. threads: None for every core."""
        return cls(
            threads or usable_cores(),
            settings.device(),
            settings.dtype(),
            settings.gpu_layers(),
            settings.kv_cache(),
            settings.lanes(),
        )

    @classmethod
    def recorded(cls, binding: Mapping[str, str], *, device_here: bool = False) -> Settings:
        """The settings that an archive records. device_here: take the device from the environment instead."""
        threads, layers = binding.get("threads", ""), binding.get("gpu-layers", "all")
        if not re.fullmatch(r"\d{1,4}", threads) or not 0 < int(threads) <= MAX_THREADS:
            raise ModelMismatchError(f"the archive was made with {threads or 'no'} threads: impossible here")
        if not re.fullmatch(r"all|\d{1,4}", layers):
            raise ModelMismatchError(f"the archive was made with {layers} GPU layers: impossible here")
        lanes = binding.get("lanes", "1")
        if not re.fullmatch(r"\d{1,4}", lanes):
            raise ModelMismatchError(f"the archive was made with {lanes} lanes: impossible here")
        dtype, cache = binding.get("dtype", "float32"), binding.get("cache", DYNAMIC)
        if device_here:
            here = cls.of_environment(int(threads))
            return replace(here, dtype=dtype, cache=cache, lanes=int(lanes))
        count = None if layers == "all" else int(layers)
        return cls(int(threads), binding.get("device", ""), dtype, count, cache, int(lanes))


def fingerprint(path: Path) -> bytes:
    """SHA-256 over the files of a model, which is computed once and then recorded (see `records`)."""
    try:
        return bytes.fromhex(records.digest(store.cache_directory(), path))
    except OSError as error:
        raise ModelError(f"{path}: cannot read it ({error.strerror}); check the permissions") from None


def here(backend: str) -> dict[str, str]:
    """The part of a binding that is known without loading a library."""
    return {**build(backend), "cpu": cpu_name()}


@cache
def build(backend: str) -> Mapping[str, str]:
    """The installed build of a backend, determined without loading it."""
    needs = REQUIREMENTS[backend]
    found = {"backend": backend}
    for package in needs.packages:
        try:
            found[package] = printable(importlib.metadata.version(package))[:MAX_VERSION]
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    if backend == "llama.cpp":
        found["library"] = _libraries(needs.module)
    return found


def _libraries(module: str) -> str:
    """A hash (16 hex digits) over the shared libraries of a package, since builds of one version differ."""
    spec = importlib.util.find_spec(module)
    folders: list[StrPath] = [Path(p) / "lib" for p in (spec and spec.submodule_search_locations) or ()]
    if named := settings.llama_cpp_libraries():
        folders = [named]
    hashes = set()
    for path in (p for folder in folders for p in Path(folder).glob("*") if p.is_file()):
        with path.open("rb") as file:
            hashes.add(hashlib.file_digest(file, "sha256").hexdigest())
    return hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()[:16]


@cache
def cpu_name() -> str:
    name = platform.processor() or platform.machine()
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        name = next((line.partition(":")[2] for line in file if line.startswith("model name")), name)
    return printable(name)


def gpu_name() -> str:
    """The names of this machine's NVIDIA GPUs according to the driver."""
    found = set()
    for path in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        with suppress(OSError):
            lines = path.read_text(errors="replace").splitlines()
            found |= {line.partition(":")[2].strip() for line in lines if line.startswith("Model")}
    return printable(", ".join(sorted(found)))


def printable(value: Any) -> str:
    """A value in the form that a binding requires: short, printable ASCII, single spaces."""
    text = "".join(c if " " <= c <= "~" else "?" for c in " ".join(str(value).split()))
    return text[:48].strip() or "unknown"


def differences(recorded: Mapping[str, str], present: Mapping[str, str]) -> str:
    """The differences between two bindings in words, with both values; "" if there are none."""
    return "; ".join(
        f"{name} {recorded.get(name, '(none)')}, here {present.get(name, '(none)')}"
        for name in sorted({*recorded, *present})
        if recorded.get(name) != present.get(name)
    )


def check_binding(recorded: Mapping[str, str], present: Mapping[str, str]) -> None:
    """ModelMismatchError if the bindings differ."""
    if different := differences(recorded, present):
        raise ModelMismatchError(
            f"the archive can only be decoded as it was made, which was with {different}. Decode it there, or"
            " try with --force-backend: checks keep wrong bytes out"
        )
