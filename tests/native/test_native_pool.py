"""Threads of the native engine where the system grants few, where the machine is busy, and after a fork."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clirunner import PATIENCE
from native_library import needs_library
from paths import ROOT

COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
CXX = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

int threads_left = -1; /* how many threads may still be made; -1: any number */
int threads_refused = 0;

__attribute__((constructor)) static void begin(void) {
    if (getenv("THREADS_LEFT")) threads_left = atoi(getenv("THREADS_LEFT"));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *argument) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (threads_left == 0) {
        threads_refused++;
        return EAGAIN;
    }
    if (threads_left > 0) threads_left--;
    return real(thread, attr, body, argument);
}
"""

FEW = """
import ctypes, sys
import numpy as np
from small_models import engine, tiny, tokens
from nacrith.models.exact.native_engine import NativeEngine
ids = tokens(60)
want = engine().session(1, 16).extend([ids])[0]
shim = ctypes.CDLL(None)
left, refused = (ctypes.c_int.in_dll(shim, name) for name in ("threads_left", "threads_refused"))
left.value = int(sys.argv[1])
made = NativeEngine(tiny(), 5)
assert refused.value > 0
sessions = [made.session(2, 16) for _ in range(2)]
for session in sessions:
    rows = session.extend([ids, ids])
    assert np.array_equal(rows[0], want) and np.array_equal(rows[1], want)
del made, sessions, session
"""

NO_THREAD_FOR_OPENBLAS = """
import os, sys
os.sched_getaffinity = lambda _: {0, 1}
from nacrith.cli import blas
blas.limit_threads()
threads = os.environ["OPENBLAS_NUM_THREADS"]
import numpy  # which ends the process if it believes in more threads than there are
blas.limit_threads()
assert os.environ["OPENBLAS_NUM_THREADS"] == threads
print(threads)
"""

FORKS_OF_A_BUSY_PROCESS = """
import os, sys, threading
stop = threading.Event()

def busily():
    while not stop.is_set():
        code()

thread = threading.Thread(target=busily)
thread.start()
for _ in range(FORKS):
    child = os.fork()
    if not child:
        os._exit(not same_in_child())
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        break
stop.set()
thread.join()
sys.exit(status)
"""

FORK_WHILE_IT_CODES = (
    """
import numpy as np
from small_models import random_model, tokens
from nacrith.models.exact.native_engine import NativeEngine
made = NativeEngine(random_model(width=256, ffn=512, vocab=512), 2)
ids = tokens(40)
want = made.session(1, 16).extend([ids])[0]
busy, idle = made.session(1, 16), made.session(1, 16)
idle.extend([ids[:20]])
FORKS = 20

def code():
    busy.rollback(0, 0)
    busy.extend([tokens(1000)])

def same_in_child():
    global made, idle, busy
    same = np.array_equal(idle.extend([ids[20:]])[0], want[20:])  # its tokens are there
    same = same and np.array_equal(made.session(1, 16).extend([ids])[0], want)
    try:
        busy.rollback(0, 0)
    except RuntimeError as error:
        same = same and "forked" in str(error)  # its call goes on in the parent only
    del made, idle, busy
    return same
"""
    + FORKS_OF_A_BUSY_PROCESS
)

FORK = """
import os, sys
import numpy as np
from small_models import tiny
from nacrith.models.exact.native_engine import NativeEngine
session = NativeEngine(tiny(), 3).session(1, 16)
first = session.extend([list(range(50))])[0]
child = os.fork()
session.rollback(0, 0)
same = np.array_equal(session.extend([list(range(50))])[0], first)
if child:
    same = same and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
sys.exit(not same)
"""

FORK_WHILE_IT_COMPRESSES = (
    """
import nacrith
from small_models import TINY
text = b"It was late in the autumn when the old doctor came back to the village. " * 8
model = nacrith.load_model(str(TINY), threads=2)
want = nacrith.compress(text, model=model)
FORKS = 5

def code():
    nacrith.compress(text, model=model)

def same_in_child():
    return nacrith.compress(text, model=model) == want and nacrith.decompress(want, model=model) == text
"""
    + FORKS_OF_A_BUSY_PROCESS
)


def run(program: str, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Of Python, which may import what the tests import; TimeoutExpired if it hangs.

    What is preloaded here already, such as the runtime of a sanitizer, stays first.
    """
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    command = [sys.executable, "-P", "-W", "ignore", "-c", program, *arguments]
    environment = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"} | changes
    environment |= _preloaded(environment.get("LD_PRELOAD", ""))
    return subprocess.run(
        command, env=environment, timeout=PATIENCE, check=True, stdout=subprocess.PIPE, text=True
    )


def _preloaded(more: str) -> dict[str, str]:
    """LD_PRELOAD with `more` behind what this process has."""
    now = os.environ.get("LD_PRELOAD", "").split()
    libraries = [*now, *(name for name in more.split() if name not in now)]
    return {"LD_PRELOAD": " ".join(libraries)} if libraries else {}


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that refuses threads."""
    if not sys.platform.startswith("linux") or COMPILER is None:
        pytest.skip("threads are refused by a preloaded library, which needs Linux and a C compiler")
    folder: Path = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM)
    library = folder / "shim.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, folder / "shim.c", "-ldl"], check=True)
    return str(library)


@needs_library
@pytest.mark.parametrize("left", [0, 1, 3])
def test_the_engine_runs_with_the_threads_there_are(shim: str, left: int) -> None:
    run(FEW, str(left), LD_PRELOAD=shim)


@pytest.mark.parametrize(("left", "threads"), [("0", "1"), ("9", "2")])
def test_commands_survive_openblas(shim: str, left: str, threads: str) -> None:
    kept = {name: text for name, text in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    path = os.pathsep.join(map(os.path.abspath, sys.path))
    environment = kept | {"THREADS_LEFT": left, "PYTHONPATH": path} | _preloaded(shim)
    command = [sys.executable, "-P", "-c", NO_THREAD_FOR_OPENBLAS]
    done = subprocess.run(command, env=environment, timeout=PATIENCE, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (0, f"{threads}\n")


@needs_library
@needs_fork
def test_a_forked_process_goes_on_without_the_threads() -> None:
    run(FORK)


@needs_library
@needs_fork
def test_a_fork_while_another_thread_uses_the_engine() -> None:
    run(FORK_WHILE_IT_CODES)


@needs_library
@needs_fork
def test_a_fork_while_another_thread_compresses() -> None:
    run(FORK_WHILE_IT_COMPRESSES, NACRITH_ENGINE="native")


@pytest.mark.skipif(CXX is None, reason="the pool alone is tried by a C++ program, which needs a compiler")
def test_threads_that_wait_sleep(tmp_path: Path) -> None:
    codecs = ROOT / "codecs"
    sources = [codecs / "check" / "pool.cpp", codecs / "engine" / "pool.cpp"]
    options = ["-std=c++17", "-O0", "-pthread", f"-I{codecs}", "-o", "check"]
    subprocess.run([str(CXX), *options, *map(str, sources)], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "check"], timeout=PATIENCE, stdout=subprocess.PIPE, text=True)
    assert (done.stdout, done.returncode) == ("", 0)
