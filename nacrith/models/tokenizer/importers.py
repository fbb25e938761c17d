"""Makes a `ByteTokenizer` of the tokenizers that models come with: GGUF and tokenizer.json.

Only byte-level BPE is taken. Everything else that a source may ask for (normalisers, prefix spaces,
special tokens parsed out of the text, BOS) is left out on purpose, since it loses bytes. A
pre-tokenizer that is not known costs some compression and no correctness: any segmentation decodes.

The pattern of each GGUF pre-tokenizer name follows llama.cpp's src/llama-vocab.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from nacrith import jsontext
from nacrith.errors import ModelError
from nacrith.models.tokenizer.byte_bpe import (
    BYTE_TO_SYMBOL,
    MAX_VOCAB,
    ByteTokenizer,
    token_bytes,
)

SUPPORTED = "supported are byte-level BPE vocabularies (GPT-2, SmolLM2, Llama 3, Qwen2, ...)"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _cl100k(digits: str) -> str:
    """The pattern family of cl100k: words take one leading non-letter, numbers go by `digits`."""
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


def _o200k(suffix: str, digits: str) -> str:
    """The pattern family of o200k: words split where the case changes."""
    lead, upper, lower = (
        r"[^\r\n\p{L}\p{N}]?",
        r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]",
    )
    return (
        f"{lead}{upper}*{lower}+{suffix}|{lead}{upper}+{lower}*{suffix}|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {
    "smollm": (r"\p{N}", GPT2),
    "llama-bpe": (_cl100k(r"\p{N}{1,3}"),),
    "qwen2": (_cl100k(r"\p{N}"),),
    "gpt-2": (GPT2,),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"),
    "gpt-4o": (_o200k("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}"),),
    "tekken": (_o200k("", r"\p{N}"),),
}
_SAME_AS = {
    "smollm": ("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "dbrx", "smaug-bpe", "pixtral"),
    "qwen2": ("stablelm2", "deepseek-r1-qwen", "megrez"),
    "gpt-4o": ("llama4",),
    "gpt-2": ("mpt", "olmo", "jais", "phi-2", "trillion"),
}
PRE_TOKENIZERS.update({n: PRE_TOKENIZERS[k] for k, names in _SAME_AS.items() for n in names})

_WHOLE_WORDS = {"llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "tekken"}

_NORMAL = 1  # the token type in GGUF of tokens that BPE may produce


def from_gguf_fields(metadata: Mapping[str, Any]) -> ByteTokenizer:
    """The tokenizer of a GGUF file, of its metadata as plain Python values."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ModelError(f"the GGUF file has a tokenizer of kind {kind!r}; {SUPPORTED}")
    try:
        tokens = [str(t) for t in metadata["tokenizer.ggml.tokens"]]
        merges = [str(m) for m in metadata["tokenizer.ggml.merges"]]
    except KeyError as error:
        raise ModelError(f"the GGUF file has no {error}: get a complete one") from error
    types = list(metadata.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens))
    if len(types) != len(tokens):
        raise ModelError(
            f"the GGUF file gives {len(types)} token types for {len(tokens)} tokens: it is damaged"
        )
    keys = (f"tokenizer.ggml.{name}_token_id" for name in ("bos", "eos", "unknown", "padding", "eot"))
    in_use = [_id(metadata[key]) for key in keys if key in metadata]
    pre = str(metadata.get("tokenizer.ggml.pre", "default"))
    return _build(
        tokens,
        [tuple(m.split(" ")) for m in merges],
        PRE_TOKENIZERS.get(pre, (GPT2,)),
        {i for i, t in enumerate(types) if t != _NORMAL},
        whole_words=pre in _WHOLE_WORDS,
        in_use=in_use,
    )


def from_tokenizer_json(data: bytes, in_use: Collection[int] = ()) -> ByteTokenizer:
    """The tokenizer of a tokenizer.json; `in_use`: special ids that the model needs (BOS)."""
    try:
        fields = jsontext.parse(data)
        model = fields["model"]
        if model.get("type", "BPE") != "BPE" or not _is_byte_level(fields):
            raise ModelError(
                f"tokenizer.json describes {model.get('type')!r} without byte symbols; {SUPPORTED}"
            )
        ids = {str(token): _id(i) for token, i in dict(model["vocab"]).items()}
        added = {_id(t["id"]): str(t["content"]) for t in fields.get("added_tokens") or ()}
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
        size = 1 + max([*ids.values(), *added])
        tokens = [""] * size
        for token, i in ids.items():
            tokens[i] = token
        for i, token in added.items():
            tokens[i] = token
        patterns = _patterns(fields.get("pre_tokenizer")) or (GPT2,)
        return _build(tokens, merges, patterns, added, bool(model.get("ignore_merges")), in_use)
    except ModelError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelError(f"unreadable tokenizer.json ({error!r:.200}): get a complete one") from error


def _id(value: object) -> int:
    """A token's id; ModelError if it cannot be one."""
    if type(value) is not int or not 0 <= value < MAX_VOCAB:
        raise ModelError(f"{value!r:.60} is not a token's id, from 0 to {MAX_VOCAB - 1}: it is damaged")
    return value


def _is_byte_level(fields: dict[str, Any]) -> bool:
    steps = [*_flat(fields.get("pre_tokenizer")), *_flat(fields.get("decoder"))]
    return any(step.get("type") == "ByteLevel" for step in steps)


def _flat(step: Any) -> list[dict[str, Any]]:
    """The steps of a pre-tokenizer or decoder, sequences unfolded."""
    if not step:
        return []
    inner = step.get("pretokenizers") or step.get("decoders")
    return [s for i in inner for s in _flat(i)] if inner else [step]


def _patterns(pre_tokenizer: Any) -> tuple[str, ...] | None:
    """Our splits for a tokenizer.json's; None if it has a step that is not one of ours."""
    patterns: list[str] = []
    for step in _flat(pre_tokenizer):
        match step:
            case {"type": "ByteLevel"}:
                if step.get("use_regex", True):
                    patterns.append(GPT2)
            case {"type": "Digits"}:
                patterns.append(r"\p{N}" if step.get("individual_digits") else r"\p{N}+")
            case {"type": "Split", "pattern": {"Regex": str(regex)}, "behavior": "Isolated"}:
                patterns.append(regex)
            case {"type": "Split", "pattern": {"String": str(text)}, "behavior": "Isolated"}:
                patterns.append(re.escape(text))
            case _:
                return None
    return tuple(patterns)


def _build(
    tokens: list[str],
    merges: Sequence[tuple[str, ...]],
    patterns: Sequence[str],
    special: Collection[int],
    whole_words: bool,
    in_use: Collection[int],
) -> ByteTokenizer:
    """Cleans what a source says into what `ByteTokenizer` wants, and picks the escape.

    The escape is the last special token that is not `in_use`. With none to spare, a token is added
    after the last; a model without a row for it cannot be used with this tokenizer, which shows as
    `vocab_size` above the model's.
    """
    special = {*special, *(i for i, t in enumerate(tokens) if token_bytes(t) in (None, b""))}
    normal = {t for i, t in enumerate(tokens) if i not in special}
    pairs = [
        (m[0], m[1])
        for m in merges
        if len(m) == 2 and m[0] in normal and m[1] in normal and m[0] + m[1] in normal
    ]
    escape = None
    if not normal.issuperset(BYTE_TO_SYMBOL):
        escape = max(special.difference(in_use), default=None)
        if escape is None:
            escape = len(tokens)
            tokens = [*tokens, "<|byte|>"]
            special.add(escape)
    return ByteTokenizer(tokens, pairs, patterns, sorted(special), whole_words, escape)
