"""GGUF models by llama.cpp, through the functions that llama-cpp-python documents; implements LanguageModel.

For architectures and sizes that the exact engine does not run. Not portable: see `binding` for what an
archive is bound to, `session` for the plan by which rows are computed. Fixed here, and part of that plan:
keys and values in f16, no flash attention, physical batches of 512, no repacked weights (which on CPUs only
bring other kernels for the same numbers, those for AMX among them). Chosen: how many sequences a context has,
whose next tokens are computed in one batch.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from nacrith.arith import F32
from nacrith.errors import ModelError
from nacrith.models.floats import binding, session
from nacrith.models.floats.session import Plan, SteppingModel
from nacrith.models.sources.gguf import start_token, tokenizer_of
from nacrith.models.sources.gguf_metadata import read_metadata

LEAST_VERSION = "0.3.16"

_BATCH = 512
_PAD = 256  # cells of a sequence come in so many
_F16 = 1  # ggml_type
_ERROR = 3  # ggml_log_level
_NEEDED = (
    "llama_batch_free",
    "llama_batch_init",
    "llama_decode",
    "llama_get_logits_ith",
    "llama_get_memory",
    "llama_init_from_model",
    "llama_max_parallel_sequences",
    "llama_memory_seq_rm",
    "llama_model_get_vocab",
    "llama_model_load_from_file",
    "llama_model_n_ctx_train",
    "llama_vocab_n_tokens",
)

_said: deque[str] = deque(maxlen=20)
"""The last errors that the library has logged; everything else it says is dropped."""


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _listen(level: int, text: bytes, _: object) -> None:
    if level == _ERROR:
        _said.append(" ".join(text.decode(errors="replace").split()))


class LlamaCppModel(SteppingModel):
    """A GGUF file that llama.cpp has loaded. The context of a lane takes memory of its own."""

    def __init__(self, path: Path, settings: binding.Settings) -> None:
        build = binding.build("llama.cpp")
        missing = [name for name in _NEEDED if not hasattr(llama_cpp, name)]
        if missing:
            raise ModelError(
                f"llama-cpp-python {build['llama-cpp-python']} lacks {', '.join(missing)}; nacrith needs"
                f" {LEAST_VERSION} or newer: pip install -U 'nacrith[llama]'"
            )
        self.lanes = settings.lanes
        if not 0 < self.lanes <= llama_cpp.llama_max_parallel_sequences():
            raise ModelError(
                f"NACRITH_LANES={self.lanes}: llama.cpp has 1 to {llama_cpp.llama_max_parallel_sequences()}"
            )
        self.name = path.stem.encode()[:64].decode(errors="ignore")
        self.fingerprint = binding.fingerprint(path)
        fields = read_metadata(path)
        self.bos_id, self._definition = start_token(path, fields), tokenizer_of(path, fields)
        self.path, self._threads = path, settings.threads
        layers = _gpu_layers(settings)
        self.binding: Mapping[str, str] = {
            **build,
            "cpu": binding.cpu_name(),
            "device": "gpu" if layers else "cpu",
            "threads": str(settings.threads),
            "plan": "step/512/f16",
            **({"lanes": str(self.lanes)} if self.lanes > 1 else {}),
            **({"gpu": binding.gpu_name(), "gpu-layers": _count(layers)} if layers else {}),
        }
        llama_cpp.llama_log_set(_listen, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = layers if layers >= 0 else 1 << 20
        params.use_mmap = False  # a mapped file changes under us when it is overwritten
        if hasattr(params, "use_extra_bufts"):
            params.use_extra_bufts = False
        _said.clear()
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ModelError(f"{path}: llama.cpp cannot load it: {_reason()}")
        weakref.finalize(self, llama_cpp.llama_model_free, self._model)
        self.max_context = llama_cpp.llama_model_n_ctx_train(self._model)
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)
        session.check_model(path, self.vocab_size, self.max_context, self.bos_id, self.tokenizer)

    def _context(self, plan: Plan) -> _LlamaContext:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = plan.capacity
        if self.lanes > 1:  # a token more for a place that sits a step out; to each the same
            params.n_ctx = self.lanes * -(-(plan.capacity + 1) // _PAD) * _PAD
            params.kv_unified = False
        params.n_batch = params.n_ubatch = _BATCH
        params.n_seq_max = self.lanes
        params.n_threads = params.n_threads_batch = self._threads
        params.type_k = params.type_v = _F16
        params.offload_kqv = params.op_offload = self.binding["device"] == "gpu"
        if hasattr(params, "flash_attn_type"):
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        else:  # before it had three values
            params.flash_attn = False
        _said.clear()
        context = llama_cpp.llama_init_from_model(self._model, params)
        if not context:
            raise ModelError(f"{self.path}: llama.cpp cannot start it: {_reason()}")
        return _LlamaContext(self, context, self.vocab_size)


class _LlamaContext:
    """One llama_context with a sequence for each place; implements session.Context.

    model: kept alive as long as the context is.
    """

    def __init__(self, model: LlamaCppModel, context: Any, vocab: int) -> None:
        self._model, self._context, self._vocab = model, context, vocab
        self._memory = llama_cpp.llama_get_memory(context)
        self._held = [0] * model.lanes
        self._batch = llama_cpp.llama_batch_init(_BATCH, 0, 1)
        weakref.finalize(self, _free, context, self._batch, model)

    def prime(self, place: int, tokens: Sequence[int]) -> None:
        self.cut(place, 0)
        for i in range(0, len(tokens), _BATCH):
            self._decode([(place, token) for token in tokens[i : i + _BATCH]], wanted=False)

    def step(self, tokens: Sequence[int | None]) -> Sequence[F32]:
        self._decode([(i, 0 if token is None else token) for i, token in enumerate(tokens)], wanted=True)
        rows = []
        for place, token in enumerate(tokens):
            row = llama_cpp.llama_get_logits_ith(self._context, place)
            if not row:
                raise ModelError(f"llama.cpp gives no logits: {_reason()}")
            rows.append(np.ctypeslib.as_array(row, (self._vocab,)))
            if token is None:
                self.cut(place, self._held[place] - 1)
        return rows

    def cut(self, place: int, length: int) -> None:
        if not llama_cpp.llama_memory_seq_rm(self._memory, place, length, -1):
            raise ModelError("llama.cpp cannot take tokens back with this model (its state is recurrent)")
        self._held[place] = length

    def _decode(self, tokens: Sequence[tuple[int, int]], wanted: bool) -> None:
        """Append tokens to places. wanted: whether logits are."""
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, (place, token) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self._held[place], wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, place
            self._held[place] += 1
        code = llama_cpp.llama_decode(self._context, batch)
        if code:
            raise ModelError(f"llama.cpp failed in decoding (code {code}): {_reason()}")


def _free(context: Any, batch: Any, model: LlamaCppModel) -> None:
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)


def _gpu_layers(settings: binding.Settings) -> int:
    """Layers on the GPU: -1 for all."""
    if settings.device == "cpu" or settings.gpu_layers == 0:
        return 0
    if llama_cpp.llama_supports_gpu_offload():
        return -1 if settings.gpu_layers is None else settings.gpu_layers
    if settings.device or settings.gpu_layers:
        raise ModelError(
            "this build of llama-cpp-python runs on the CPU only; use NACRITH_DEVICE=cpu, or install one for"
            " the GPU"
        )
    return 0


def _count(layers: int) -> str:
    return "all" if layers < 0 else str(layers)


def _reason() -> str:
    return "; ".join(list(_said)[-2:]) or "it does not say why"
