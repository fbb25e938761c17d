"""llama-cpp-python with nacrith's drafters: the tokens are those that it gives without."""

from __future__ import annotations

import numpy as np
import pytest

llama_cpp = pytest.importorskip(
    "llama_cpp", reason="llama-cpp-python is not installed: pip install '.[llama]'", exc_type=ImportError
)

gguf = pytest.importorskip("gguf", reason="gguf is not installed: pip install '.[gguf]'")

from tiny_source import write_gguf  # noqa: E402

from nacrith.errors import DecodingError  # noqa: E402
from nacrith.integrations.llama_cpp import DraftModel  # noqa: E402


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("llama") / "tiny.gguf"
    write_gguf(made, gguf.GGMLQuantizationType.F32)
    return made


def opened(path, draft):
    return llama_cpp.Llama(
        str(path),
        n_ctx=256,
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        draft_model=draft,
        verbose=False,
    )


def answer(llama, prompt, count, **how):
    llama.reset()
    llama.set_seed(3)
    tokens = []
    for token in llama.generate(prompt, **how):
        tokens.append(token)
        if len(tokens) == count:
            return tokens
    return tokens


@pytest.mark.parametrize("drafter", ["lookup", "auto", None])
def test_the_tokens_are_those_without_drafts(path, drafter):
    draft = DraftModel(drafter, fixed=7)
    plain, drafted = opened(path, None), opened(path, draft)
    draft.watch(drafted)
    rng = np.random.default_rng(4)
    for how in ({"temp": 0.0}, {"temp": 0.9, "top_k": 30, "top_p": 0.95, "min_p": 0.0}):
        for _ in range(3):
            prompt = rng.integers(3, 512, 12).tolist()
            prompt = [0, *prompt, *prompt[:5]]
            assert answer(drafted, prompt, 40, **how) == answer(plain, prompt, 40, **how)
    assert draft.drafts.accepted <= draft.drafts.drafted
    if drafter == "auto":
        assert draft.drafts.accepted > 10
    if drafter is None:
        assert draft.drafts.drafted == 0


def test_a_draft_model_that_watches_nothing_says_so():
    with pytest.raises(DecodingError, match="watch"):
        DraftModel()(np.array([1, 2], np.intc))
