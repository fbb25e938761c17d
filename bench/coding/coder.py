"""What the counts and the range coder cost over the ideal code length.

    python -m bench.coding.coder [--symbols N] [--vocabulary V]

Symbols are drawn from distributions of rising entropy over a vocabulary of V (weights fall as a
power of the rank) and coded with them. Three code lengths are compared: the ideal one, -log2 p of
the weights as given; that of the 24-bit counts made of them, where every symbol keeps at least one
count; and that of the stream that the range coder made. A text model spends about 2 to 5 bits a
token.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

import numpy as np

from bench import common
from nacrith.coder.cdf import FRACTION_BITS, PRECISION, counts, interval
from nacrith.coder.range_coder import Decoder, Encoder

POWERS = (0.0, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 6.0)


@dataclass
class Lengths:
    """Of one distribution, summed over its symbols: bits, and seconds of coding both ways."""

    ideal: float = 0.0
    counted: float = 0.0
    coded: float = 0.0
    encode_s: float = 0.0
    decode_s: float = 0.0


def measure(power: float, vocabulary: int, symbols: int, seed: int = 1) -> Lengths:
    """Code `symbols` draws. The distribution turns by one with each, as if the context changed."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, vocabulary + 1)
    logits = np.rint(-power * np.log2(ranks) * (1 << FRACTION_BITS)).astype(np.int32)
    p = np.exp2(logits / (1 << FRACTION_BITS))
    p /= p.sum()
    drawn = rng.choice(vocabulary, symbols, p=p)
    result = Lengths(ideal=float(-np.log2(p[drawn]).sum()))

    encoder = Encoder()
    begin = time.perf_counter()
    for i, rank in enumerate(drawn):
        c = counts(np.roll(logits, i))
        low, count = interval(c, (int(rank) + i) % vocabulary)
        encoder.encode(low, count)
        result.counted += PRECISION - float(np.log2(count))
    stream = encoder.finish()
    result.encode_s = time.perf_counter() - begin
    result.coded = 8.0 * len(stream)

    decoder = Decoder(stream)
    begin = time.perf_counter()
    for i, rank in enumerate(drawn):
        if decoder.decode(counts(np.roll(logits, i))) != (int(rank) + i) % vocabulary:
            sys.exit("the coder gave another symbol back")
    result.decode_s = time.perf_counter() - begin
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.coding.coder", description="Overhead of counts and range coder."
    )
    parser.add_argument("--symbols", type=int, default=2000, metavar="N", help="symbols a line")
    parser.add_argument("--vocabulary", type=int, default=49152, metavar="V", help="alphabet")
    options = parser.parse_args(arguments)
    rows = []
    for power in POWERS:
        result = measure(power, options.vocabulary, options.symbols)
        n = options.symbols
        rows.append(
            [
                f"{result.ideal / n:.3f}",
                f"{(result.counted - result.ideal) / n:.4f}",
                f"{100 * (result.counted / result.ideal - 1):.3f} %",
                f"{result.coded - result.counted:.1f}",
                f"{100 * (result.coded / result.counted - 1):.4f} %",
                f"{1e6 * result.encode_s / n:.0f}",
                f"{1e6 * result.decode_s / n:.0f}",
            ]
        )
    print(f"{options.symbols:,} symbols of {options.vocabulary:,}; {common.machine()}\n")
    print(
        common.markdown_table(
            [
                "ideal bits/symbol",
                "counts: + bits/symbol",
                "+ %",
                "coder: + bits in all",
                "+ %",
                "encode us",
                "decode us",
            ],
            rows,
        )
    )


if __name__ == "__main__":
    main()
