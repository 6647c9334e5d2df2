"""KV caches for sampling, without the copies that transformers' own cache makes."""

import torch
from transformers import AttentionInterface, AttentionMaskInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import sdpa_mask

AFTER_PROMPT = "after_prompt"


class RoomyLayer(DynamicLayer):
    """One layer's KV cache in a buffer with room for more.

    A DynamicLayer copies all keys and values for each new token, which after a minute of audio is
    more work than the rest of a step. This one writes in place, so it is for sampling alone.
    """

    ROOM = 256  # tokens

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Keys and values (rows, heads, tokens, width) with the new ones at their end."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._seen = None  # the keys as the last update left them
            self._buffers = None
        start = self.keys.shape[-2] if self.keys.numel() else 0
        end = start + key_states.shape[-2]
        # keys that were changed from outside (reordered or cropped) get a new buffer, too
        changed = self._seen is not self.keys or self._buffers is None
        if changed or self._buffers[0].shape[-2] < end:
            self._buffers = (
                _with_room(self.keys, key_states, end + self.ROOM),
                _with_room(self.values, value_states, end + self.ROOM),
            )
        for buffer, new in zip(self._buffers, (key_states, value_states)):
            buffer[..., start:end, :] = new
        self.keys, self.values = (buffer[..., :end, :] for buffer in self._buffers)
        self._seen = self.keys
        return self.keys, self.values


def _with_room(old: torch.Tensor, new: torch.Tensor, tokens: int) -> torch.Tensor:
    buffer = new.new_empty(*new.shape[:-2], tokens, new.shape[-1])
    if old.numel():
        buffer[..., : old.shape[-2], :] = old
    return buffer


def roomy_cache() -> Cache:
    """An empty cache for `generate`."""
    return Cache(layer_class_to_replicate=RoomyLayer)


class AfterPromptLayer(RoomyLayer):
    """The KV cache of what is sampled after prompts whose own keys and values (prompts, heads,
    tokens, width) are held once, for all rows of each prompt; see `attend`.

    What is sampled lies beside its prompt: (prompts, heads, rows of a prompt, tokens, width).
    """

    def __init__(self, prompt_keys: torch.Tensor, prompt_values: torch.Tensor):
        super().__init__()
        self.prompt = (prompt_keys, prompt_values)

    def update(self, key_states, value_states, *args, **kwargs):
        own = (by_prompt(states, len(self.prompt[0])) for states in (key_states, value_states))
        return tuple(zip(self.prompt, super().update(*own)))

    def get_seq_length(self) -> int:
        return self.prompt[0].shape[-2] + super().get_seq_length()


def after_prompts(prompts: Cache) -> Cache:
    """A cache to sample from, with equally many rows of each prompt, side by side.

    The attention implementation must be `attend` (`AFTER_PROMPT`).
    """
    return Cache(layers=[AfterPromptLayer(layer.keys, layer.values) for layer in prompts.layers])


def by_prompt(states: torch.Tensor, prompts: int) -> torch.Tensor:
    """(rows, heads, ...) as (prompts, heads, rows of a prompt, ...), without a copy."""
    return states.unflatten(0, (prompts, -1)).transpose(1, 2)


def attend(module, query, key: tuple, value: tuple, attention_mask, scaling: float, **_):
    """Attention of one new token a row, query (rows, heads, 1, width), as transformers calls it;
    see `to_prompt_and_sampled`."""
    rows, heads, _, width = query.shape
    prompts, groups = key[0].shape[:2]
    query = by_prompt(query.reshape(rows, groups, heads // groups, width), prompts)
    bias = None
    if attention_mask is not None:
        bias = torch.zeros(attention_mask.shape, device=query.device)
        bias = by_prompt(bias.masked_fill_(~attention_mask, float("-inf")), prompts)
    mixed = to_prompt_and_sampled(query, key, value, bias, scaling)
    return mixed.transpose(1, 2).reshape(rows, 1, heads, width), None


def to_prompt_and_sampled(query, key: tuple, value: tuple, bias, scaling: float) -> torch.Tensor:
    """Attention of one new token a row to its prompt, which is read once for all its rows, and to
    what was sampled after it.

    `query` is (prompts, groups, rows of a prompt, heads of a group, width), and so is the result;
    keys and values are the pairs that `AfterPromptLayer` holds; `bias`, in float32, is added to the
    scores (..., tokens of prompt and sample), None for nothing.
    """
    rows, length = query.shape[2:4], key[0].shape[-2]
    to_prompt = float32_product(query.flatten(2, 3), key[0]).unflatten(2, rows)
    scores = torch.cat([to_prompt, float32_product(query, key[1])], dim=-1)
    scores = scores * scaling if bias is None else torch.add(bias, scores, alpha=scaling)
    weights = scores.softmax(-1).to(query.dtype)
    before, after = weights[..., :length], weights[..., length:]
    return (before.flatten(2, 3) @ value[0]).unflatten(2, rows) + after @ value[1]


def float32_product(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """query @ key.mT in float32, as scaled_dot_product_attention computes it.

    Qwen2's keys share a large part (the bias of k_proj): rounded to bfloat16, a product of 4,000
    loses the differences between keys, and in float16 one beyond 65,504 is infinite.
    """
    if query.dtype == torch.float32 or not query.is_cuda:
        return query.float() @ key.float().mT
    batch, tokens = query.shape[:-2], (query.shape[-2], key.shape[-2])
    product = torch.bmm(query.flatten(0, -3), key.flatten(0, -3).mT, out_dtype=torch.float32)
    return product.reshape(*batch, *tokens)


AttentionInterface.register(AFTER_PROMPT, attend)
AttentionMaskInterface.register(AFTER_PROMPT, sdpa_mask)


def for_rows(cache: Cache, prompts: list[int]) -> DynamicCache:
    """A cache whose row i holds the keys and values of prompt `prompts[i]`; gradients pass."""
    rows = DynamicCache()
    for number, layer in enumerate(cache.layers):
        # not keys[prompts], whose gradients several threads of a CPU add up in any order
        index = torch.tensor(prompts, device=layer.keys.device)
        rows.update(layer.keys.index_select(0, index), layer.values.index_select(0, index), number)
    return rows
