"""Any causal language model in a directory by transformers and torch; implements LanguageModel.

For architectures that the exact engine does not run, on the CPU or CUDA. Not portable: see `binding` for
what an archive is bound to, `session` for the plan by which rows are computed. Fixed here, and part of that
plan: plain attention ("eager"), batches of 512 where a context begins again. Chosen: a cache of keys and
values that grows, or one that is allocated for a whole context ("static"), whose memory is known beforehand
and whose free places are masked. Either way all layers keep all tokens of a context, sliding windows are a
matter of masks, and so any roll-back works. Only safetensors are read and no code of a model's own is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
_CONTEXT = 2048  # where a model does not say what it was made for


class TransformersModel(SteppingModel):
    """A model directory that transformers has loaded."""

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
        except Exception as error:  # whatever the library trips over in a directory of unknown content
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ModelError(f"{path}: transformers cannot load it: {reason}") from None
        config = self.network.config.get_text_config()
        self.max_context = int(getattr(config, "max_position_embeddings", None) or _CONTEXT)
        self.vocab_size = int(config.vocab_size)
        session.check_model(path, self.vocab_size, self.max_context, self.bos_id, self.tokenizer)

    def _context(self, plan: Plan) -> _TorchContext:
        return _TorchContext(self, plan.capacity)

    def cache(self, capacity: int) -> Any:
        """An empty one, for at most so many tokens."""
        if not self.static:
            return transformers.DynamicCache()
        layers = self.network.config.get_text_config().num_hidden_layers
        return transformers.Cache(layers=[StaticLayer(max_cache_len=capacity) for _ in range(layers)])


class _TorchContext:
    """One sequence and its cache; implements session.Context with one place."""

    def __init__(self, model: TransformersModel, capacity: int) -> None:
        self._model, self._capacity = model, capacity
        self._cache = model.cache(capacity)
        self._held = 0

    def prime(self, place: int, tokens: Sequence[int]) -> None:
        if self._model.static:
            with torch.inference_mode():  # in which its tensors were made
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
                    layer.cumulative_length.fill_(length)  # what lies behind is masked, then written over
        else:
            self._cache.crop(length - self._held)  # negative: how many to take off
        self._held = length

    def _run(self, network: Any, tokens: Sequence[int]) -> Any:
        """Append `tokens`; what `network` says."""
        ids = torch.tensor([list(tokens)], device=self._model.device)
        try:
            with torch.inference_mode(), _threads(self._model.threads):
                out = network(input_ids=ids, past_key_values=self._cache, use_cache=True)
        except Exception as error:  # of an architecture that works otherwise, or of the device
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
    """Move weights out of the mapped files, which change under us when they are overwritten."""
    for tensor in {id(t): t for t in (*network.parameters(), *network.buffers())}.values():
        tensor.data = tensor.data.clone()


@contextmanager
def _silence() -> Iterator[None]:
    """Neither progress bars nor warnings of transformers."""
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
    """torch's own number of threads is one for the process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
