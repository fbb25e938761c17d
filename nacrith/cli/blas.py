"""Limits the threads of OpenBLAS, numpy's linear algebra, to the number of usable cores.

When numpy is imported, OpenBLAS starts a thread for each core, whatever the quota of the container. If the
system refuses one (a limit on processes, a container's pids limit), OpenBLAS sends SIGINT to its own
process, which ends it. So this module first tries whether the threads can be started, and sets 1 if not.
"""

from __future__ import annotations

import os
import sys
import threading

from nacrith.cores import usable_cores

_SETTING = "OPENBLAS_NUM_THREADS"


def limit_threads() -> None:
    """Set OPENBLAS_NUM_THREADS before numpy is imported. Does nothing if it is set, or too late."""
    if "numpy" not in sys.modules and _SETTING not in os.environ:
        cores = usable_cores()
        os.environ[_SETTING] = str(cores if _can_make(cores - 1) else 1)


def _can_make(count: int) -> bool:
    """Whether the system lets this process have `count` more threads."""
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
