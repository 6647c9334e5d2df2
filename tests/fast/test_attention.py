"""Attention to a shared prompt is as exact as scaled_dot_product_attention in every precision."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from soundmind_lite.fast.kv_cache import attend, by_prompt

ROWS, HEADS, GROUPS, WIDTH, PROMPT, SAMPLED = 8, 28, 4, 128, 1558, 200  # the 7B after 60 s of audio


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("common", [0, 4_000, 80_000])
def test_keys_with_a_large_common_part(common, dtype):
    """`common` is the part of q·k that all keys share, before scaling, as k_proj's bias has it."""
    torch.manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(GROUPS, WIDTH), dim=-1) * common**0.5
    query = torch.randn(ROWS, HEADS, 1, WIDTH)
    query = query + direction.repeat_interleave(HEADS // GROUPS, 0)[None, :, None]
    keys = torch.randn(1, GROUPS, PROMPT, WIDTH) + direction[None, :, None]
    own_keys = torch.randn(ROWS, GROUPS, SAMPLED, WIDTH) + direction[None, :, None]
    values = torch.randn(1, GROUPS, PROMPT, WIDTH)
    own_values = torch.randn(ROWS, GROUPS, SAMPLED, WIDTH)
    query, keys, own_keys, values, own_values = (
        tensor.to(dtype) for tensor in (query, keys, own_keys, values, own_values)
    )

    def rows(shared, own):
        together = torch.cat([shared.expand(ROWS, -1, -1, -1), own], 2)
        return together.repeat_interleave(HEADS // GROUPS, 1)

    whole = (query, rows(keys, own_keys), rows(values, own_values))
    truth = scaled_dot_product_attention(*(tensor.double() for tensor in whole)).transpose(1, 2)
    theirs = scaled_dot_product_attention(*whole).transpose(1, 2)
    own_keys, own_values = by_prompt(own_keys, 1), by_prompt(own_values, 1)
    ours, _ = attend(None, query, (keys, own_keys), (values, own_values), None, WIDTH**-0.5)

    def error(found):
        return ((found.double() - truth).norm() / truth.norm()).item()

    assert ours.dtype == dtype
    assert error(ours) <= 4 * error(theirs) + 1e-6
    assert error(ours) < 0.01
