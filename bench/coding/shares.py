"""What share of the processor's time each part of coding has, by sampling.

    python -m bench.coding.shares FILE [--head N] [--lanes N] [--threads T] [--model M] [--out DIR]

The file is coded at the default level as `lanes` blocks side by side, then as one block, and a tenth of it
as `lanes` blocks by the numpy engine, which is what there was before the native core, under
`perf record` (Linux; Debian's package linux-perf); samples are put down to the function of the native core or
the library that was running. Unlike `bench.coding.speed --parts coding`, which times calls from Python, this
sees into the engine. Loading the model is left out of account. Saves `shares.md` in DIR (default:
bench/results).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from bench.common import RESULTS, ROOT, machine, markdown_table

FREQUENCY = 499  # samples a second and core
NATIVE = "libnacrith_native"

PARTS = (
    ("matrix products", NATIVE, r"byte_rows|spill_rows|block_of|products|linear|multiply|split|write_bytes"),
    (
        "attention",
        NATIVE,
        r"attend|Weights|store_(key|value)|rotate|rotation|Session::(store|settle|plan|attention)",
    ),
    ("norms, rounding, SiLU", NATIVE, r"quantise|::norm|silu|embed"),
    ("predictors", NATIVE, r"Cascade|Ensemble::(update|learn|check)|Generation|Ngram|Match|StateMap"),
    ("distribution", NATIVE, r"Ensemble|shift|weigh|portion|above"),
    ("waiting of the pool's threads", NATIVE, r"Pool::(work|start)"),
    ("the rest of the native core", NATIVE, r""),
    ("matrix products", r"openblas", r""),
    ("range coder", r"constriction", r""),
    ("operating system", r"kernel", r""),
    ("C library (copies, memory)", r"libc\.|libm\.|libstdc|ld-linux|vdso", r""),
    ("Python and numpy", r"python|_multiarray|openblas|\.so", r""),
)
"""Name, pattern of the library, pattern of the function; the first that fits counts."""


def part_of(library: str, function: str) -> str:
    """Which of PARTS a sample belongs to."""
    for name, libraries, functions in PARTS:
        if re.search(libraries, library) and re.search(functions, function):
            return name
    return "other"


def shares(record: Path) -> dict[str, float]:
    """Fraction of the samples of each part; samples outside the coding itself are not in the record."""
    command = ["perf", "report", "-i", str(record), "--stdio", "--no-children", "-g", "none"]
    command += ["--sort", "dso,symbol", "-t", "\t"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: Counter[str] = Counter()
    for line in text.splitlines():
        fields = [f.strip() for f in line.split("\t")]
        if len(fields) >= 3 and fields[0].endswith("%"):
            found[part_of(fields[1], fields[2].split("] ", 1)[-1])] += float(fields[0][:-1])
    total = sum(found.values())
    return {name: value / total for name, value in found.items()}


def work(
    path: str, head: int, lanes: int, way: str, threads: int, model_name: str | None, begin: str
) -> None:
    """In a child under perf: get ready, tell perf to begin (by the file descriptor `begin`), code, tell it to
    stop."""
    from bench.coding.speed import coder
    from nacrith.models import load_model
    from nacrith.models.exact.model import ExactModel

    model = load_model(model_name, threads=threads)
    data = Path(path).read_bytes()[:head]
    assert isinstance(model, ExactModel)
    codec = coder(model, 1, data, lanes)
    (payload,) = codec.encode([data])
    control = open(begin, "w", buffering=1)  # noqa: SIM115
    control.write("enable\n")
    if way == "encode":
        codec.encode([data])
    else:
        if codec.decode([(payload, len(data))]) != [data]:
            raise SystemExit(f"{path} did not come back")
    control.write("disable\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="which part of coding takes the time")
    parser.add_argument("file", type=Path)
    parser.add_argument("--head", type=int, default=30_000)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FIFO"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        work(str(args.file), args.head, args.lanes, args.child[0], args.threads, args.model, args.child[1])
        return
    if not shutil.which("perf"):
        raise SystemExit("bench.coding.shares needs perf; on Debian: apt install linux-perf")
    columns: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        fifo, record = Path(folder, "control"), Path(folder, "record")
        subprocess.run(["mkfifo", fifo], check=True)
        for way, lanes, engine, part in (
            ("encode", args.lanes, "native", 1),
            ("decode", args.lanes, "native", 1),
            ("decode", 1, "native", 5),  # slower, so that less will do
            ("encode", args.lanes, "numpy", 10),
            ("decode", args.lanes, "numpy", 10),
        ):
            head = args.head // part
            child = [
                sys.executable,
                "-m",
                "bench.coding.shares",
                str(args.file.resolve()),
                "--head",
                str(head),
            ]
            child += ["--lanes", str(lanes), "--threads", str(args.threads), "--child", way, str(fifo)]
            child += ["--model", args.model] if args.model else []
            command = ["perf", "record", "-q", "-F", str(FREQUENCY), "-D", "-1", f"--control=fifo:{fifo}"]
            environment = os.environ | {"NACRITH_ENGINE": engine}
            subprocess.run([*command, "-o", str(record), "--", *child], check=True, cwd=ROOT, env=environment)
            columns[f"{engine}: {way}, {lanes} lane{'s' * (lanes > 1)}"] = shares(record)
    names = [*dict.fromkeys(name for name, _, _ in PARTS), "other"]
    rows = [[name, *(f"{found.get(name, 0):.1%}" for found in columns.values())] for name in names]
    text = f"{args.file.name}, first {args.head:,} bytes (of them a fifth in one lane, a tenth with numpy); "
    text += f"{machine()}\n\n"
    text += markdown_table(["share of the processor's time", *columns], rows)
    print(text)
    args.out.mkdir(exist_ok=True)
    (args.out / "shares.md").write_text(text + "\n")


if __name__ == "__main__":
    main()
