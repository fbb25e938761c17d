"""Generation with transformers: `model.generate(..., custom_generate=nacrith_generate)`.

nacrith's drafters guess a tree of tokens, one forward pass verifies them, and each token is chosen as
`generate` chooses it, greedy or sampled: the logits processors see the same texts, and one random number is
drawn for each token of the answer. So the same seed gives the same text with and without drafts, as far as
the model's sums do not depend on the number of tokens of a pass, which they do in their last bits.

A tree needs a mask and positions of its own, and a cache from which the tokens between two others can be
taken; `_takes_trees` says which models have that. The others verify the likeliest path, one line of tokens.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.generation.utils import GenerateDecoderOnlyOutput

from nacrith.decoding.planner import Tree
from nacrith.errors import DecodingError
from nacrith.integrations.drafting import Drafts, Which

MOST = 31
"""Tokens of a tree, at most."""
HARVEST = 64
"""Rows of a prompt that drafters learn from, at most: its latest. A row costs much of what a token does."""


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
    ids, tree = input_ids, Tree()
    drafts.begin(ids[0].tolist())
    done = False
    while not done:
        begun = time.perf_counter()
        rows = loop.evaluate(ids, tree)
        path: list[int] = []
        tokens: list[int] = []
        node: int | None = -1
        while node is not None:
            token = choose(ids, rows[node + 1])
            tokens.append(int(token))
            ids = torch.cat([ids, token.view(1, 1)], dim=-1)
            done = bool(stopping_criteria(ids, None).all())
            if nacrith_streamer is not None:
                nacrith_streamer.put(token.view(1).cpu())
            node = None if done else tree.child(node, tokens[-1], tree.size)
            path += [] if node is None else [node]
        loop.keep(path)
        seconds = time.perf_counter() - begun
        loop.learn()
        drafts.go_on(tokens, None if loop.prompted else seconds)
        room = (stopping_criteria.max_length or ids.shape[1] + MOST) - ids.shape[1] - 1
        tree = Tree() if done else drafts.propose_tree(max(0, min(MOST, room)), line=not loop.takes_trees)
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
        self._plain = _takes_trees(model)
        self._cuts = "logits_to_keep" in model_kwargs  # whether the model computes the last rows alone
        self._text: list[int] = []
        self._tree = Tree()
        self._new = 0  # tokens of the text, in the latest pass
        self._rows = torch.empty(0)

    @property
    def prompted(self) -> bool:
        """Whether the latest pass took more of the text than its newest token."""
        return self._new > 1

    @property
    def takes_trees(self) -> bool:
        """Whether trees can be verified and the cache be left with one path. Known after the first pass."""
        layers, offloads = getattr(self.cache, "layers", ()), getattr(self.cache, "offloading", False)
        return self._plain and not offloads and {type(layer) for layer in layers} == {DynamicLayer}

    def evaluate(self, ids: torch.Tensor, tree: Tree) -> torch.Tensor:
        """The rows (1 + size, V) that follow the text `ids` (1, n) and each node that `tree` verifies."""
        held, parents = int(self.cache.get_seq_length()), tree.parents[: tree.size]
        self._text, self._tree, self._new = ids[0].tolist(), tree, ids.shape[1] - held
        new = torch.cat([ids, ids.new_tensor([tree.tokens[: tree.size]])], dim=-1)[:, held:]
        more: dict[str, Any] = {self.name: self.cache}
        if parents != list(range(-1, tree.size - 1)):
            mask, places = branches(held, ids.shape[1], parents, self._model.dtype)
            more |= {"attention_mask": mask.to(ids.device), "position_ids": places.to(ids.device)}
        if self._cuts:
            more["logits_to_keep"] = tree.size + (min(self._new, HARVEST) if self._drafts.learns else 1)
        with torch.no_grad():
            out = self._model(input_ids=new, use_cache=True, **more)
        self._rows = out.logits[0]
        return self._rows[-1 - tree.size :]

    def learn(self) -> None:
        """Show the drafts the rows of the latest pass."""
        if self._drafts.learns:
            rows = self._rows.float().cpu().numpy()
            first = len(self._text) + self._tree.size - len(rows)
            self._drafts.learn(rows, first, self._text, self._tree)

    def keep(self, path: Sequence[int]) -> None:
        """Of the latest pass's tree keep the nodes of `path`, each the parent of the next."""
        text, count = len(self._text), len(path)
        if list(path) != list(range(count)):  # what stays comes first
            for layer in self.cache.layers:
                if layer.get_seq_length():  # others share the keys of an earlier layer
                    chosen = torch.tensor(path, device=layer.keys.device) + text
                    for kept in (layer.keys, layer.values):  # (1, heads, tokens, width)
                        kept[:, :, text : text + count] = kept.index_select(2, chosen)
        if self._tree.size > count:
            self.cache.crop(count - self._tree.size)


def _takes_trees(model: Any) -> bool:
    """Whether each token of this model attends where a mask of four dimensions says, at the place that
    `position_ids` says, in all layers alike."""
    config = model.config
    return (
        config.get_text_config() is config
        and getattr(model, "_supports_attention_backend", False)
        and getattr(config, "_attn_implementation", None) in ("sdpa", "eager")
        and not getattr(config, "sliding_window", None)
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and "position_ids" in inspect.signature(model.forward).parameters
    )


def branches(
    held: int, text: int, parents: Sequence[int], dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the tokens of a pass see: those of a text from place `held` to `text`, then the nodes of a tree,
    parents -1 for the text's end. Returns what is added to the attention's logarithms (1, 1, q, text + nodes)
    and the places (1, q)."""
    paths: list[set[int]] = []
    for node, parent in enumerate(parents):
        paths.append({node} | (paths[parent] if parent >= 0 else set()))
    sees = torch.ones((text - held + len(parents), text + len(parents)), dtype=torch.bool).tril(held)
    own = [[node in path for node in range(len(parents))] for path in paths]
    sees[text - held :, text:] = torch.tensor(own)
    places = [*range(held, text), *(text + len(path) - 1 for path in paths)]
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
    return mask[None, None], torch.tensor([places])
