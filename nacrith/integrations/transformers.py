"""Generation with transformers: `model.generate(..., custom_generate=nacrith_generate)`.

nacrith's drafters guess a line of tokens, one forward pass verifies them, and each token is chosen as
`generate` chooses it, greedy or sampled: the logits processors see the same texts, and one random number is
drawn for each token of the answer. So the same seed gives the same text with and without drafts, as far as
the model's sums do not depend on the number of tokens of a pass, which they do in their last bits.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import DynamicCache
from transformers.generation.utils import GenerateDecoderOnlyOutput

from nacrith.errors import DecodingError
from nacrith.integrations.drafting import Drafts, Which

MOST = 31
"""Tokens of a line, at most."""


def nacrith_generate(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    nacrith_drafter: Which | Drafts = "auto",
    nacrith_streamer: Any = None,
    **model_kwargs: Any,
) -> Any:
    """The loop that `generate` calls. One sequence, of a model with a cache that can be cut.

    nacrith_drafter: as of `nacrith.decoding.generate`, or a `Drafts` that is kept from call to call and has
    the figures. nacrith_streamer: a streamer, which `generate` does not pass on by its own name, and which
    gets the new tokens one by one. DecodingError for what this cannot do.
    """
    _check(model, input_ids, generation_config, model_kwargs)
    drafts = nacrith_drafter
    if not isinstance(drafts, Drafts):
        drafts = Drafts(drafts, model.config.get_text_config().vocab_size)
    loop = _Loop(model, model_kwargs, drafts)
    choose = _Choice(logits_processor, generation_config.do_sample)
    ids, line = input_ids, torch.empty((1, 0), dtype=input_ids.dtype, device=input_ids.device)
    drafts.begin(ids[0].tolist())
    done = False
    while not done:
        begun = time.perf_counter()
        rows = loop.evaluate(ids, line)
        tokens: list[int] = []
        for place, row in enumerate(rows):
            token = choose(ids, row)
            tokens.append(int(token))
            ids = torch.cat([ids, token.view(1, 1)], dim=-1)
            done = bool(stopping_criteria(ids, None).all())
            if nacrith_streamer is not None:
                nacrith_streamer.put(token.view(1).cpu())
            if done or place == line.shape[1] or int(line[0, place]) != tokens[-1]:
                break
        loop.learn()
        drafts.go_on(tokens, time.perf_counter() - begun)
        loop.cut(ids.shape[1] - 1)
        room = (stopping_criteria.max_length or ids.shape[1] + MOST) - ids.shape[1] - 1
        line = ids.new_tensor([drafts.propose(max(0, min(MOST, room))) if not done else []])
    if nacrith_streamer is not None:
        nacrith_streamer.end()
    if generation_config.return_dict_in_generate:
        return GenerateDecoderOnlyOutput(sequences=ids, **{loop.name: loop.cache})
    return ids


def _check(model: Any, input_ids: torch.Tensor, config: Any, model_kwargs: dict[str, Any]) -> None:
    mask = model_kwargs.get("attention_mask")
    if model.config.is_encoder_decoder:
        raise DecodingError("nacrith_generate: give a model that is a decoder only")
    if config.num_beams != 1:
        raise DecodingError("nacrith_generate: beams have no drafts; give num_beams=1")
    if input_ids.shape[0] != 1 or (mask is not None and not bool(mask.bool().all())):
        raise DecodingError("nacrith_generate: give one sequence at a time, without padding")
    if config.output_scores or config.output_logits or config.output_attentions:
        raise DecodingError("nacrith_generate: scores, logits and attentions are not kept")


class _Choice:
    """Chooses a token as `generate` does."""

    def __init__(self, logits_processor: Any, sample: bool) -> None:
        self._process, self._sample = logits_processor, sample

    def __call__(self, ids: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """ids (1, n): the text. row (V,): its logits. Returns the token, of no dimension."""
        scores = self._process(ids, row[None].to(copy=True, dtype=torch.float32))
        if not self._sample:
            return scores.argmax(dim=-1)[0]
        return torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1)[0, 0]


class _Loop:
    """The model, its cache, and the drafts. name: the keyword of the cache, which newer versions of
    transformers call otherwise."""

    def __init__(self, model: Any, model_kwargs: dict[str, Any], drafts: Drafts) -> None:
        self._model, self._drafts = model, drafts
        self.name = "cache" if "cache" in model_kwargs else "past_key_values"
        cache: Any = model_kwargs.get(self.name)
        self.cache = DynamicCache(config=model.config) if cache is None else cache
        self._entered: list[int] = []
        self._first = 0
        self._rows = torch.empty(0)

    def evaluate(self, ids: torch.Tensor, line: torch.Tensor) -> torch.Tensor:
        """The rows (1 + drafts, V) that follow the text `ids` (1, n) and each draft of `line` (1, d)."""
        held = int(self.cache.get_seq_length())
        self._entered, self._first = [*ids[0].tolist(), *line[0].tolist()], held
        new = torch.cat([ids, line], dim=-1)[:, held:]
        with torch.no_grad():
            out = self._model(
                input_ids=new,
                use_cache=True,
                **{self.name: self.cache},
            )
        self._rows = out.logits[0]
        return self._rows[-1 - line.shape[1] :]

    def learn(self) -> None:
        """Show the drafts all rows of the latest pass."""
        if self._drafts.learns:
            self._drafts.learn(self._rows.float().cpu().numpy(), self._first, self._entered)

    def cut(self, length: int) -> None:
        """Keep the first `length` tokens."""
        more = int(self.cache.get_seq_length()) - length
        if more > 0:
            self.cache.crop(-more)
