"""A language model over tokens as a model of bytes.

`ByteModel` joins the rules by which tokens may follow each other (`covering`) with a session of the model
(`evaluator`); `state` has the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.bytelevel.beam import Beam, BeamState, FreeCovering
from nacrith.bytelevel.covering import Covering
from nacrith.bytelevel.evaluator import Evaluator, Rules
from nacrith.bytelevel.state import ByteState
from nacrith.models.protocol import LanguageModel


class ByteModel:
    """The exact distribution of the next byte, by any language model with a byte-level BPE tokenizer.

        state = ByteModel(nacrith.load_model("nacrith-36m")).start()
        state.extend(b"The cat sat on the m")
        p = state.next_byte()           # float64 (257,): 256 bytes and the end

    beam: instead of the token sequences that the tokenizer makes, sum over all, by a beam; with any tokenizer
    that decodes token by token. epsilon: leave out what has a smaller share of the probability (`ByteState`).
    ends: the ids that end a text; the model's start token by default. window: how many of the latest tokens
    attention sees. The states of one ByteModel share a session and belong to one thread.

    ModelError for a tokenizer about which exact statements cannot be made.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        beam: Beam | None = None,
        epsilon: float = 0.0,
        ends: Sequence[int] | None = None,
        window: int | None = None,
    ) -> None:
        if not 0 <= epsilon < 1:
            raise ValueError("epsilon is a share of the probability: 0 or more, and below 1")
        if beam and epsilon:
            raise ValueError("a beam has a threshold of its own: give no epsilon with it")
        kind = FreeCovering if beam else Covering
        self.model = model
        self.rules: Rules = kind(model.tokenizer, model.vocab_size, (model.bos_id,) if ends is None else ends)
        self.evaluator = Evaluator(model, self.rules, window)
        self._beam, self._epsilon = beam, epsilon

    def start(self) -> ByteState:
        """The state before the first byte."""
        return (
            BeamState(self.evaluator, self._beam) if self._beam else ByteState(self.evaluator, self._epsilon)
        )

    def start_apart(self, window: int | None = None) -> ByteState:
        """The same, with a session of the model that no other state uses, so that both may advance in turn.
        Without a beam."""
        return ByteState(Evaluator(self.model, self.rules, window), self._epsilon)

    def score(self, data: bytes, *, end: bool = False) -> float:
        """The bits of `data` from its beginning on. end: and of the end of the text after it."""
        return self.start().score(data, end=end)
