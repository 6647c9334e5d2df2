"""Which rows of a batch share a prompt, and when and how their batches are put in order."""

import hashlib

import numpy as np
import torch
from trl import GRPOConfig
from trl.trainer.utils import split_tensor_dict

# TRL's losses that are a sum over rows, divided by a number that is the same for every micro-batch:
# rows, tokens of the whole step, or max_completion_length. Not bnpo: it divides by the tokens of
# the micro-batch. See `GRPOTrainer._compute_loss` in trl/trainer/grpo_trainer.py.
SUMS_OVER_ROWS = ("grpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")

EMBEDS = "audio_embeds"  # of a row: (audio tokens, width)


def distinct(keys: list) -> tuple[list[int], list[int]]:
    """The indices where each key comes first, and for each key which of those it equals.

    >>> distinct(["a", "a", "b", "a"])
    ([0, 2], [0, 0, 1, 0])
    """
    number = {}  # of each distinct key, in the order in which they come
    firsts = []
    for position, key in enumerate(keys):
        if key not in number:
            number[key] = len(number)
            firsts.append(position)
    return firsts, [number[key] for key in keys]


def prefix_keys(input_ids: torch.Tensor, embeds: list[torch.Tensor] | None) -> list[tuple]:
    """What makes prefixes distinct: their tokens, and which audio they hold."""
    audio = embeds or [None] * len(input_ids)
    return [(*row, id(own)) for row, own in zip(input_ids.tolist(), audio, strict=True)]


def prompt_key(prompt) -> tuple:
    """What makes prompts distinct before they are tokenised: their text, and their clips by path
    or content."""
    if isinstance(prompt, str):
        return (prompt,)
    key = []
    for message in prompt:
        content = message["content"]
        parts = [content] if isinstance(content, str) else content
        key += [
            message["role"],
            *(clip_key(p["audio"]) if "audio" in p else repr(p) for p in parts),
        ]
    return tuple(key)


def clip_key(clip) -> str:
    """The path of a clip, or a digest of its samples or bytes."""
    if isinstance(clip, dict):
        content = clip.get("bytes") or np.asarray(clip.get("array", ())).tobytes()
        return f"{clip.get('path')} {hashlib.blake2b(content).hexdigest()}"
    if isinstance(clip, (list, np.ndarray)):
        return hashlib.blake2b(np.asarray(clip).tobytes()).hexdigest()
    return str(clip)


def order_is_free(args: GRPOConfig) -> bool:
    """Do rows have the same gradient in any micro-batch of their generation?

    They do if its micro-batches belong to one optimizer step, the loss is a sum over rows, and
    nothing else in TRL's `_compute_loss` looks at other rows of the micro-batch, as the threshold
    of `top_entropy_quantile` and the mean of the entropy bonus do. A loss that isn't known here
    keeps its order.
    """
    one_step = args.gradient_accumulation_steps % args.steps_per_generation == 0
    entropy_bonus = args.entropy_coef != 0.0 or args.use_adaptive_entropy
    all_tokens = args.top_entropy_quantile == 1.0
    return one_step and args.loss_type in SUMS_OVER_ROWS and all_tokens and not entropy_bonus


def by_group(batches: list[dict]) -> list[dict]:
    """The same rows in as many batches of the same size: rows of a prompt side by side, groups in
    the order of their longest completion. Prompts of the same tokens differ in their audio."""
    rows = {name: _together([batch[name] for batch in batches]) for name in batches[0]}
    lengths = rows["completion_mask"].sum(-1).tolist()
    keys = prefix_keys(rows["prompt_ids"], rows.get(EMBEDS))
    _, prompts = distinct(keys)
    longest = {}
    for prompt, length in zip(prompts, lengths):
        longest[prompt] = max(length, longest.get(prompt, 0))

    def place(i: int) -> tuple:
        prompt, (*tokens, _) = prompts[i], keys[i]
        return longest[prompt], tokens, prompt, lengths[i]

    order = sorted(range(len(keys)), key=place)
    ordered = {name: _in_order(values, order) for name, values in rows.items()}
    return split_tensor_dict(ordered, len(batches))


def _together(parts: list):
    first = parts[0]
    if isinstance(first, torch.Tensor) and first.ndim:
        return torch.cat(parts)
    return [item for part in parts for item in part] if isinstance(first, list) else first


def _in_order(values, order: list[int]):
    if isinstance(values, torch.Tensor) and values.ndim:
        return values[order]
    return [values[i] for i in order] if isinstance(values, list) else values
