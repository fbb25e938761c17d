"""An ensemble as a language model whose tokens are the bytes, so that the codec can code with it.

Models of different vocabularies have no tokens in common, but all of them can be asked for the next byte
(`ByteModel`). `JoinedModel` mixes their answers (`ByteEnsemble`) and gives the result the form of any other
model's: rows of fixed-point log2 weights, here of the 256 bytes. So all that is built upon models works:
lanes, the range coder, and the learner beside it. The end of a text is not one of its symbols, as an archive
knows how long its content is.

formats/coding-v3.md specifies the rows. They are the same on every machine, as those of the members are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from nacrith.bytelevel.ensemble import EnsembleState
from nacrith.bytelevel.model import ByteModel
from nacrith.bytelevel.rows import log2_weights
from nacrith.errors import ModelError, ModelMismatchError
from nacrith.models import load_model, load_model_by_fingerprint
from nacrith.models.exact.tree import plant
from nacrith.models.protocol import LanguageModel, Logits
from nacrith.models.tokenizer.sorted_vocabulary import SortedVocabulary

MOST_MEMBERS = 8

_START = 256  # the start token
_SPARE = 512  # tokens of a member's lane that are kept free for trees
_TOKENS = 3  # most that a byte takes: an escape and two digits
_UNDO = 256
_NAME = 64  # bytes of a name


class Bytes:
    """The tokenizer whose tokens are the bytes."""

    vocab_size = 256
    _vocabulary = SortedVocabulary([bytes((b,)) for b in range(256)])

    def encode(self, data: bytes) -> Sequence[int]:
        return list(data)

    def decode(self, ids: Sequence[int]) -> bytes:
        return bytes(i for i in ids if i < _START)

    def vocabulary(self, size: int) -> SortedVocabulary:
        return self._vocabulary


class JoinedModel:
    """Two to MOST_MEMBERS exact models as one over bytes; implements models.protocol.LanguageModel.

    max_context is in tokens of the members; max_length in bytes. ModelError for members that are not portable
    or whose tokenizer allows no exact statements.
    """

    portable = True
    vocab_size = 256
    bos_id = _START
    rollback_limit = _UNDO

    def __init__(self, models: Sequence[LanguageModel]) -> None:
        if not 2 <= len(models) <= MOST_MEMBERS:
            raise ModelError(f"an ensemble has 2 to {MOST_MEMBERS} models, not {len(models)}")
        for model in models:
            if not model.portable:
                raise ModelError(f"{model.name} runs in floating point: an ensemble takes exact models only")
        self.models = list(models)
        self.tokenizer = Bytes()
        self.name = "+".join(m.name for m in models).encode()[:_NAME].decode(errors="ignore")
        prints = b"".join(m.fingerprint for m in models)
        self.fingerprint = hashlib.sha256(b"nacrith ensemble 1\n" + prints).digest()
        self.max_context = min(m.max_context for m in models)
        self.max_length = (min(m.max_length for m in models) - _SPARE) // _TOKENS
        self.members = [ByteModel(m) for m in models]

    def prepare(self) -> None:
        for model in self.models:
            model.prepare()

    def verify_source(self) -> None:
        for model in self.models:
            model.verify_source()

    def session(self, lanes: int = 1, window: int | None = None) -> JoinedSession:
        return JoinedSession(self, lanes, window)


class JoinedSession:
    """Lanes of an ensemble, each with a session of its own in every member; implements
    models.protocol.Session."""

    def __init__(self, model: JoinedModel, lanes: int, window: int | None) -> None:
        self._model, self._window = model, window
        self._states: list[EnsembleState | None] = [None] * lanes
        self._trees: list[tuple[Sequence[int], Sequence[int]]] = [((), ())] * lanes

    @property
    def lengths(self) -> list[int]:
        return [0 if state is None else 1 + len(state) for state in self._states]

    def extend(self, tokens: Sequence[Sequence[int]]) -> list[Logits]:
        return [self._extended(lane, list(new)) for lane, new in enumerate(tokens)]

    def _extended(self, lane: int, new: list[int]) -> Logits:
        if not new:
            return np.empty((0, 256), np.int32)
        state = self._states[lane]
        if state is None:
            members = [m.start_apart(self._window) for m in self._model.members]
            state = self._states[lane] = EnsembleState(members)
            new = new[1:]
        else:
            state.push(new[0])
            new = new[1:]
        rows = state.distributions(bytes(new))
        return log2_weights(np.vstack([rows, state.next_byte()])[:, :256])

    def extend_tree(self, tokens: Sequence[Sequence[int]], parents: Sequence[Sequence[int]]) -> list[Logits]:
        plant(tokens, parents, len(self._states))
        self._trees = list(zip(tokens, parents, strict=True))
        return [self._tree(lane) for lane in range(len(self._states))]

    def _tree(self, lane: int) -> Logits:
        base = self._states[lane]
        states: list[EnsembleState] = []
        rows = np.empty((len(self._trees[lane][0]), 257))
        for i, (token, parent) in enumerate(zip(*self._trees[lane], strict=True)):
            before = states[parent] if parent >= 0 else base
            if before is None:
                raise ValueError("a tree follows the start token of its lane")
            state = before.fork()
            state.push(token)
            rows[i] = state.next_byte()
            states.append(state)
        return log2_weights(rows[:, :256])

    def keep(self, lane: int, path: Sequence[int]) -> None:
        tokens, parents = self._trees[lane]
        edges = zip([-1, *path], path, strict=False)
        if not all(0 <= node < len(parents) and parents[node] == above for above, node in edges):
            raise ValueError("these nodes are no path of the tree")
        self._trees[lane] = ((), ())
        self._extended(lane, [tokens[n] for n in path])

    def rollback(self, lane: int, length: int) -> None:
        state = self._states[lane]
        if not 0 <= length <= self.lengths[lane]:
            raise ValueError(f"a lane of {self.lengths[lane]} tokens has no first {length}")
        if not length:
            self._states[lane] = None
        elif state is not None:
            state.rollback(1 + len(state) - length)


def load_ensemble(*names: str, threads: int | None = None) -> JoinedModel:
    """Load models by name or path as one over bytes, for `compress(..., model=...)`. They may have any
    vocabularies; archives name all of them, and decode where all are."""
    return JoinedModel([load_model(name, threads=threads) for name in names])


def load_ensemble_by_fingerprints(
    prefixes: Sequence[bytes],
    hint: str = "",
    *,
    given: LanguageModel | None = None,
    threads: int | None = None,
) -> JoinedModel:
    """Load the members of an archive. hint: the name that it gives. given: one of the members.

    ModelMissingError if a member is not on this machine, ModelMismatchError if `given` is none of them.
    """
    names = hint.split("+")
    if len(names) != len(prefixes):
        names = [""] * len(prefixes)
    if given is not None and not any(given.fingerprint.startswith(p) for p in prefixes):
        raise ModelMismatchError(
            f"the archive was made with the ensemble {hint or '(unnamed)'}, of which the model given,"
            f" {given.name} ({given.fingerprint.hex()[:16]}), is no member: leave -m out"
        )
    return JoinedModel(
        [
            given
            if given is not None and given.fingerprint.startswith(prefix)
            else load_model_by_fingerprint(prefix, name, threads=threads)
            for prefix, name in zip(prefixes, names, strict=True)
        ]
    )
