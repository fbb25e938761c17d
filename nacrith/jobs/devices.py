"""How the cores and GPUs of a machine are divided among worker processes.

A worker on a GPU sees only that GPU; workers on processor cores divide the threads among them. The
division does not change the bytes that are written.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping

from nacrith.errors import ModelError
from nacrith.settings import Resources

_COUNT = "import torch; print(torch.cuda.device_count())"
_GROUP = 4  # cores that a worker makes good use of, where there are many


def core_workers(threads: int, files: int) -> int:
    """How many workers to run on `threads` cores: one each up to four, then one for each four."""
    return max(1, min(threads, max(_GROUP, threads // _GROUP), files))


def on_cores(workers: int, threads: int, device: str | None = None) -> list[Resources]:
    """`workers` workers with `threads` threads between them, at least one each. device: "cpu" hides the
    GPUs from them."""
    share, more = divmod(max(threads, workers), workers)
    gpus = "" if device == "cpu" else None
    return [Resources(share + (i < more), device=device, visible_gpus=gpus) for i in range(workers)]


def on_gpus(devices: list[str], threads: int) -> list[Resources]:
    """One worker for each of `devices`, named as CUDA_VISIBLE_DEVICES names them. All have the same number
    of threads, since an archive of a floating-point backend is bound to that number."""
    share = max(1, threads // len(devices))
    return [on_gpu(share, device) for device in devices]


def on_gpu(threads: int, visible: str | None = None) -> Resources:
    """A worker on the one GPU that it sees. visible: its name; None if the process already sees only one."""
    return Resources(threads, engine="torch", device="cuda:0", visible_gpus=visible)


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
