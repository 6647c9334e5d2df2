"""The order in which rows come to their micro-batches."""

import torch

from soundmind_lite.fast import grouping


def batch(rows) -> dict:
    """A micro-batch of rows with a prompt of the same tokens."""
    return {
        "prompt_ids": torch.full((len(rows), 5), 7),
        "completion_mask": torch.tensor([[i < length for i in range(4)] for _, length in rows]),
        "audio_embeds": [clip for clip, _ in rows],
    }


def test_clips_of_one_length_are_groups_of_their_own():
    """Their prompts have the same tokens: as many placeholders. Mixed by length, each micro-batch
    would prefill every prompt."""
    clips = [torch.zeros(3, 2), torch.ones(3, 2)]
    rows = [(clips[0], 1), (clips[1], 2), (clips[0], 4), (clips[1], 3)]  # and its tokens
    batches = [batch(rows[:2]), batch(rows[2:])]
    first, second = grouping.by_group(batches)
    assert all(own is clips[1] for own in first["audio_embeds"])  # whose longest is shorter
    assert all(own is clips[0] for own in second["audio_embeds"])
    assert first["completion_mask"].sum(-1).tolist() == [2, 3]
    assert second["completion_mask"].sum(-1).tolist() == [1, 4]
