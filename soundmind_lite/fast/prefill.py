"""Prompts that are prefilled once: their KV cache is what `generate` continues."""

from collections import Counter
from contextlib import contextmanager, nullcontext
from copy import copy

import torch
from peft import PeftModel
from transformers import DynamicCache
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import apply_rotary_pos_emb

from .. import families
from . import static_shapes
from .encoder import embeddings
from .grouping import distinct, prefix_keys
from .head import last_logits
from .kv_cache import AFTER_PROMPT, after_prompts, for_rows, roomy_cache
from .merged_sampling import merged_where_exact
from .one_token import OneToken, knows, replacing_forward
from .static_shapes import StaticOneToken


@contextmanager
def ready(model, batch: dict[str, torch.Tensor]):
    """What `model.generate` takes for a batch of `models.encoded`, to be called within.

    The answers are the same but for rounding, in less time: each clip is encoded once for all
    measurements, an adapter is merged where that changes nothing, and new tokens pass `one_token`.
    A model that is sharded, or whose family shares no prefix, gets the batch itself.
    """
    thinker = model.get_base_model() if isinstance(model, PeftModel) else model
    family = families.of(thinker.config)
    with last_logits(model):
        if family.not_shared or is_sharded(thinker):
            yield batch | {"past_key_values": roomy_cache()}
            return
        text = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with merged_where_exact(model), prefilled_once(thinker, embeddings(thinker, batch)):
            yield text


def is_sharded(model) -> bool:
    """Whether this process holds a part of the parameters: those of FSDP2 have a `full_tensor`,
    those of ZeRO-3 a `ds_id`."""
    marks = ("full_tensor", "ds_id")
    return any(hasattr(own, mark) for own in model.parameters() for mark in marks)


def one_token_of(thinker) -> type[OneToken] | None:
    """What passes new tokens through the thinker; None for its own layers."""
    if not knows(thinker):
        return None
    return StaticOneToken if static_shapes.wanted() else OneToken


@contextmanager
def prefilled_once(thinker, embeds: list[torch.Tensor] | None, one_token_of=one_token_of):
    """Within it `thinker.generate` prefills each distinct prompt once, and all its rows read the
    same KV cache. `embeds` are the audio embeddings of the rows, None without audio."""
    original = thinker.generate

    def generate(input_ids, attention_mask, **options):
        firsts, index = distinct(prefix_keys(input_ids, embeds))
        first_embeds = [embeds[i] for i in firsts] if embeds else None
        # the last token is left to `generate`, which needs its logits
        mask = attention_mask[firsts, :-1]
        prompts = prefill(thinker, input_ids[firsts, :-1], mask, first_embeds)
        thinker.model.rope_deltas = torch.zeros_like(input_ids[:, :1])  # no pictures, no jumps
        if index != sorted(index) or len(set(Counter(index).values())) > 1:
            # not in groups of one size, side by side
            prompts, mask = for_rows(prompts, index), attention_mask[:, :-1]
        settings = copy(options.get("generation_config"))
        if settings is not None:  # this cache takes the place of the one that they ask for, or not
            settings.cache_implementation = None
            settings.use_cache = True
            options["generation_config"] = settings
        with continuing(thinker, prompts, mask, len(index), one_token_of(thinker)) as cache:
            options |= {"attention_mask": attention_mask, "past_key_values": cache}
            return original(input_ids=input_ids, **options)

    thinker.generate = generate
    try:
        yield
    finally:
        del thinker.generate


@contextmanager
def continuing(thinker, prompts: DynamicCache, mask, rows: int, one_token: type[OneToken] | None):
    """The cache that `generate` continues within, after prompts with equally many of the rows, side
    by side; new tokens pass `one_token`, or the thinker's own layers."""
    if one_token:
        step = one_token(thinker, prompts, mask, rows)
        with replacing_forward(thinker, step):
            yield step.cache
        return
    config = thinker.model.language_model.config
    attention = config._attn_implementation
    config._attn_implementation = AFTER_PROMPT
    try:
        yield after_prompts(prompts)
    finally:
        config._attn_implementation = attention


def prefill(thinker, input_ids, mask, embeds: list[torch.Tensor] | None) -> DynamicCache:
    """The KV cache of left-padded prompts (rows, tokens)."""
    if embeds is None:
        inputs = thinker.get_input_embeddings()(input_ids)
    else:
        inputs = input_embeds(thinker, input_ids, embeds)
    cache = DynamicCache()
    positions = families.of(thinker.config).positions(mask)
    options = {"position_ids": positions, "past_key_values": cache, "use_cache": True}
    with keys_and_values(thinker) if knows(thinker) else nullcontext():
        thinker.model(inputs_embeds=inputs, attention_mask=mask, **options)
    return cache


@contextmanager
def keys_and_values(thinker):
    """Within it the last layer fills its KV cache and does nothing else: of a prompt, nothing else
    is read."""
    layer = thinker.model.language_model.layers[-1]
    attention = layer.self_attn

    def forward(hidden, position_embeddings, past_key_values, **_):
        states = layer.input_layernorm(hidden)
        keys, values = (
            projection(states).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for projection in (attention.k_proj, attention.v_proj)
        )
        _, keys = apply_rotary_pos_emb(keys[:, :0], keys, *position_embeddings)  # no queries
        past_key_values.update(keys, values, attention.layer_idx)
        return hidden

    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward


def input_embeds(thinker, input_ids, embeds: list[torch.Tensor]) -> torch.Tensor:
    """Input embeddings (rows, tokens, width) with each row's audio embeddings (audio tokens, width)
    where its audio placeholders are; ValueError if there are more or fewer of them."""
    inputs = thinker.get_input_embeddings()(input_ids)
    placeholders = input_ids == thinker.config.audio_token_id
    expected = [len(row) for row in embeds]
    found = placeholders.sum(-1).tolist()
    if expected != found:
        counts = f"{found} audio placeholders and the audio makes {expected}"
        raise ValueError(f"the prompts hold {counts}; was a prompt truncated?")
    return inputs.masked_scatter(placeholders[..., None], torch.cat(embeds).to(inputs.dtype))
