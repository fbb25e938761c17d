"""What the machine does for training: which floats it multiplies fastest, how fast, and at what priority.

Measured at each start, since a processor's flags do not say it: bfloat16 is many times as fast as float32
with AMX or on a GPU, somewhat faster with AVX512_BF16 alone, and slower where it is emulated.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

_SIDE = {"cpu": 768, "cuda": 4096}
"""Rows and columns of the matrices that show the peak."""

_SMALL = 256  # on a CPU, of those that show which floats are faster: emulated ones may be a hundredth as fast
_SECONDS = 0.1  # for each measurement
_AUTOGROUP = Path("/proc/self/autogroup")

_GAIN = 1.15  # bfloat16 is chosen from this ratio on: less is not worth its rounding


@dataclass(frozen=True)
class Machine:
    """half: whether products are in bfloat16. peak: operations a second of such products, at most."""

    half: bool
    peak: float

    def share(self, parameters: int, speed: float) -> float:
        """The part of the peak that `speed` tokens a second take. parameters: the weights in products; a
        token takes 6 operations for each, forward and backward. Attention and recomputation do not count."""
        return 6 * parameters * speed / self.peak


def measure(device: torch.device, half: bool | None = None) -> Machine:
    """Measure a device. half: None to choose the faster floats."""
    side = _SIDE.get(device.type, _SIDE["cpu"])
    if half is None:
        few = side if device.type == "cuda" else _SMALL
        full, less = (_speed(device, kind, few) for kind in (torch.float32, torch.bfloat16))
        half = less > _GAIN * full
    return Machine(half, _speed(device, torch.bfloat16 if half else torch.float32, side))


def _speed(device: torch.device, kind: torch.dtype, side: int) -> float:
    """Operations a second of a product of square matrices; the best of several."""
    a, b = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best


def compiles() -> bool:
    """Whether torch.compile works for the CPU: it needs a C++ compiler."""
    try:
        found = torch.compile(_doubled)(torch.ones(8))
    except Exception:  # of any kind: a compiler that is missing or fails, or a platform without support
        torch._dynamo.reset()
        return False
    return bool((found == 2).all())


def _doubled(x: Tensor) -> Tensor:
    return x + x


def yield_to_others() -> None:
    """Give this process the lowest priority there is: it then computes only while nothing else does.

    Linux weighs sessions against each other before the processes in them (sched(7), "autogroup"). So a
    process that leads its session, as one started by setsid or a service manager, lowers that too.
    """
    with contextlib.suppress(OSError):
        os.nice(19)
    if _AUTOGROUP.exists() and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text("19")
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
