"""What users and schedulers set outside of the command line: environment variables, and the names they take.

This is the one module below `cli` that reads or changes the environment; tests/house/test_layers.py holds
the others to it. `VARIABLES` is the table of all variables; there is one typed accessor for each that the
library reads. Accessors read the environment at each call, since it may change, and raise `ModelError` for a
value that is not allowed. tests/house/test_docs.py compares the table with the documentation's page.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from nacrith.errors import ModelError

EXACT = "exact"
"""The backend that computes the same integers on every machine."""

BACKENDS = (EXACT, "llama.cpp", "transformers")
"""Values of --backend and of `load_model(backend=...)`."""

ENGINES = ("native", "numpy", "torch")
"""What can compute an exact model. The choice changes the speed only."""

DYNAMIC, STATIC = CACHES = ("dynamic", "static")
"""KV caches of transformers: growing, or allocated for a whole context."""

DTYPES = ("float32", "bfloat16", "float16")

VARIABLES = {
    "NACRITH_LEVEL": "Default of the compression level, 1 to 9.",
    "NACRITH_THREADS": "Default of --threads; 0 for every core.",
    "NACRITH_MODEL": "Default of --model: a name, a file or a directory.",
    "NACRITH_MODEL_DIR": "Directory of converted models; by default nacrith/models in the user's cache.",
    "NACRITH_ENGINE": (
        "What computes exact models: native, numpy or torch, or native:KERNELS for one set of kernels."
    ),
    "NACRITH_DEVICE": "Device of torch and of floating-point backends: cpu, cuda or cuda:N.",
    "NACRITH_DTYPE": f"Weights' type for --backend transformers: {', '.join(DTYPES)}.",
    "NACRITH_KV_CACHE": f"KV cache for --backend transformers: {' or '.join(CACHES)}.",
    "NACRITH_GPU_LAYERS": "Layers that --backend llama.cpp computes on the GPU; all by default.",
    "NACRITH_LANES": "Sequences in a batch of --backend llama.cpp; 1 by default.",
    "NACRITH_OFFLINE": "1 forbids to use the network.",
    "NACRITH_NATIVE_LIB": "Path of the native library; for developers.",
    "HF_ENDPOINT": "Address of the model hub.",
    "HF_TOKEN": "Access token for the model hub.",
    "HF_HUB_OFFLINE": "1 forbids to use the network.",
    "XDG_CACHE_HOME": "The user's cache; ~/.cache by default.",
    "LLAMA_CPP_LIB_PATH": "Directory of llama.cpp's shared libraries, as llama-cpp-python takes it.",
    "CUDA_VISIBLE_DEVICES": "GPUs that may be used, as CUDA takes it.",
    "RAY_ADDRESS": "Address of the Ray cluster for --executor ray.",
    "RAY_USAGE_STATS_ENABLED": "1 lets Ray send usage statistics; nacrith sets 0 where it is not set.",
    "SLURM_ARRAY_TASK_ID": "Number of this task of an array; read for --shard slurm.",
    "SLURM_ARRAY_TASK_COUNT": "Number of tasks of the array.",
    "SLURM_ARRAY_TASK_MIN": "Lowest number of a task.",
    "SLURM_ARRAY_TASK_MAX": "Highest number of a task.",
    "OPENBLAS_NUM_THREADS": "Threads of numpy; the command sets it where it is not set.",
}
"""Every variable that nacrith reads or sets, and its meaning."""

_ON = {"1", "true", "yes", "on"}
_NUMBER_MAX = 9999


@dataclass(frozen=True)
class Resources:
    """What one worker process may use. threads: at least 1. Others: None leaves them as the parent has them.

    visible_gpus: as in CUDA_VISIBLE_DEVICES, "" for none. It hides the other GPUs, so that the worker cannot
    take their memory and `cuda:0` is its own.
    """

    threads: int
    engine: str | None = None
    device: str | None = None
    visible_gpus: str | None = None

    def claim(self) -> None:
        """Restrict this process to them. To be called before torch is imported."""
        claimed = {
            "NACRITH_ENGINE": self.engine,
            "NACRITH_DEVICE": self.device,
            "CUDA_VISIBLE_DEVICES": self.visible_gpus,
        }
        os.environ.update({name: text for name, text in claimed.items() if text is not None})


def number(name: str, low: int = 0, high: int = _NUMBER_MAX) -> int | None:
    """The value of a variable that takes a number; None if it is unset or empty."""
    text = _text(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and low <= int(text[:9]) <= high):
        raise ModelError(f"{name}={text}: not a number from {low} to {high}; correct or unset it")
    return int(text)


def model() -> str | None:
    """Name, file or directory of the model to use where none is given."""
    return _text("NACRITH_MODEL") or None


def model_directory() -> Path:
    """Where converted models are kept."""
    explicit = _text("NACRITH_MODEL_DIR")
    if explicit:
        return Path(explicit)
    try:
        base = Path(_text("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and a user that the system does not know
        base = Path(os.devnull)  # nothing can be below it
    return base / "nacrith" / "models"


def engine() -> tuple[str | None, str | None]:
    """The engine for exact models and the set of native kernels; None for what is not named."""
    text = _text("NACRITH_ENGINE")
    name, colon, kernels = text.partition(":")
    if text and (name not in ENGINES or (colon and name != "native")):
        raise ModelError(f"NACRITH_ENGINE={text}: there is no such engine; use {_either(ENGINES)}")
    return name or None, kernels if colon else None


def device() -> str:
    """cpu, cuda or cuda:N; "" if the library may choose."""
    text = _text("NACRITH_DEVICE")
    if text and not re.fullmatch(r"cpu|cuda(:[0-9]{1,2})?", text):
        raise ModelError(f"NACRITH_DEVICE={text}: there is no such device; use cpu, cuda or cuda:N")
    return text


def dtype() -> str:
    """One of DTYPES."""
    return _one_of("NACRITH_DTYPE", DTYPES)


def kv_cache() -> str:
    """One of CACHES."""
    return _one_of("NACRITH_KV_CACHE", CACHES)


def gpu_layers() -> int | None:
    """Layers that llama.cpp computes on the GPU; None for all."""
    return number("NACRITH_GPU_LAYERS")


def lanes() -> int:
    """Sequences in a batch of llama.cpp."""
    found = number("NACRITH_LANES")
    return 1 if found is None else found


def native_library() -> Path | None:
    """The native library to load instead of the package's own."""
    text = _text("NACRITH_NATIVE_LIB")
    return Path(text) if text else None


