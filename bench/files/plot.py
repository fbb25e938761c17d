"""The plot of bench.files.ratio: bits per byte, one line a file, one mark a program. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed to write a file
from matplotlib import pyplot as plt

MARKS = "osD^vP*Xdhp<>8"


def plot_bpb(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the plot of the rows of a result; files with the fewest bits of nacrith come first."""
    rows = [r for r in rows if r["bpb"] is not None]
    programs = list(dict.fromkeys(r["program"] for r in rows))
    files = list(dict.fromkeys(r["file"] for r in rows))
    bpb = {(r["file"], r["program"]): r["bpb"] for r in rows}
    lead = next((p for p in programs if p.startswith("nacrith")), programs[0])
    files.sort(key=lambda f: bpb.get((f, lead), 9.0), reverse=True)

    figure, axes = plt.subplots(figsize=(8, 1.5 + 0.3 * len(files)), layout="constrained")
    colours = plt.get_cmap("tab10")
    others = 0
    for i, program in enumerate(programs):
        ours = program.startswith("nacrith")
        at = [(bpb[f, program], y) for y, f in enumerate(files) if (f, program) in bpb]
        axes.plot(
            [x for x, _ in at],
            [y for _, y in at],
            MARKS[i % len(MARKS)],
            color="black" if ours else colours(others % 10),
            markersize=8 if ours else 5,
            zorder=3 if ours else 2,
            label=program,
        )
        others += not ours
    axes.set_yticks(range(len(files)), files)
    axes.set_xlim(0, 1.05 * max(bpb.values()))
    axes.set_ylim(-0.6, len(files) - 0.4)
    axes.set_xlabel("bits per byte (fewer is better)")
    axes.grid(axis="x", alpha=0.3)
    axes.hlines(range(len(files)), *axes.get_xlim(), color="0.9", linewidth=0.8, zorder=1)
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)
