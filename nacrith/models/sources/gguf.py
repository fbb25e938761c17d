"""Reading a Llama-architecture GGUF file, in any quantisation that `gguf_blocks` can dequantise.

GGUF has its own tensor names, and stores the rows of q and k permuted so that rotary pairs are neighbours
(0, 1), (2, 3), ...; `_unpermute` restores the pairs (0, d/2), (1, d/2 + 1), ...
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nacrith.arith import F32
from nacrith.coder.cdf import MAX_SYMBOLS
from nacrith.errors import ModelError
from nacrith.models.exact import rope
from nacrith.models.exact.config import MAX_HEAD_DIM, MAX_POSITIONS, MAX_SIZE, real, whole
from nacrith.models.exact.conversion import LAYER_TENSORS, LlamaSource
from nacrith.models.files import read_array
from nacrith.models.sources import gguf_blocks
from nacrith.models.sources.gguf_metadata import Tensor, read_header
from nacrith.models.sources.kind import SourceKind
from nacrith.models.tokenizer.importers import from_gguf_fields

LAYER_NAMES = dict(
    zip(
        LAYER_TENSORS,
        (
            "attn_norm",
            "ffn_norm",
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_gate",
            "ffn_up",
            "ffn_down",
        ),
        strict=True,
    )
)
NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
_ROPE_FREQS = "rope_freqs.weight"
_KNOWN = re.compile(
    rf"({'|'.join(NAMES.values())}|rope_freqs|blk\.\d+\.({'|'.join(LAYER_NAMES.values())}))\.weight"
)


def read_gguf(path: Path) -> LlamaSource:
    """Open a GGUF file; tensors are read and dequantised on demand."""
    values, table = read_header(path)
    fields = _Fields(path, values)
    tensors = {t.name: t for t in table}
    if len(tensors) < len(table):
        raise ModelError(f"{path}: two tensors have one name: fetch it again")
    if fields.get("general.architecture") != "llama":
        found = fields.get("general.architecture")
        raise ModelError(f"{path}: architecture {found!r}; the exact engine runs 'llama' only")
    for name, entry in tensors.items():
        if not _KNOWN.fullmatch(name):
            raise ModelError(
                f"{path}: tensor {name:.80}: not part of a plain Llama model; the exact engine supports"
                " no biases, experts or other additions"
            )
        _place(path, entry)
    heads = fields.count("attention.head_count")
    kv_heads = fields.count("attention.head_count_kv", heads)
    width = fields.count("embedding_length")
    head_dim = fields.count("attention.key_length", width // heads, MAX_HEAD_DIM)

    def tensor(name: str) -> F32:
        if name.startswith("layers."):
            _, index, rest = name.split(".", 2)
            key = f"blk.{index}.{LAYER_NAMES[rest]}.weight"
        else:
            key = f"{NAMES[name]}.weight"
        array = _load(path, tensors[key])
        if name.endswith(("q_proj", "k_proj")):
            groups = heads if name.endswith("q_proj") else kv_heads
            if array.ndim != 2 or len(array) % (2 * groups):
                raise ModelError(f"{path}: tensor {key}: shape {array.shape} for {groups} heads")
            return _unpermute(array, groups)
        return array

    return LlamaSource(
        layers=fields.count("block_count"),
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=fields.count("feed_forward_length"),
        max_context=fields.count("context_length", most=MAX_POSITIONS),
        rms_eps=fields.number("attention.layer_norm_rms_epsilon"),
        rope_theta=fields.number("rope.freq_base", 10000.0, *rope.THETA),
        rope_factors=_rope_factors(fields, tensors, head_dim),
        bos_id=start_token(path, values),
        tokenizer=tokenizer_of(path, values),
        tensor=tensor,
        info={
            "name": str(fields.get("general.name", path.stem)),
            "source": path.name,
            "licence": str(fields.get("general.license", "unknown")),
        },
    )


class _Fields:
    """The metadata of a file, with checked access."""

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self.path = path
        self.values = values

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def number(
        self, key: str, default: float | None = None, least: float = 1e-30, most: float = 1e12
    ) -> float:
        """A number among the llama.* keys."""
        try:
            return real(self.values.get(f"llama.{key}", default), least, most)
        except ValueError as error:
            raise ModelError(f"{self.path}: llama.{key}: {error}") from None

    def count(self, key: str, default: int | None = None, most: int = MAX_SIZE) -> int:
        try:
            return whole(self.values.get(f"llama.{key}", default), most)
        except ValueError as error:
            raise ModelError(f"{self.path}: llama.{key}: {error}") from None


def _place(path: Path, tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor in bytes. ModelError if it exceeds the file."""
    try:
        shape = gguf_blocks.byte_shape(tensor.shape, tensor.kind)
        if tensor.offset + math.prod(shape) > path.stat().st_size:
            raise ValueError("it lies outside the file")
        return shape
    except ModelError as error:
        raise ModelError(f"{path}: tensor {tensor.name}: {error}") from None
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(f"{path}: tensor {tensor.name}: {error}: fetch it again") from None


