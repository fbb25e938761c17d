"""Tokens a second of llama.cpp, as JSON: a child of bench.coding.speed, run by any Python that has it.

    PYTHON bench/engines/llama_speed.py MODEL.gguf THREADS CONTEXT LANES SECONDS

Measures what nacrith's engine does: a prefill of CONTEXT tokens with the logits of all of them, then steps
of one token in one sequence, and in LANES sequences that each hold 32 tokens. Rates are those of the fastest
repetition. A process of its own, since some builds die in decode (ggml-org/llama.cpp#20824). Uses the C
functions that llama-cpp-python publishes, and nothing of nacrith.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable

import llama_cpp as lc


def best(seconds: float, tokens: int, work: Callable[[], None]) -> float:
    """Tokens a second of the fastest of the repetitions that fit."""
    fastest, end = float("inf"), time.perf_counter() + seconds
    while True:
        begin = time.perf_counter()
        work()
        now = time.perf_counter()
        fastest = min(fastest, now - begin)
        if now > end:
            return tokens / fastest


def main() -> None:
    path, numbers, seconds = sys.argv[1], [int(n) for n in sys.argv[2:5]], float(sys.argv[5])
    threads, context, lanes = numbers
    log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
    lc.llama_log_set(log, None)
    lc.llama_backend_init()
    model_params = lc.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = lc.llama_load_model_from_file(path.encode(), model_params)
    vocab = lc.llama_n_vocab(lc.llama_model_get_vocab(model))
    params = lc.llama_context_default_params()
    params.n_ctx = max(context, 64) * lanes
    params.n_batch = params.n_ubatch = max(context, lanes * 32)
    params.n_seq_max = lanes
    params.n_threads = params.n_threads_batch = threads
    ctx = lc.llama_init_from_model(model, params)
    memory = lc.llama_get_memory(ctx)
    batch = lc.llama_batch_init(params.n_batch, 0, 1)

    def decode(tokens: int, place: Callable[[int], tuple[int, int]], wanted: bool = True) -> None:
        """place: the sequence and position of a token of the batch."""
        batch.n_tokens = tokens
        for i in range(tokens):
            sequence, position = place(i)
            batch.token[i] = (i * 7919 + position * 104729) % vocab
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted
        if lc.llama_decode(ctx, batch):
            raise SystemExit("llama_decode failed")
        if wanted:
            assert lc.llama_get_logits_ith(ctx, tokens - 1)[0] is not None

    def prefill() -> None:
        lc.llama_memory_clear(memory, True)
        decode(context, lambda i: (0, i))

    def stepping(count: int) -> Callable[[], None]:
        lc.llama_memory_clear(memory, True)
        decode(32 * count, lambda i: (i // 32, i % 32), wanted=False)
        at = [32]

        def step() -> None:
            decode(count, lambda i: (i, at[0]))
            at[0] += 1
            if at[0] == 60:
                for sequence in range(count):
                    lc.llama_memory_seq_rm(memory, sequence, 32, -1)
                at[0] = 32

        return step

    rates = {"prefill": best(seconds, context, prefill)}
    for count in sorted({1, lanes}):
        rates[f"lanes {count}"] = best(seconds, count, stepping(count))
    print(json.dumps({"version": lc.__version__, "tokens_per_second": rates}))


if __name__ == "__main__":
    main()
