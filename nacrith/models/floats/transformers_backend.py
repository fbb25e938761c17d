"""Causal language models in a directory, run by transformers and torch; implements LanguageModel.

This backend serves architectures that the exact engine does not run, on the CPU or CUDA. It is not portable:
`binding` describes the environment that an archive depends on, and `session` the plan by which rows are
computed. The plan fixes eager attention and a prefill in batches of 512. The user chooses between a growing
KV cache and one that is allocated for a whole context ("static"), whose memory is known in advance and whose
unused slots are masked. Both keep all tokens of a context in every layer, and sliding windows are applied by
masks, so any rollback works. Only safetensors are read, and no code that comes with a model is run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.cache_utils import StaticLayer
from transformers.utils import logging as chatter

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.exact.torch_engine import find_device
from nacrith.models.floats import binding, session
from nacrith.models.floats.binding import STATIC
from nacrith.models.floats.session import Plan, SteppingModel
from nacrith.models.sources.safetensors import start_and_tokenizer
from nacrith.settings import CACHES, DTYPES

_BATCH = 512
_DTYPES = {name: getattr(torch, name) for name in DTYPES}
_CONTEXT = 2048  # for a model that does not state its context length


class TransformersModel(SteppingModel):
    """A model directory loaded by transformers."""

    def __init__(self, path: Path, settings: binding.Settings) -> None:
        if settings.dtype not in _DTYPES:
            raise ModelError(f"NACRITH_DTYPE={settings.dtype}: use one of {', '.join(_DTYPES)}")
        if settings.cache not in CACHES:
            raise ModelError(f"NACRITH_KV_CACHE={settings.cache}: use one of {', '.join(CACHES)}")
        self.static = settings.cache == STATIC
        if self.static and not hasattr(StaticLayer(max_cache_len=1), "cumulative_length"):
            raise ModelError(
                f"transformers {transformers.__version__} has static caches of another kind: use"
                " NACRITH_KV_CACHE=dynamic, or pip install -U transformers"
            )
        self.name = path.resolve().name.encode()[:64].decode(errors="ignore")
        self.path, self.fingerprint = path, binding.fingerprint(path)
        self.bos_id, self._definition = start_and_tokenizer(path)
        self.device = find_device(settings.device)
        self.threads = settings.threads
        place = {"cpu": binding.cpu_name()}
        if self.device.type == "cuda":
            place = {"gpu": binding.printable(torch.cuda.get_device_name(self.device))}
        self.binding: Mapping[str, str] = {
            **binding.build("transformers"),
            **place,
            "device": self.device.type,
            "dtype": settings.dtype,
            "matmul": binding.printable(torch.get_float32_matmul_precision()),
            "threads": str(settings.threads),
            "plan": "step/512/eager",
            **({"cache": STATIC} if self.static else {}),
        }
        try:
            with _silence():
                network = _load(path, _DTYPES[settings.dtype])
                _detach(network)
                self.network = network.to(self.device).eval()
        except Exception as error:  # any error of the library on a directory of unknown content
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ModelError(f"{path}: transformers cannot load it: {reason}") from None
        config = self.network.config.get_text_config()
        self.max_context = int(getattr(config, "max_position_embeddings", None) or _CONTEXT)
        self.vocab_size = int(config.vocab_size)
        session.check_model(path, self.vocab_size, self.max_context, self.bos_id, self.tokenizer)

    def _context(self, plan: Plan) -> _TorchContext:
        return _TorchContext(self, plan.capacity)

    def cache(self, capacity: int) -> Any:
        """An empty KV cache for at most `capacity` tokens."""
        if not self.static:
            return transformers.DynamicCache()
        layers = self.network.config.get_text_config().num_hidden_layers
        return transformers.Cache(layers=[StaticLayer(max_cache_len=capacity) for _ in range(layers)])


class _TorchContext:
    """One sequence and its KV cache; implements session.Context with one place."""

    def __init__(self, model: TransformersModel, capacity: int) -> None:
        self._model, self._capacity = model, capacity
        self._cache = model.cache(capacity)
        self._held = 0

    def prime(self, place: int, tokens: Sequence[int]) -> None:
        if self._model.static:
            with torch.inference_mode():  # the tensors were created in this mode
                self._cache.reset()
        else:
            self._cache = self._model.cache(self._capacity)
        self._held = 0
        for i in range(0, len(tokens), _BATCH):
            self._run(self._model.network.base_model, tokens[i : i + _BATCH])

    def step(self, tokens: Sequence[int | None]) -> Sequence[F32]:
        logits = self._run(self._model.network, [t for t in tokens if t is not None]).logits[0, -1]
        row: F32 = logits.float().cpu().numpy()
        if row.shape != (self._model.vocab_size,):
            raise ModelError(
                f"{self._model.name} gives {row.size} logits for {self._model.vocab_size} tokens;"
                " its config.json is wrong"
            )
        return [row]

    def cut(self, place: int, length: int) -> None:
        if self._model.static:
            with torch.inference_mode():
                for layer in self._cache.layers:
                    layer.cumulative_length.fill_(length)  # slots beyond it are masked, and overwritten later
        else:
            self._cache.crop(length - self._held)  # negative: the number of tokens to remove
        self._held = length

    def _run(self, network: Any, tokens: Sequence[int]) -> Any:
        """Append `tokens`; returns the output of `network`."""
        ids = torch.tensor([list(tokens)], device=self._model.device)
        try:
            with torch.inference_mode(), _threads(self._model.threads):
                out = network(input_ids=ids, use_cache=True, **{_keyword(type(network).forward): self._cache})
        except Exception as error:  # an architecture of another kind, or the device
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ModelError(f"transformers failed to run {self._model.name}: {reason}") from None
        self._held += len(tokens)
        if self._cache.get_seq_length() != self._held:
            raise ModelError(
                f"{self._model.name}: its architecture keeps no cache of keys and values; it cannot be used"
            )
        return out


def _load(path: Path, dtype: torch.dtype) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(
        str(path),
        dtype=dtype,
        attn_implementation="eager",
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )


def _detach(network: Any) -> None:
    """Copy the weights out of memory-mapped files, whose content changes when they are overwritten."""
    for tensor in {id(t): t for t in (*network.parameters(), *network.buffers())}.values():
        tensor.data = tensor.data.clone()


@contextmanager
def _silence() -> Iterator[None]:
    """Suppress progress bars and warnings of transformers."""
    verbosity, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(verbosity)
        if bars:
            chatter.enable_progress_bar()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch, which is global, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _keyword(forward: Callable[..., Any]) -> str:
    """What the library calls the cache: `cache`, or `past_key_values` if it is older."""
    names = inspect.signature(forward).parameters
    return "cache" if "cache" in names else "past_key_values"