def _load(path: Path, tensor: Tensor) -> F32:
    """Read and dequantise a tensor."""
    shape = _place(path, tensor)
    try:
        data = read_array(path, tensor.offset, math.prod(shape)).reshape(shape)
        return gguf_blocks.dequantise(data, tensor.kind).reshape(tensor.shape)
    except OSError as error:
        raise ModelError(f"{path}: tensor {tensor.name}: cannot read it ({error.strerror})") from None
    except (NotImplementedError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: tensor {tensor.name}: cannot be dequantised ({error})") from None


def start_token(path: Path, values: Mapping[str, Any]) -> int:
    """The id of the start token; any id will do for a file that names none. values: the metadata."""
    try:
        return whole(values.get("tokenizer.ggml.bos_token_id", 0), MAX_SYMBOLS - 1, 0)
    except ValueError as error:
        raise ModelError(f"{path}: tokenizer.ggml.bos_token_id: {error}") from None


def tokenizer_of(path: Path, values: Mapping[str, Any]) -> bytes:
    """The definition of the tokenizer; ModelError if it is not byte-level. values: the metadata."""
    try:
        return from_gguf_fields(values).definition
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path}: damaged tokenizer ({error}): fetch it again") from None


def _rope_factors(fields: _Fields, tensors: Mapping[str, Tensor], head_dim: int) -> list[float] | None:
    path, half = fields.path, head_dim // 2
    if fields.count("rope.dimension_count", head_dim) != head_dim:
        raise ModelError(f"{path}: llama.rope.dimension_count: partial rotation is not supported")
    kind = fields.get("llama.rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise ModelError(
            f"{path}: llama.rope.scaling.type: {kind!r} is not supported; none, linear and the"
            " factors of Llama 3 are"
        )
    factors: list[float] = []
    if kind == "linear":
        factors = [fields.number("rope.scaling.factor", None, *rope.FACTOR)] * half
    if _ROPE_FREQS in tensors:  # the frequency bands of Llama 3: one divisor per frequency
        bands = tensors[_ROPE_FREQS]
        if factors or bands.kind != gguf_blocks.F32_KIND or bands.shape != (half,):
            raise ModelError(f"{path}: tensor {_ROPE_FREQS}: not {half} factors in float32")
        factors = _load(path, bands).tolist()
    return factors or None


def _unpermute(rows: F32, heads: int) -> F32:
    out, width = rows.shape
    split = rows.reshape(heads, out // heads // 2, 2, width)
    return split.swapaxes(1, 2).reshape(out, width)


KIND = SourceKind(
    name=".gguf",
    suffix=".gguf",
    matches=lambda path: path.suffix == ".gguf" and not path.is_dir(),
    files=lambda path: [path],
    read=read_gguf,
)
