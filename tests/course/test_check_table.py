"""The table of trainers: its rows are measured, and ms-swift's sampling is kept as it was."""

import torch
from transformers import GenerationMixin

from soundmind_lite.course import check_swift, check_table
from soundmind_lite.course.audio_check import completion_log_probs
from soundmind_lite.scale import peers


def test_each_trainer_is_found_out(monkeypatch):
    monkeypatch.delenv(peers.SWIFT, raising=False)
    head, _, plain, own, planted, swift = check_table.table().splitlines()
    assert head.count("|") == plain.count("|") == own.count("|") == planted.count("|")
    assert plain.startswith("| plain TRL 1.")
    assert plain.endswith("it scores without |")
    assert own.startswith("| ours |")
    assert own.endswith("| 686 of 686 | none |")
    assert planted.endswith("it scores without |")
    assert "not run" in swift
    # the same completions in all three: what the audio changes is the same
    assert len({tuple(row.split(" | ")[4:7]) for row in (plain, own, planted)}) == 1


def test_sampling_is_kept_as_it_was(tiny, monkeypatch):
    """Two left-padded prompts: each row's tokens, and the log-probs that a forward pass gives."""
    model, _ = tiny
    monkeypatch.setattr(GenerationMixin, "generate", GenerationMixin.generate)  # put back after it
    kept = check_swift.Kept()
    kept.watch_sampling()
    ids = torch.tensor([[0, 0, 20, 21], [30, 31, 32, 33]])
    mask = (ids != 0).long()
    torch.manual_seed(0)
    output = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=True, max_new_tokens=5, min_new_tokens=5
    )
    assert [key[:-5] for key in kept.sampled] == [(20, 21), (30, 31, 32, 33)]
    assert [list(key[-5:]) for key in kept.sampled] == output[:, 4:].tolist()
    for key, values in kept.sampled.items():
        expected = completion_log_probs(model, torch.tensor(key), 5)
        assert torch.allclose(torch.tensor(values), expected, atol=1e-4)


def test_rows_are_known_by_their_tokens_without_padding():
    inputs = {
        "input_ids": torch.tensor([[5, 6, 0], [0, 7, 8]]),
        "attention_mask": torch.tensor([[1, 1, 0], [0, 1, 1]]),
    }
    assert check_swift.row_keys(inputs) == [(5, 6), (7, 8)]
