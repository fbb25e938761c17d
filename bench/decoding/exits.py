"""Which layer a model can stop at to draft for itself, and how far: DEL's choice, for `--drafter skip:N`.

    python -m bench.decoding.exits [--model M] [--tokens N] [--layers N...] [--threads T]

For each number of layers l of the model's L: how often their choice is the whole model's (a), on answers of
the whole model, and the best length d of a draft by DEL's tokens per layer, times L, so that plain decoding
has 1:

    (1 - a^(d + 1)) / (1 - a) * L / (d * l + L)

It assumes that verified tokens cost nothing, so what is at most 1 here cannot pay. Reference: Entezari Zarch
et al., "DEL: Context-Aware Dynamic Exit Layer for Efficient Self-Speculative Decoding", 2025.
"""

from __future__ import annotations

import argparse
from typing import Any

from bench import common
from bench.decoding.prompts import KINDS
from nacrith.decoding import generate
from nacrith.models.exact.model import ExactModel
from nacrith.models.store import find

MOST = 12


def best(agreement: float, share: float) -> tuple[float, int]:
    """The most tokens in the time of a pass, and the length of draft for it. share: l / L."""
    found = []
    for length in range(MOST + 1):
        tokens = sum(agreement**n for n in range(length + 1))
        found.append((tokens / (length * share + 1), -length))
    rate, length = max(found)
    return rate, -length


def texts(model: Any, kinds: list[str], tokens: int) -> list[tuple[int, list[int]]]:
    """Answers with their prompts, and where the answer begins."""
    made = [generate(model, KINDS[kind][0], max_tokens=tokens).run() for kind in kinds]
    return [(len(answer.prompt), [*answer.prompt, *answer.tokens]) for answer in made]


def agreement(model: Any, part: Any, given: list[tuple[int, list[int]]]) -> float:
    """How often `part` chooses what `model` chooses, in the answers."""
    right = total = 0
    for begin, ids in given:
        rows = part.session().extend([ids])[0][begin - 1 : -1]
        right += int((rows.argmax(axis=1) == ids[begin:]).sum())
        total += len(rows)
    return right / max(total, 1)


def measure(model: ExactModel, counts: list[int], kinds: list[str], tokens: int) -> list[list[str]]:
    layers = model.file.config.layers
    given, rows = texts(model, kinds, tokens), []
    for count in counts or range(1, layers):
        a = agreement(model, model.first_layers(count), given)
        rate, length = best(a, count / layers)
        rows.append([str(count), f"{a:.3f}", f"{rate:.2f}", str(length)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.decoding.exits", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=64, help="of each answer, at most")
    parser.add_argument("--layers", type=int, nargs="*", default=[])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    model = ExactModel(find(args.model), threads=args.threads)
    rows = measure(model, args.layers, args.kinds, args.tokens)
    print(common.markdown_table(["layers", "agreement", "best", "tokens of a draft"], rows))


if __name__ == "__main__":
    main()
