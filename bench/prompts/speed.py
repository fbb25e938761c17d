"""How fast the default scorer is, in processor time, which other programs on the machine do not change much.

    python -m bench.prompts.speed [--kb N...] [--tokenizer WHAT] [--data DIR]

Compresses prose to a half, without and with a question: without a tokenizer, and with the one of --tokenizer
(`nacrith.prompt.counters.counter`); then starts `nacrith prompt` with a word on its input. The prose is
NQ-open's passages of --data, or else sentences made of words drawn at random. Prints a table and saves
nothing.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench import common
from bench.prompts import asked
from nacrith.prompt import PromptCompressor

_QUESTION = "Who wrote the song about the first president, and in which year?"
_WORDS = 4000  # different words of made prose
_STARTS = 3


def prose(size: int, folder: Path | None) -> str:
    """So many characters."""
    if folder is not None:
        rows = asked.lines(folder / "nq-open-oracle.jsonl.xz")
        text = "\n\n".join(row["ctxs"][0]["text"] for row in rows)
        return (text * (size // len(text) + 1))[:size]
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlucm", k=rng.randint(2, 9))) for _ in range(_WORDS)]
    out: list[str] = []
    length = 0
    while length < size:
        drawn = [words[int(_WORDS * rng.random() ** 3)] for _ in range(rng.randint(8, 30))]
        out.append(" ".join(drawn).capitalize() + rng.choice([". ", ". ", ". ", ".\n\n"]))
        length += len(out[-1])
    return "".join(out)[:size]


def seconds(text: str, tokenizer: str | None, query: str) -> float:
    """Processor time of one compression; the compressor is ready."""
    compressor = PromptCompressor(tokenizer=tokenizer)
    compressor.compress("A word. Another word is here.", rate=0.5, query=query)
    begin = time.process_time()
    compressor.compress(text, rate=0.5, query=query)
    return time.process_time() - begin


def start() -> float:
    """The least processor time of some starts."""
    found = []
    for _ in range(_STARTS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*common.NACRITH, "prompt"], input=b"yes", capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prompts.speed", description="speed of compression")
    parser.add_argument("--kb", type=int, nargs="+", default=[100, 1000], metavar="N")
    parser.add_argument("--tokenizer")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args(arguments)
    print(common.machine())
    rows = []
    for size in options.kb:
        text = prose(size * 1000, options.data)
        for tokenizer in dict.fromkeys([None, options.tokenizer]):
            for query in ("", _QUESTION):
                took = seconds(text, tokenizer, query)
                rows.append(
                    [
                        f"{size} KB",
                        tokenizer or "none",
                        "yes" if query else "no",
                        f"{took:.2f}",
                        f"{size / took:.0f}",
                    ]
                )
    print(common.markdown_table(["text", "tokenizer", "question", "s of a processor", "KB/s"], rows))
    print(f"start with a word: {start():.2f} s of a processor")


if __name__ == "__main__":
    main()
