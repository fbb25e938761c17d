"""Reading a Llama-architecture model from a Hugging Face directory.

Such a directory holds config.json, tokenizer.json and the weights as model.safetensors, or as
shards named by model.safetensors.index.json. A safetensors file is a little-endian u64 length, that
many bytes of JSON ({name: {dtype, shape, data_offsets}}), and the data; offsets count from the end
of the JSON.

Everything that would change the computation is checked here, so that what converts also computes
what the checkpoint means.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nacrith import jsontext
from nacrith.arith import F32
from nacrith.coder.cdf import MAX_SYMBOLS
from nacrith.errors import ModelError
from nacrith.models.exact import rope
from nacrith.models.exact.config import MAX_HEAD_DIM, MAX_POSITIONS, MAX_SIZE, real, whole
from nacrith.models.exact.conversion import LAYER_TENSORS, LlamaSource
from nacrith.models.files import open_regular, read_array, read_regular
from nacrith.models.sources.kind import SourceKind
from nacrith.models.tokenizer.importers import from_tokenizer_json

_HEADER_MAX = 1 << 24  # bytes, for some 100,000 tensors; the format allows 100 MB
_DIMENSIONS = 8
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_ARCHITECTURES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral"}
_INDEX = "model.safetensors.index.json"
_KNOWN = re.compile(rf"embed_tokens|norm|lm_head|layers\.\d+\.({'|'.join(map(re.escape, LAYER_TENSORS))})")


def read_safetensors(directory: Path) -> LlamaSource:
    """Open a model directory; weights are converted to float32 when asked for."""
    config = _Config(directory / "config.json")
    config.check_architecture()
    heads = config.count("num_attention_heads")
    width = config.count("hidden_size")
    head_dim = config.head_dim()
    theta, factors = _rotation(config, head_dim)
    bos_id = config.token("bos_token_id", "eos_token_id")
    tables = _tensor_tables(directory)
    tied = config.flag("tie_word_embeddings", False)
    if not tied and "lm_head" not in tables:
        raise config.error("tie_word_embeddings", "false, but no file has the tensor lm_head.weight")
    if tied:
        tables.pop("lm_head", None)
    return LlamaSource(
        layers=config.count("num_hidden_layers"),
        width=width,
        heads=heads,
        kv_heads=config.count("num_key_value_heads", heads),
        head_dim=head_dim,
        ffn=config.count("intermediate_size"),
        max_context=config.count("max_position_embeddings", 2048, MAX_POSITIONS),
        rms_eps=config.number("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_factors=factors,
        bos_id=bos_id,
        tokenizer=_tokenizer(directory / "tokenizer.json", bos_id),
        tensor=lambda name: tables[name](),
        info={
            "name": directory.resolve().name,
            "source": directory.resolve().name,
            "licence": str(config.get("license", "unknown"))[:200],
        },
    )


def start_and_tokenizer(directory: Path) -> tuple[int, bytes]:
    """Of a directory of any architecture: the id of the start token, the definition of the tokenizer.
    ModelError if that is not byte-level."""
    bos_id = _Config(directory / "config.json").token("bos_token_id", "eos_token_id")
    return bos_id, _tokenizer(directory / "tokenizer.json", bos_id)


def check_supported(directory: Path) -> None:
    """ModelError if config.json and tokenizer.json alone tell that `read_safetensors` would refuse."""
    config = _Config(directory / "config.json")
    config.check_architecture()
    _rotation(config, config.head_dim())
    start_and_tokenizer(directory)


class _Config:
    """config.json with checked access. `path` and field stand in every message."""

    def __init__(self, path: Path, fields: dict[str, Any] | None = None) -> None:
        self.path = path
        self.fields = _json_object(path, _read(path)) if fields is None else fields

    def error(self, field: str, why: str) -> ModelError:
        return ModelError(f"{self.path}: {field}: {why}")

    def get(self, field: str, default: Any = None) -> Any:
        """The value; `default` if it is absent or null."""
        value = self.fields.get(field)
        return default if value is None else value

    def number(
        self, field: str, default: float | None = None, least: float = 1e-30, most: float = 1e12
    ) -> float:
        try:
            return real(self.get(field, default), least, most)
        except ValueError as error:
            raise self.error(field, str(error)) from None

    def count(self, field: str, default: int | None = None, most: int = MAX_SIZE) -> int:
        try:
            return whole(self.get(field, default), most)
        except ValueError as error:
            raise self.error(field, str(error)) from None

    def head_dim(self) -> int:
        default = self.count("hidden_size") // self.count("num_attention_heads")
        return self.count("head_dim", default, MAX_HEAD_DIM)

    def flag(self, field: str, default: bool) -> bool:
        value = self.get(field, default)
        if not isinstance(value, bool):
            raise self.error(field, f"{value!r:.60} is neither true nor false")
        return value

    def token(self, *names: str) -> int:
        """The token id in the first of these fields that is set; the first of a list."""
        for name in names:
            value = self.get(name)
            if isinstance(value, list) and value:
                value = value[0]
            if value is not None:
                try:
                    return whole(value, MAX_SYMBOLS - 1, 0)
                except ValueError as error:
                    raise self.error(name, str(error)) from None
        raise self.error(names[0], "not set; a model needs a token to start from")

    def must_be(self, field: str, *supported: Any) -> None:
        if self.get(field, supported[0]) not in supported:
            only = " or ".join(json.dumps(s) for s in supported)
            raise self.error(field, f"{self.fields[field]!r:.60} is not supported, only {only} is")

    def check_architecture(self) -> None:
        """ModelError for whatever the exact engine would compute differently."""
        names = self.get("architectures", [])
        model_type = self.get("model_type")
        if isinstance(names, list) and names:
            known = all(isinstance(name, str) and name in _ARCHITECTURES for name in names)
        else:
            known = model_type in _ARCHITECTURES.values()
        if not known:
            raise self.error(
                "architectures",
                f"{names or model_type!r:.80} is not supported; the exact engine runs"
                f" {' and '.join(_ARCHITECTURES)}",
            )
        self.must_be("hidden_act", "silu")
        self.must_be("attention_bias", False)
        self.must_be("mlp_bias", False)
        self.must_be("rope_interleaved", False)
        self.must_be("partial_rotary_factor", 1.0)
        for field in ("sliding_window", "quantization_config"):
            if self.get(field) is not None:
                raise self.error(field, "not supported; only models without one are")


def _rotation(config: _Config, head_dim: int) -> tuple[float, list[float] | None]:
    """theta, and what divides the rotation frequencies (rounded to binary32, as in GGUF files)."""
    theta = config.get("rope_theta")
    field = "rope_parameters" if config.get("rope_parameters") is not None else "rope_scaling"
    scaling = config.get(field, {})
    if not isinstance(scaling, dict):
        raise config.error(field, "not an object")
    inner = _Config(config.path, scaling)
    if theta is None:
        theta = inner.get("rope_theta", 10000.0)
    theta = _Config(config.path, {"rope_theta": theta}).number("rope_theta", None, *rope.THETA)
    inner.must_be("partial_rotary_factor", 1.0)
    kind = inner.get("rope_type", inner.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, [float(np.float32(inner.number("factor", None, *rope.FACTOR)))] * (head_dim // 2)
    if kind == "llama3":
        names = (
            "factor",
            "low_freq_factor",
            "high_freq_factor",
            "original_max_position_embeddings",
        )
        factor, low, high, context = (inner.number(name, None, *rope.FACTOR) for name in names)
        if not low < high:
            raise config.error(field, "low_freq_factor is not below high_freq_factor")
        return theta, rope.llama3_factors(head_dim // 2, theta, factor, low, high, context)
    raise config.error(field, f"type {kind!r:.60} is not supported; default, linear and llama3 are")


def _tokenizer(path: Path, bos_id: int) -> bytes:
    content = _read(path)
    try:
        return from_tokenizer_json(content, [bos_id]).definition
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _tensor_tables(directory: Path) -> dict[str, Callable[[], F32]]:
    """Loader of every tensor, by name without "model." and ".weight"."""
    index = directory / _INDEX
    if index.exists():
        weight_map = _json_object(index, _read(index)).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelError(f"{index}: weight_map: not an object that names files")
        names = sorted({str(name) for name in weight_map.values()})
        if any(Path(name).name != name for name in names):
            raise ModelError(f"{index}: weight_map: names a file outside the directory")
        files = [directory / name for name in names]
    else:
        files = sorted(directory.glob("*.safetensors"))
        if len(files) != 1:
            raise ModelError(
                f"{directory}: has {len(files)} .safetensors files and no {_INDEX};"
                " supported are one file, or several with the index"
            )
    tables: dict[str, Callable[[], F32]] = {}
    for path in files:
        for name, tensor in _open(path).items():
            key = name.removeprefix("model.").removesuffix(".weight")
            if key.endswith("rotary_emb.inv_freq"):  # old checkpoints repeat what theta says
                continue
            if not _KNOWN.fullmatch(key):
                raise ModelError(
                    f"{path}: tensor {name:.80}: not part of a plain Llama model; the exact engine"
                    " supports no biases, adapters or other additions"
                )
            if key in tables:
                raise ModelError(f"{path}: tensor {name}: there are two of this name")
            tables[key] = tensor.load
    return tables


@dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in a file. size: in bytes, which fit its shape."""

    path: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int

    def load(self) -> F32:
        if self.dtype not in _DTYPES:
            raise ModelError(
                f"{self.path}: tensor {self.name}: type {self.dtype!r:.60} is not supported;"
                f" {', '.join(_DTYPES)} are"
            )
        try:
            raw = read_array(self.path, self.offset, self.size).view(_DTYPES[self.dtype])
        except OSError as error:
            raise _unreadable(self.path, error) from None
        if self.dtype == "BF16":  # the upper half of a binary32
            raw = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return np.asarray(raw, dtype=np.float32).reshape(self.shape)


