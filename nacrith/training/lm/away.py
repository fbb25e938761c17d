"""Runs a training job on the machine that its loads were sent to: `python -m nacrith.training.lm.away`.

Started in the folder into which all loads (`loads`) were unpacked. It checks the files, tries which number
of windows at a time is fastest, trains for as long as it is told, saves its state every minute, and writes
the weights in int8 as `out/NAME.nacm`, a folder of parts of 12 MB: carried back, that folder is a model file.
Started again it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nacrith import atomic, jsontext
from nacrith.errors import NacrithError
from nacrith.models.exact import modelfile
from nacrith.training.lm import checkpoint, export
from nacrith.training.lm.llama import Llama
from nacrith.training.lm.loads import MANIFEST, START, TOKENS
from nacrith.training.lm.loop import Recipe, bits_per_byte, report, train
from nacrith.training.lm.machine import measure
from nacrith.training.lm.stopping import Stopping
from nacrith.training.lm.tokens import U16, Sample

_GAIN = 1.03  # more windows at a time are taken as long as they are that much faster
_TRAINED = 0.95  # share of the time that the steps are planned for
_TRIES = 3  # batches, of which the fastest counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the job in the working directory; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nacrith.training.lm.away", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="train for so long (default: 8)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, default=Path("."), help="of the job (default: here)")
    chosen = parser.parse_args(arguments)
    try:
        run(chosen.folder, chosen.minutes, chosen.device)
    except NacrithError as error:
        print(f"away: {error}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path, minutes: float, device: str) -> Path:
    """Train the job of a folder; returns the model: a folder of parts."""
    job = read_job(folder)
    source = checkpoint.open_source(folder / START)
    model, tokenizer = checkpoint.load(source).to(device), checkpoint.tokenizer_of(source)
    ids = _tokens(folder, job["tokens"])
    samples = [Sample(tuple(ids), size, kind) for ids, size, kind in job["samples"]]
    before = bits_per_byte(model, samples)
    _log(f"{model.shape.parameters():,} parameters, {len(ids):,} tokens; held out: {report(before)}")
    half = measure(torch.device(device)).half
    recipe = _planned(folder, model, ids, Recipe(**job["recipe"]), half, 60 * minutes)
    with Stopping(60 * minutes) as stopping:
        train(
            model,
            ids,
            recipe,
            folder / "state.pt",
            samples=samples,
            save_every=60.0,
            half=half,
            stopping=stopping,
            log=_log,
        )
    after = bits_per_byte(model, samples)
    _log(f"held out: {report(before)} before, {report(after)} after")
    made = _written(folder / "out", model, tokenizer, job)
    figures = {"before": before, "after": after, "recipe": recipe.__dict__, "device": device}
    atomic.write(folder / "out" / "report.json", json.dumps(figures).encode())
    return made


def read_job(folder: Path) -> dict[str, Any]:
    """The manifest, after all files have been compared with it. NacrithError names what is missing."""
    try:
        job: dict[str, Any] = jsontext.parse((folder / MANIFEST).read_text())
    except OSError:
        raise NacrithError(f"{folder / MANIFEST}: not here yet; unpack the last load too") from None
    wrong: dict[int, str] = {}
    for name, (size, digest, load) in job["files"].items():
        path = folder / name
        if name != MANIFEST and not _is_whole(path, size, digest):
            wrong.setdefault(load, name)
    if wrong:
        listed = "; ".join(f"load-{load:02}.tar ({name})" for load, name in sorted(wrong.items()))
        raise NacrithError(f"missing or damaged: {listed}; send and unpack them again")
    return job


def _is_whole(path: Path, size: int, digest: str) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _tokens(folder: Path, count: int) -> U16:
    parts = sorted(folder.glob(f"{TOKENS}-*.xz"))
    ids = np.concatenate([np.frombuffer(lzma.decompress(p.read_bytes()), "<u2") for p in parts])
    assert len(ids) == count  # all of them have the right hash
    return ids.astype(np.uint16, copy=False)


def _planned(folder: Path, model: Llama, ids: U16, recipe: Recipe, half: bool, seconds: float) -> Recipe:
    """The recipe with as many windows at a time as are fastest, and as many steps as the time allows. It is
    kept: a run that goes on keeps its plan."""
    plan = folder / "plan.json"
    if plan.exists():
        return Recipe(**jsontext.parse(plan.read_text()))
    at_once, speed = 0, 0.0
    for count in _counts(recipe.count):
        found = _speed(model, ids, recipe.length, count, half)
        _log(f"{count} windows at a time: {found:,.0f} tokens/s")
        if not found or found < _GAIN * speed:
            break
        at_once, speed = count, found
    if not at_once:
        raise NacrithError("one window does not fit into the memory of the device")
    steps = max(1, int(_TRAINED * seconds * speed / (recipe.count * recipe.length)))
    recipe = replace(recipe, at_once=at_once, steps=steps, warmup=min(recipe.warmup, 1 + steps // 10))
    atomic.write(plan, json.dumps(recipe.__dict__).encode())
    return recipe


def _counts(most: int) -> Iterator[int]:
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _speed(model: Llama, ids: U16, length: int, count: int, half: bool) -> float:
    """Tokens a second of the loss and its gradients; 0 if the memory is not enough."""
    device = model.embed_tokens.weight.device
    rows = torch.from_numpy(np.resize(ids[: count * (length + 1)].astype(np.int64), (count, length + 1)))
    rows, best = rows.to(device), float("inf")
    try:
        for _ in range(_TRIES):
            began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                loss = model.loss(rows)
            loss.backward()
            loss.item()  # waits for a GPU
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, time.perf_counter() - began)
    except torch.OutOfMemoryError:
        return 0.0
    finally:
        model.zero_grad(set_to_none=True)
    return count * length / best


def _written(out: Path, model: Llama, tokenizer: Any, job: dict[str, Any]) -> Path:
    """The model in parts, in place of an earlier one."""
    out.mkdir(exist_ok=True)
    info = {"name": job["name"], "source": "nacrith train", "licence": job["licence"]}
    whole, made = out / "whole.nacm", out / f"{job['name']}.nacm"
    export.write_exact(model, tokenizer, whole, info)
    if made.exists():
        modelfile.remove(made)
    modelfile.split(whole, made)
    whole.unlink()
    for part in sorted(made.iterdir()):
        _log(f"{part}: {part.stat().st_size:,} bytes")
    return made


def _log(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
