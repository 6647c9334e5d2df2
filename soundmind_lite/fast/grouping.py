"""Which rows of a batch share a prompt, and how their batches are put in order."""

import hashlib

import numpy as np
import torch
from trl.trainer.utils import split_tensor_dict


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


def by_group(batches: list[dict]) -> list[dict]:
    """The same rows in as many batches of the same size: rows of a prompt side by side, groups in
    the order of their longest completion."""
    rows = {name: _together([batch[name] for batch in batches]) for name in batches[0]}
    lengths = rows["completion_mask"].sum(-1).tolist()
    keys = [tuple(row) for row in rows["prompt_ids"].tolist()]
    longest = {}
    for key, length in zip(keys, lengths):
        longest[key] = max(length, longest.get(key, 0))
    order = sorted(range(len(keys)), key=lambda i: (longest[keys[i]], keys[i], lengths[i]))
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
