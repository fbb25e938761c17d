"""Generation in transformers with nacrith's drafters, and approximate drafts, on the tiny model."""

from __future__ import annotations

import random

import pytest
from paths import TINY_HF

WHY = "torch and transformers are not installed: pip install '.[hf]'"
torch = pytest.importorskip("torch", reason=WHY, exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason=WHY, exc_type=ImportError)

from nacrith.decoding.drafters.protocol import Guess  # noqa: E402
from nacrith.errors import DecodingError  # noqa: E402
from nacrith.integrations.drafting import Drafts  # noqa: E402
from nacrith.integrations.superposed import NGrams, approximate_drafts  # noqa: E402
from nacrith.integrations.transformers import HARVEST, nacrith_generate  # noqa: E402


def tiny(dtype, **more):
    """The tiny model, whose file is of bfloat16, where tokens that are equally likely are no rarity."""
    torch.set_num_threads(1)  # the model is small
    return transformers.AutoModelForCausalLM.from_pretrained(TINY_HF, dtype=dtype, **more).eval()


@pytest.fixture(scope="module")
def model():
    return tiny(torch.float32)


def prompts(count: int) -> list[list[int]]:
    rng = random.Random(2)
    made = []
    for _ in range(count):
        ids = [rng.randrange(3, 512) for _ in range(rng.randrange(4, 20))]
        made.append([0, *ids, *ids[: rng.randrange(1, len(ids))]])
    return made


@pytest.mark.parametrize(
    "how",
    [
        {"do_sample": False},
        {"do_sample": False, "repetition_penalty": 1.3},
        {"do_sample": True, "temperature": 0.8, "top_k": 20},
        {"do_sample": True, "top_p": 0.9},
    ],
    ids=str,
)
@pytest.mark.parametrize("drafter", [None, "lookup", "auto"])
def test_the_tokens_are_those_of_generate(model, how, drafter):
    """Greedy, sampled with a seed, and with a processor that looks at the text before each token. The tiny
    model's sums in binary32 are far from ties here."""
    drafts = Drafts(drafter, 512, fixed=7)
    for prompt in prompts(3):
        ids, found = torch.tensor([prompt]), []
        for more in ({}, {"custom_generate": nacrith_generate, "nacrith_drafter": drafts}):
            torch.manual_seed(5)
            found.append(model.generate(ids, max_new_tokens=24, pad_token_id=0, **how, **more)[0].tolist())
        assert found[0] == found[1]
    assert drafts.accepted <= drafts.drafted
    if drafter == "auto" and how == {"do_sample": False}:
        assert drafts.accepted > 5
    if drafter is None:
        assert drafts.drafted == 0


class SecondIsRight:
    """Guesses, for each place of a known answer, a wrong token first and the right one second, in vain for
    the other guess."""

    priors, wants_rows, price = [0.9, 0.8], False, 0.0

    def __init__(self, text: list[int]) -> None:
        self.text, self.at = text, 0

    def follow(self):
        self.at = 0
        return self

    def extend(self, tokens):
        self.at += len(tokens)

    def start(self):
        return self.at

    def guesses(self, place):
        if place is None or place >= len(self.text):
            return []
        right = self.text[place]
        return [Guess((right + 1) % 512, 0, None), Guess(right, 1, place + 1)]

    def observe(self, rows):
        raise AssertionError("it wants no rows")


def answer(model, prompt, **more):
    """The answer of 24 tokens, and how many passes had a mask of four dimensions."""
    masks = []

    def note(_module, _args, kwargs):
        mask = kwargs.get("attention_mask")
        masks.append(mask is not None and mask.dim() == 4)

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    made = model.generate(
        torch.tensor([prompt]), max_new_tokens=24, pad_token_id=0, return_dict_in_generate=True, **more
    )
    hook.remove()
    return made, masks


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_trees_are_verified_and_the_cache_keeps_the_path(attention):
    """In binary64, so that all that differs is wrong: the keys and values, too."""
    model = tiny(torch.float64, attn_implementation=attention)
    for prompt in prompts(2):
        want, plain = answer(model, prompt, do_sample=False)
        drafts = Drafts(SecondIsRight(want.sequences[0].tolist()), 512, fixed=6)
        found, masks = answer(
            model, prompt, do_sample=False, custom_generate=nacrith_generate, nacrith_drafter=drafts
        )
        assert found.sequences.tolist() == want.sequences.tolist()
        assert any(masks)
        assert len(masks) * 3 < len(plain)
        caches = [made["cache" if "cache" in made else "past_key_values"] for made in (want, found)]
        for one, other in zip(*(cache.layers for cache in caches), strict=True):
            assert one.keys.shape == other.keys.shape
            assert torch.allclose(one.keys, other.keys, atol=1e-5)
            assert torch.allclose(one.values, other.values, atol=1e-5)