def _open(path: Path) -> dict[str, _Tensor]:
    """The tensors of one file, with every place checked against the file."""
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= min(_HEADER_MAX, length - 8):
                raise ModelError(f"{path}: not a safetensors file, or cut short: fetch it again")
            header = _json_object(path, file.read(size))
    except OSError as error:
        raise _unreadable(path, error) from None
    header.pop("__metadata__", None)
    try:
        return {name: _tensor(path, name, entry, 8 + size, length) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path}: damaged header ({error}): fetch it again") from None


def _tensor(path: Path, name: str, entry: dict[str, Any], start: int, length: int) -> _Tensor:
    """Of an entry of the header. start: of the data, in a file of `length` bytes."""
    dtype, shape = str(entry["dtype"]), tuple(whole(n, length, 0) for n in entry["shape"][: _DIMENSIONS + 1])
    begin, end = (whole(n, length - start, 0) for n in entry["data_offsets"])
    if begin > end or len(shape) > _DIMENSIONS:
        raise ValueError(f"tensor {name:.80} is of no possible shape")
    if dtype in _DTYPES and end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
        raise ValueError(f"tensor {name:.80} has {end - begin} bytes for shape {list(shape)}")
    return _Tensor(path, name, dtype, shape, start + begin, end - begin)


def _read(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{path}: cannot read it ({error.strerror}); a model directory holds config.json, tokenizer.json and"
        " *.safetensors"
    )


def _json_object(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = jsontext.parse(data)
    except jsontext.JsonError as error:
        raise ModelError(f"{path}: not readable JSON ({error}): fetch it again") from None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object: fetch it again")
    return value


def _files(directory: Path) -> list[Path]:
    names = {"config.json", "tokenizer.json", _INDEX}
    return sorted(p for p in directory.iterdir() if p.name in names or p.suffix == ".safetensors")


KIND = SourceKind(
    name="safetensors directories",
    suffix="",
    matches=Path.is_dir,
    files=_files,
    read=read_safetensors,
)
