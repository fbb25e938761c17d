"""What each worker runs on: environment variables, set before the worker loads anything that reads them.

A worker on a GPU is told of that GPU only (CUDA_VISIBLE_DEVICES), so that it cannot take memory of
another and `cuda:0` is its own; workers on processor cores share the threads among them. None of it
changes the bytes that are made.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping

from nacrith.errors import ModelError

Environment = dict[str, str]

ON_GPU = {"NACRITH_ENGINE": "torch", "NACRITH_DEVICE": "cuda:0"}
"""What a worker sees of its GPU: the only one."""

_COUNT = "import torch; print(torch.cuda.device_count())"
_GROUP = 4  # cores that a worker makes good use of, where there are many


def core_workers(threads: int, files: int) -> int:
    """How many workers to run on `threads` cores: one each up to four, then one for each four."""
    return max(1, min(threads, max(_GROUP, threads // _GROUP), files))


def on_cores(workers: int, threads: int, device: str | None = None) -> list[Environment]:
    """`workers` workers with `threads` threads between them, at least one each."""
    share, more = divmod(max(threads, workers), workers)
    base = {"NACRITH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return [{**base, "NACRITH_THREADS": str(share + (i < more))} for i in range(workers)]


def on_gpus(devices: list[str], threads: int) -> list[Environment]:
    """One worker for each of `devices`, named as CUDA_VISIBLE_DEVICES names them. All have equally many
    threads, since with a backend in floats an archive is bound to their number."""
    share = str(max(1, threads // len(devices)))
    return [{"NACRITH_THREADS": share, **ON_GPU, "CUDA_VISIBLE_DEVICES": device} for device in devices]


def gpus(text: str, environment: Mapping[str, str], count: Callable[[], int] | None = None) -> list[str]:
    """The GPUs that --device names: "all", "cuda", or a list such as "cuda:0,cuda:1".

    The numbers are those among the devices that our own CUDA_VISIBLE_DEVICES leaves to us. count: the
    number of these, by default found with torch. ModelError if it names none or one that is not there.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    ours = None if visible is None else [part.strip() for part in visible.split(",") if part.strip()]
    if text == "all":
        number = (count or gpu_count)()
        if not number:
            raise ModelError("--device all: there is no CUDA device; leave --device out to use the cores")
        return ours[:number] if ours is not None else [str(i) for i in range(number)]
    numbers = gpu_numbers(text)
    if ours is None:
        return [str(number) for number in numbers]
    if max(numbers) >= len(ours):
        raise ModelError(
            f"--device {text}: CUDA_VISIBLE_DEVICES={visible} leaves {len(ours)} devices, of which"
            f" cuda:{max(numbers)} is none"
        )
    return [ours[number] for number in numbers]


def gpu_numbers(text: str) -> list[int]:
    """The numbers in "cuda:0,cuda:1"; "cuda" alone is cuda:0."""
    numbers = []
    for part in text.split(","):
        matched = re.fullmatch(r"cuda(?::(\d{1,4}))?", part.strip())
        if matched is None:
            raise ModelError(f"--device {text}: write cpu, all, or a list such as cuda:0,cuda:1")
        numbers.append(int(matched[1] or 0))
    if len(set(numbers)) < len(numbers):
        raise ModelError(f"--device {text} names a device twice; a GPU has one worker")
    return numbers


def gpu_count() -> int:
    """CUDA devices that torch sees, asked in a process of its own: it takes seconds and memory."""
    done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it does not run"]
        raise ModelError(f'--device all: torch cannot be used: {last[0]}; pip install "nacrith[torch]"')
    return int(done.stdout.split()[-1])
