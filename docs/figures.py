"""The table of README.md, from what `bench.files.ratio` measured: `python docs/figures.py` writes it anew.

ROWS are texts that were published after the models were trained, or that their training data leaves out,
and that nothing was tuned on. To show others, measure them and name them here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- figures: python docs/figures.py -->", "<!-- end of figures -->"

ROWS = {
    "faq/debian-faq.de.txt": ("German FAQ", "ratio-head100000.json"),
    "faq/debian-faq.ja.txt": ("Japanese FAQ", "ratio-head100000.json"),
    "faq/debian-faq.ru.txt": ("Russian FAQ", "ratio-head100000.json"),
    "faq/debian-faq.zh-cn.txt": ("Chinese FAQ", "ratio-head100000.json"),
    "manpages/de.man": ("German manual pages", "ratio.json"),
    "manpages/ja.man": ("Japanese manual pages", "ratio.json"),
    "manpages/ru.man": ("Russian manual pages", "ratio.json"),
    "manpages/zh.man": ("Chinese manual pages", "ratio.json"),
}
"""File as bench.files.ratio names it: what it is, and the results it is in."""

PROGRAMS = {"xz -9e": "xz -9e", "PPMd o16": "PPMd", "zpaq -m5": "zpaq -m5", "nacrith": "nacrith"}
"""Program as bench.files.ratio names it: the heading of its column."""


def table() -> str:
    """The rows in Markdown: bytes of each program, then seconds of nacrith."""
    lines = [
        f"| text | bytes | {' | '.join(PROGRAMS.values())} | compress | decompress |",
        f"|---|{'---:|' * (len(PROGRAMS) + 3)}",
    ]
    for file, (name, source) in ROWS.items():
        measured = {
            r["program"]: r for r in json.loads((RESULTS / source).read_text())["rows"] if r["file"] == file
        }
        ours = measured["nacrith"]
        sizes = " | ".join(f"{measured[program]['compressed']:,}" for program in PROGRAMS)
        seconds = f"{ours['compress_s']:.0f} s | {ours['decompress_s']:.0f} s"
        lines.append(f"| {name} | {ours['bytes']:,} | {sizes} | {seconds} |")
    return "\n".join(lines)


def replaced(text: str) -> str:
    """The README with the table as it should be."""
    return re.sub(f"(?s)(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", lambda _: table() + "\n", text)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8")), encoding="utf-8")
