"""The order in which rows come to their micro-batches."""

import torch

from soundmind_lite.fast import grouping


def test_clips_of_one_length_are_groups_of_their_own():
    """Their prompts have the same tokens: as many placeholders. Mixed by length, each micro-batch
    would prefill every prompt."""
    clips = [torch.zeros(3, 2), torch.ones(3, 2)]
    lengths = [[1, 4], [2, 3]]  # of the completions of each clip
    rows = {
        "prompt_ids": torch.full((4, 5), 7),
        "completion_mask": torch.tensor([[i < n for i in range(4)] for n in sum(lengths, [])]),
        "audio_embeds": [clip for clip in clips for _ in range(2)],
    }
    mixed = {
        name: [values[i] for i in (0, 2, 1, 3)] if isinstance(values, list) else values[[0, 2, 1, 3]]
        for name, values in rows.items()
    }
    batches = [{name: values[i : i + 2] for name, values in mixed.items()} for i in (0, 2)]
    first, second = grouping.by_group(batches)
    assert all(own is clips[1] for own in first["audio_embeds"])  # whose longest is shorter
    assert all(own is clips[0] for own in second["audio_embeds"])
    assert first["completion_mask"].sum(-1).tolist() == [2, 3]
    assert second["completion_mask"].sum(-1).tolist() == [1, 4]
