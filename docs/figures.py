"""The table of README.md, from what `bench.files.fresh` measured: `python docs/figures.py` writes it anew.

Its files come from packages that were published after the models were trained, and nothing was tuned on them.
Files that a run has not measured with every program are left out.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results" / "fresh-runs.json"
BEGIN, END = "<!-- figures: python docs/figures.py -->", "<!-- end of figures -->"

PROGRAMS = {
    "xz -9e": "xz -9e",
    "zstd -22 --long=27": "zstd -22",
    "zpaq -m5": "zpaq -m5",
    "nacrith -6": "nacrith",
}
"""Program as bench.files.fresh names it: the heading of its column."""


def table() -> str:
    """The kinds of text in Markdown: number of files, bytes, bytes of each program, nacrith in per cent."""
    sizes: dict[str, dict[str, int]] = defaultdict(dict)
    kinds: dict[str, tuple[str, int]] = {}
    for row in json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]:
        sizes[row["file"]][row["program"]] = row["compressed"]
        kinds[row["file"]] = row["kind"], row["bytes"]
    groups: dict[str, list[str]] = defaultdict(list)
    for file, (kind, _) in kinds.items():
        if sizes[file].keys() >= PROGRAMS.keys():
            groups[kind].append(file)
    groups["all"] = [file for files in groups.values() for file in files]
    lines = [
        f"| text | files | bytes | {' | '.join(PROGRAMS.values())} | of the text |",
        f"|---|{'---:|' * (len(PROGRAMS) + 3)}",
    ]
    for kind, files in groups.items():
        content = sum(kinds[file][1] for file in files)
        coded = [sum(sizes[file][program] for file in files) for program in PROGRAMS]
        cells = " | ".join(f"{n:,}" for n in (len(files), content, *coded))
        lines.append(f"| {kind} | {cells} | {100 * coded[-1] / content:.1f} % |")
    return "\n".join(lines)


def replaced(text: str) -> str:
    """The README with the table as it should be."""
    return re.sub(f"(?s)(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: table() + "\n", text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8")), encoding="utf-8")
