"""Threads of OpenBLAS, which numpy brings along: as many as cores may be used, or one if there are no more.

While numpy is imported it makes a thread for each core, whatever a container's quota. If one is refused (a
limit on processes, a container's pids limit), it sends SIGINT to its own process, which ends. Whether threads
are to be had is therefore tried before.
"""

from __future__ import annotations

import os
import sys
import threading

from nacrith.cores import usable_cores

_SETTING = "OPENBLAS_NUM_THREADS"


def limit_threads() -> None:
    """To be called before numpy is imported; later, or where the user has set a number, it does nothing."""
    if "numpy" not in sys.modules and _SETTING not in os.environ:
        cores = usable_cores()
        os.environ[_SETTING] = str(cores if _can_make(cores - 1) else 1)


def _can_make(count: int) -> bool:
    """Whether the system lets `count` threads more be at once."""
    done = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            threads.append(thread)
        return True
    except (RuntimeError, MemoryError):
        return False
    finally:
        done.set()
        for thread in threads:
            thread.join()
