"""The language model's pass over one new token of each row, without the overhead of a whole model.

`generate` samples one token of each row at a time. That is so little work that a CPU spends most of
it in Python, and a GPU waits for the launch of each kernel. Here are the layers of Qwen2.5-Omni
(`Qwen2_5OmniDecoderLayer` in transformers) in few calls, in any precision, with LoRA or without.
`generate` itself, with its stopping and its draws, stays as it is.
"""

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial, wraps

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch.nn.functional import linear, pad, rms_norm
from transformers import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniDecoderLayer

from .kv_cache import after_prompts, by_prompt, to_prompt_and_sampled

JOINED = 2**20  # parameters; a product with more takes longer than the call of it


def knows(thinker) -> bool:
    """Whether `OneToken` can pass the layers of the thinker's language model."""
    layers = getattr(thinker.model.language_model, "layers", ())
    return bool(len(layers)) and all(
        type(layer) is Qwen2_5OmniDecoderLayer
        and layer.self_attn.sliding_window is None
        and not layer.self_attn.attention_dropout
        for layer in layers
    )


class OneToken:
    """After prefilled prompts, the logits (rows, 1, vocabulary) of one more token (rows,) of each
    row, call after call.

    `prompts` is the KV cache of left-padded prompts, `mask` (prompts, tokens) is 0 where they are
    padded; each prompt has equally many of the `rows`, side by side.
    """

    ROOM = 256  # tokens for which positions are prepared at once

    def __init__(self, thinker, prompts: Cache, mask: torch.Tensor, rows: int):
        self.language, self.head = thinker.model.language_model, thinker.get_output_embeddings()
        self.norm = normalised(self.language.norm)
        self.layers = [Layer(layer) for layer in self.language.layers]
        self.cache = after_prompts(prompts)
        self.dtype = prompts.layers[0].keys.dtype
        self.counts = mask.sum(-1)  # tokens of each prompt
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill_(mask == 0, float("-inf"))
        self.bias = bias[:, None, None, None]  # of scores: (prompts, 1, 1, 1, tokens)
        self.rows, self.sampled = rows, 0

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        if self.sampled % self.ROOM == 0:
            self._make_room()
        self.sampled += 1
        return self._next(tokens)

    def _next(self, tokens: torch.Tensor) -> torch.Tensor:
        bias = self.bias[..., : self.cache.get_seq_length() + 1]
        return self._logits(tokens, self.rotations[(self.sampled - 1) % self.ROOM], bias)

    def _make_room(self) -> None:
        """Rotations (ROOM, 2, prompts, 1, 1, width) of the next positions, a bias of their keys."""
        steps = torch.arange(self.sampled, self.sampled + self.ROOM, device=self.counts.device)
        positions = (self.counts + steps[:, None]).expand(3, -1, -1)
        like = torch.empty(0, dtype=self.dtype, device=self.counts.device)
        cos, sin = self.language.rotary_emb(like, positions)
        half = cos.shape[-1] // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)  # for the halves exchanged
        self.rotations = torch.stack([cos, sin], dim=1)[..., None, None, :]
        self.bias = pad(self.bias, (0, self.ROOM))

    def _logits(self, tokens, rotation, bias) -> torch.Tensor:
        hidden = self.language.embed_tokens(tokens)
        for layer, cache in zip(self.layers, self.cache.layers):
            hidden = layer(hidden, rotation, bias, cache)
        return self.head(self.norm(hidden)[:, None])


class Layer:
    """A decoder layer for one token a row: hidden states (rows, width) to hidden states."""

    def __init__(self, layer):
        attention, mlp = layer.self_attn, layer.mlp
        self.width, self.scaling = attention.head_dim, attention.scaling
        self.before = normalised(layer.input_layernorm)
        self.projected = joined(attention.q_proj, attention.k_proj, attention.v_proj)
        self.output = joined(attention.o_proj)
        self.between = normalised(layer.post_attention_layernorm)
        self.gated, self.act_fn = joined(mlp.gate_proj, mlp.up_proj), mlp.act_fn
        self.down = joined(mlp.down_proj)

    def __call__(self, hidden, rotation, bias, cache) -> torch.Tensor:
        prompts, groups = cache.prompt[0].shape[:2]
        cos, sin = rotation
        heads = self.projected(self.before(hidden))
        heads = heads.unflatten(-1, (-1, self.width)).unflatten(0, (prompts, -1))
        turned, values = heads[:, :, :-groups], heads[:, :, -groups:].flatten(0, 1)
        # rounded in each product, as transformers does: in 16 bits other keys are another policy
        turned = (turned * cos + turned.roll(self.width // 2, -1) * sin).flatten(0, 1)
        queries, keys = turned[:, :-groups], turned[:, -groups:]
        keys, values = cache.update(keys.unsqueeze(-2), values.unsqueeze(-2))
        queries = by_prompt(queries.unflatten(1, (groups, -1)), prompts).contiguous()
        mixed = to_prompt_and_sampled(queries, keys, values, bias, self.scaling)
        hidden = hidden + self.output(mixed.transpose(1, 2).reshape(len(hidden), -1))
        gate, up = self.gated(self.between(hidden)).chunk(2, dim=-1)
        return hidden + self.down(self.act_fn(gate) * up)


def normalised(norm) -> Callable:
    """An RMSNorm in one call; in 16 bits as transformers rounds it."""
    if norm.weight.dtype != torch.float32:
        return norm
    shape, eps = norm.weight.shape, norm.variance_epsilon
    return partial(rms_norm, normalized_shape=shape, weight=norm.weight, eps=eps)


def joined(*layers) -> Callable:
    """What linear layers make of the same input, side by side: for small ones in one product."""
    layers = [base_of(layer) for layer in layers]
    small = sum(layer.weight.numel() for layer in layers) <= JOINED
    if len(layers) == 1:
        return layers[0]
    if not small or {type(layer) for layer in layers} != {torch.nn.Linear}:
        return lambda states: torch.cat([layer(states) for layer in layers], dim=-1)
    weight = torch.cat([layer.weight for layer in layers])
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return partial(linear, weight=weight, bias=torch.cat(biases) if biases else None)


def base_of(layer):
    """The linear layer of a LoRA layer that is merged into it, else the layer itself."""
    merged = isinstance(layer, BaseTunerLayer) and layer.merged
    return layer.get_base_layer() if merged else layer


@contextmanager
def replacing_forward(thinker, step: OneToken):
    """Within it the thinker's forward is `step`, for a `generate` that continues its cache."""
    forward = vars(thinker).get("forward")  # the output head that TRL puts on
    prepare = thinker.prepare_inputs_for_generation

    @wraps(prepare)
    def last_token(input_ids, **_):
        return {"input_ids": input_ids[:, -1:]}

    @wraps(thinker.forward)
    def logits(input_ids, **_):
        return CausalLMOutputWithPast(logits=step(input_ids[:, 0]), past_key_values=step.cache)

    thinker.prepare_inputs_for_generation, thinker.forward = last_token, logits
    try:
        yield
    finally:
        del thinker.prepare_inputs_for_generation, thinker.forward
        if forward is not None:
            thinker.forward = forward
