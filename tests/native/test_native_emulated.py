"""Sets of kernels whose processor is not at hand, compiled from the same sources with emulated intrinsics.

`check/emulated` has the intrinsics: vectors by SIMDe, tiles in plain C++. nacrith_check holds the sets
against the portable one, and tries what the check at load must see. Without optimisation, compiling takes
seconds.
"""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from paths import ROOT

CODECS = ROOT / "codecs"
SETS = ("avxvnni", "avx512", "amx")
PLAIN = ("fork", "kernels_portable", "packing", "questions", "variants")
COMPILER = shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++17", "-O0", "-ffp-contract=off", "-fwrapv", "-w", "-pthread", f"-I{CODECS}"]


def missing() -> str:
    """Why nothing can be emulated here; "" if it can."""
    if not COMPILER:
        return "there is no C++ compiler"
    test = [COMPILER, "-E", "-include", "simde/x86/avx512/dpbusd.h", "-x", "c++", "/dev/null"]
    if subprocess.run(test, capture_output=True).returncode:
        return "there are no headers of SIMDe (Debian: libsimde-dev)"
    return ""


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_emulated_sets_answer_as_the_portable_set(tmp_path: Path) -> None:
    emulated = CODECS / "check" / "emulated"
    sources = [CODECS / "engine" / f"{name}.cpp" for name in PLAIN]
    sources += [CODECS / "check" / "kernels.cpp", emulated / "processor.cpp"]
    sets = [CODECS / "engine" / f"kernels_{name}.cpp" for name in SETS]
    defined = [f"-DNACRITH_{name.upper()}" for name in SETS]

    def compiled(source: Path) -> Path:
        target = tmp_path / f"{source.stem}.o"
        more = [f"-I{emulated}"] if source in sets else defined
        subprocess.run([str(COMPILER), *FLAGS, *more, "-c", str(source), "-o", str(target)], check=True)
        return target

    with ThreadPoolExecutor(2) as threads:
        objects = list(threads.map(compiled, sets + sources))
    program = tmp_path / "check"
    subprocess.run([str(COMPILER), "-pthread", *map(str, objects), "-o", str(program)], check=True)
    done = subprocess.run([str(program), "40"], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [f"{name}: OK, 40 questions" for name in reversed(SETS)] == lines[1:4], done.stdout
    assert lines[-1] == "OK"
    assert done.returncode == 0
