"""A language model over tokens as a model of bytes.

`ByteModel` joins the rules by which tokens may follow each other (`covering`) with a session of the model
(`evaluator`); `state` has the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

from nacrith.bytelevel.covering import Covering
from nacrith.bytelevel.evaluator import Evaluator
from nacrith.bytelevel.state import ByteState
from nacrith.models.protocol import LanguageModel


class ByteModel:
    """The exact distribution of the next byte, by any language model with a byte-level BPE tokenizer.

        state = ByteModel(nacrith.load_model("nacrith-36m")).start()
        state.extend(b"The cat sat on the m")
        p = state.next_byte()           # float64 (257,): 256 bytes and the end

    ends: the ids that end a text; the model's start token by default. window: how many of the latest tokens
    attention sees. The states of one ByteModel share a session and belong to one thread.

    ModelError for a tokenizer about which exact statements cannot be made.
    """

    def __init__(
        self, model: LanguageModel, *, ends: Sequence[int] | None = None, window: int | None = None
    ) -> None:
        self.model = model
        self.rules = Covering(model.tokenizer, model.vocab_size, (model.bos_id,) if ends is None else ends)
        self.evaluator = Evaluator(model, self.rules, window)

    def start(self) -> ByteState:
        """The state before the first byte."""
        return ByteState(self.evaluator)

    def score(self, data: bytes, *, end: bool = False) -> float:
        """The bits of `data` from its beginning on. end: and of the end of the text after it."""
        return self.start().score(data, end=end)