def test_a_pass_of_the_prompt_is_no_measure_and_gives_the_rows_that_are_of_use(model):
    """Its time is not that of a pass without drafts, which all others are compared with."""
    rows, measured = [], []
    hook = model.register_forward_hook(lambda _module, _args, out: rows.append(out.logits.shape[1]))
    short = prompts(1)[0]
    for drafter, prompt, of_prompt in (
        ("lookup", short, 1),
        ("recycling", short, len(short)),
        ("recycling", [0, *short[1:] * 10], HARVEST),
    ):
        drafts = Drafts(drafter, 512, fixed=3)
        drafts._planner.observe = lambda size, *_: measured.append(size)
        rows.clear()
        measured.clear()
        answer(model, prompt, do_sample=False, custom_generate=nacrith_generate, nacrith_drafter=drafts)
        assert rows[0] == of_prompt
        assert rows[1:] == [1 + size for size in measured]
    hook.remove()


def test_a_model_with_sliding_windows_verifies_lines():
    config = transformers.MistralConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=64,
    )
    torch.manual_seed(1)
    model = transformers.MistralForCausalLM(config).double().eval()
    prompt = prompts(1)[0][1:]  # without token 0, which `generate` takes for padding here
    want, _ = answer(model, prompt, do_sample=False)
    drafts = Drafts("auto", 512, fixed=6)
    for _ in range(2):  # what it learned in the first is drafted in the second
        found, masks = answer(
            model, prompt, do_sample=False, custom_generate=nacrith_generate, nacrith_drafter=drafts
        )
        assert found.sequences.tolist() == want.sequences.tolist()
        assert not any(masks)
    assert drafts.accepted > 5


def test_what_is_returned_and_streamed(model):
    class Streamer:
        def __init__(self):
            self.seen: list[int] = []
            self.ended = False

        def put(self, value):
            self.seen += value.flatten().tolist()

        def end(self):
            self.ended = True

    ids, streamer = torch.tensor(prompts(1)), Streamer()
    made = model.generate(
        ids,
        max_new_tokens=9,
        pad_token_id=0,
        custom_generate=nacrith_generate,
        nacrith_streamer=streamer,
        return_dict_in_generate=True,
    )
    assert made.sequences[0].tolist()[ids.shape[1] :] == streamer.seen
    assert streamer.ended
    assert len(made.sequences[0]) == ids.shape[1] + 9


@pytest.mark.parametrize(
    ("ids", "more", "word"),
    [
        ([[0, 5], [0, 6]], {}, "one sequence"),
        ([[0, 5]], {"num_beams": 2}, "beams"),
        ([[0, 5]], {"output_scores": True, "return_dict_in_generate": True}, "scores"),
    ],
)
def test_what_it_cannot_do(model, ids, more, word):
    with pytest.raises(DecodingError, match=word):
        model.generate(
            torch.tensor(ids), max_new_tokens=3, pad_token_id=0, custom_generate=nacrith_generate, **more
        )


def test_one_draft_is_greedy_decoding(model):
    for prompt in prompts(3):
        want = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, pad_token_id=0)
        (found,) = approximate_drafts(model, prompt, drafts=1, tokens=len(want[0]) - len(prompt))
        assert found.tokens == want[0, len(prompt) :].tolist()


def test_all_drafts_cost_one_position_a_token(model):
    prompt, seen = prompts(1)[0], []

    def note(_module, _args, kwargs):
        seen.append(kwargs.get("inputs_embeds"))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    found = approximate_drafts(model, prompt, drafts=4, tokens=6)
    hook.remove()
    assert [draft.score for draft in found] == sorted((draft.score for draft in found), reverse=True)
    assert len({tuple(draft.tokens) for draft in found}) == 4
    assert {len(draft.tokens) for draft in found} == {6}
    assert [None if e is None else tuple(e.shape[:2]) for e in seen] == [None, *[(1, 1)] * 5]
    row = torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1], dim=-1)
    top = row.topk(4)
    shares = torch.softmax(top.values, dim=0)
    want = (shares[:, None] * model.get_input_embeddings()(top.indices)).sum(dim=0)
    assert torch.allclose(seen[1][0, 0], want, atol=1e-6)


def test_ngrams_tell_the_drafts_apart(model):
    prompt = prompts(1)[0]
    plain = approximate_drafts(model, prompt, drafts=3, tokens=2)
    first, second = plain[0].tokens[0], plain[-1].tokens[-1]
    ngrams = NGrams([[*prompt, first, second]] * 3)
    assert ngrams.chance([*prompt, first], second) == pytest.approx(1.0)
    assert ngrams.chance([*prompt, first], second + 1) == 1e-6
    assert approximate_drafts(model, prompt, drafts=3, tokens=2, ngrams=ngrams)[0].tokens == [first, second]


def test_values_that_are_not_allowed(model):
    for wrong in ({"drafts": 0}, {"tokens": 0}, {"alpha": 2.0}):
        with pytest.raises(DecodingError):
            approximate_drafts(model, [0, 5], **wrong)