def offline() -> str:
    """The variable that forbids to use the network; "" if none does."""
    return next((n for n in ("NACRITH_OFFLINE", "HF_HUB_OFFLINE") if _text(n).lower() in _ON), "")


def hub_endpoint(otherwise: str) -> str:
    """Address of the model hub."""
    return _text("HF_ENDPOINT") or otherwise


def hub_token() -> str:
    """Access token for the model hub; "" for none."""
    text = _text("HF_TOKEN").strip()
    if not (text.isascii() and text.isprintable()):
        raise ModelError("HF_TOKEN: holds characters that no token has; copy it again")
    return text


def llama_cpp_libraries() -> Path | None:
    """Where llama-cpp-python looks for its shared libraries, if not in its package."""
    text = _text("LLAMA_CPP_LIB_PATH")
    return Path(text) if text else None


def ray_address() -> str:
    """The Ray cluster that is named; "" if none is."""
    return _text("RAY_ADDRESS")


def refuse_ray_statistics() -> None:
    """Keep Ray from sending usage statistics, unless the user has decided."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process: this one's with `changes`."""
    return {**os.environ, **changes}


def _text(name: str) -> str:
    assert name in VARIABLES
    return os.environ.get(name, "")


def _one_of(name: str, allowed: tuple[str, ...]) -> str:
    """The value, which is one of `allowed`; the first if the variable is unset or empty."""
    text = _text(name) or allowed[0]
    if text not in allowed:
        raise ModelError(f"{name}={text}: use one of {', '.join(allowed)}")
    return text


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
