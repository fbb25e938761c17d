"""A byte-level BPE vocabulary of a corpus (Radford et al. 2019, section 2.2), all 256 bytes in it.

Digits stand alone, so that numbers of tables and logs are read place by place; runs of white space may be one
token, so that indentation is cheap. Token 0 begins every lane and is never produced.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from nacrith.models.tokenizer.byte_bpe import BYTE_TO_SYMBOL, ByteTokenizer
from nacrith.models.tokenizer.importers import PRE_TOKENIZERS, from_tokenizer_json

START = "<|start|>"
START_ID = 0
PRE_TOKENIZER = "smollm"  # as GGUF files name the way digits and words are split
PATTERNS = PRE_TOKENIZERS[PRE_TOKENIZER]
_LONGEST = 16  # bytes of a token: longer ones are boilerplate of single sources
_CHUNK = 1 << 14  # characters handed to the library at a time


def train_vocabulary(texts: Iterable[bytes], size: int) -> ByteTokenizer:
    """The tokenizer of `size` tokens that BPE makes of the texts; what is not UTF-8 in them is left out."""
    library = Tokenizer(BPE())
    steps = [Split(Regex(p), "isolated") for p in PATTERNS]
    library.pre_tokenizer = Sequence([*steps, ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=[START],
        initial_alphabet=list(BYTE_TO_SYMBOL),
        max_token_length=_LONGEST,
        show_progress=False,
    )
    chunks = (
        t[i : i + _CHUNK]
        for x in texts
        for t in [x.decode(errors="ignore")]
        for i in range(0, len(t), _CHUNK)
    )
    library.train_from_iterator(chunks, trainer)
    return from_tokenizer_json(library.to_str().encode(), [START_ID])
