"""Trees of drafts that are drawn from a model without replacement, for rule R3 (Recursive Speculative
Decoding, Jeon et al. 2024).

The paper draws them by perturbing log probabilities with Gumbel noise: the k largest at each place
(Gumbel-top-k, RSD-C), or the W largest beams of a stochastic beam search (RSD-S). Both are sampling without
replacement, of tokens and of sequences, and so are drawn here by choosing among what is left, in integers:
`branched` token by token, `sequences` as an incremental sampler does (Shi, Bieber and Sutton 2020), which
takes away from each place the share that was drawn below it. The order of siblings is that of their first
draws, as rule R3 wants it. Nothing is cut by how likely it is, since that would change the distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm

from nacrith.decoding.drafters.model import same_vocabulary
from nacrith.decoding.residual import Choose, Weights, drawn
from nacrith.errors import DecodingError
from nacrith.models.protocol import LanguageModel

SHAPES = ((0, 0), (1, 1), (1, 2), (1, 3), (1, 5), (2, 2), (2, 4), (3, 3))
"""(paths, tokens of each) of the trees that are tried."""

_AGAIN = 24  # passes after which a shape that was not the best is tried again
_FADE = 0.9

Ask = Callable[[tuple[int, ...]], Weights]
"""The draft's weights behind the end of the text and this path; empty where it goes on no further."""


class Shapes:
    """Chooses the shape of the next tree by what earlier ones brought: tokens a second. It looks at passes
    that are over only, so that the choice cannot depend on what is drafted now."""

    def __init__(self) -> None:
        self._tokens = [0.0] * len(SHAPES)
        self._seconds = [0.0] * len(SHAPES)
        self._waited = [_AGAIN] * len(SHAPES)

    def next(self) -> tuple[int, int]:
        untried = next((i for i, s in enumerate(self._seconds) if not s), None)
        if untried is not None:
            return SHAPES[untried]
        rates = [t / s for t, s in zip(self._tokens, self._seconds, strict=True)]
        best = max(range(len(SHAPES)), key=rates.__getitem__)
        late = [i for i, n in enumerate(self._waited) if n > _AGAIN * rates[best] / rates[i] and i != best]
        return SHAPES[late[0] if late else best]

    def observe(self, shape: tuple[int, int], tokens: int, seconds: float) -> None:
        """Note that a pass with trees of this shape gave so many tokens."""
        if shape not in SHAPES:
            return
        place = SHAPES.index(shape)
        self._waited = [n + 1 for n in self._waited]
        self._waited[place] = 0
        self._tokens[place] = self._tokens[place] * _FADE + tokens
        self._seconds[place] = self._seconds[place] * _FADE + seconds


class Recursive:
    """What the name rsd:NAME stands for: a model that drafts, of the same vocabulary as its target."""

    def __init__(self, model: LanguageModel, target: LanguageModel) -> None:
        if not same_vocabulary(model, target):
            raise DecodingError(
                f"drafter rsd: {model.name} has another vocabulary than {target.name}; use model:NAME"
            )
        self.model = model
        self.shapes = Shapes()


@dataclass
class Drawn:
    """A tree: node i has tokens[i] below parents[i], -1 for the end of the text; siblings in the order in
    which they were drawn. weights: of the places that were drawn from, by node."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    weights: dict[int, Weights] = field(default_factory=dict)

    def children(self, node: int) -> list[int]:
        return [i for i in range(node + 1, len(self.parents)) if self.parents[i] == node]

    def add(self, parent: int, token: int) -> int:
        self.tokens.append(token)
        self.parents.append(parent)
        return len(self.tokens) - 1


def branched(ask: Ask, counts: Sequence[int], choose: Choose) -> Drawn:
    """counts[d] children, where there are as many, of every node at depth d."""
    tree = Drawn()
    level: list[tuple[int, tuple[int, ...]]] = [(-1, ())]
    for count in counts:
        below = []
        for node, path in level:
            weights = ask(path)
            left = dict(weights)
            tree.weights[node] = weights
            for _ in range(min(count, len(left))):
                token = drawn(left, choose)
                del left[token]
                below.append((tree.add(node, token), (*path, token)))
        level = below
    return tree


def sequences(ask: Ask, count: int, depth: int, choose: Choose) -> Drawn:
    """`count` different paths of `depth` tokens, where there are as many, drawn without replacement."""
    tree = Drawn()
    left: dict[int, Fraction] = {-1: Fraction(1)}  # the share of what is below a node that was not drawn yet
    for _ in range(count):
        if not left[-1]:
            break
        _draw_path(tree, left, ask, depth, choose)
    return tree


def _draw_path(tree: Drawn, left: dict[int, Fraction], ask: Ask, depth: int, choose: Choose) -> None:
    node, way = -1, [-1]
    path: tuple[int, ...] = ()
    while len(path) < depth:
        if node not in tree.weights:
            tree.weights[node] = ask(path)
        weights = tree.weights[node]
        if not weights:
            break
        nodes = {tree.tokens[child]: child for child in tree.children(node)}
        shares = {t: w * left[nodes[t]] if t in nodes else Fraction(w) for t, w in weights.items()}
        unit = lcm(*(share.denominator for share in shares.values()))
        token = drawn({t: int(share * unit) for t, share in shares.items() if share}, choose)
        if token not in nodes:
            left[tree.add(node, token)] = Fraction(1)
        node = nodes.get(token, len(tree.tokens) - 1)
        path = (*path, token)
        way.append(node)
    left[node] = Fraction(0)
    for above in reversed(way[:-1]):
        weights = tree.weights[above]
        gone = [weights[tree.tokens[c]] * (1 - left[c]) for c in tree.children(above)]
        left[above] = 1 - sum(gone, Fraction(0)) / sum(weights.values())
