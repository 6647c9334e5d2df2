"""Runs under fire: two in one folder, a full disk, a full memory. The error says what is whole, and the run can go on from it.

Killed runs are in test_processes.py; a night of them: `SOUNDMIND_KILLS=20 python -m pytest tests/test_processes.py -k killed`.
"""
import sys
from dataclasses import replace

import pytest
import torch

from soundmind_lite import data, grpo, profiles, run_folder, runs
from soundmind_lite.seam import TrainingError

SMALL = replace(profiles.get("tiny"), group_size=2, prompts_per_step=2, micro_batch=4, max_completion_tokens=10, save_every=1)


@pytest.fixture
def small(eight_rows, monkeypatch):
    monkeypatch.setitem(profiles.PROFILES, "small", replace(SMALL, data=str(eight_rows)))


@pytest.fixture
def stopped(small, tmp_path, monkeypatch):
    """A run of three steps that stopped in the second."""
    calls = []

    def once(completions, **_):
        calls.append(1)
        return [float("nan") if len(calls) == 2 else 1.0] * len(completions)

    with pytest.raises(TrainingError):
        runs.train("small", tmp_path / "run", steps=3, rewards=[once])
    return tmp_path / "run"


def again(out):
    def once(completions, **_):
        return [1.0] * len(completions)

    return runs.train("small", out, steps=3, rewards=[once], resume=True)


def test_two_runs_in_one_folder(stopped):
    with run_folder.claimed(stopped), pytest.raises(runs.RunError, match="is being written by another process"):
        again(stopped)
    assert again(stopped)["steps"] == 3  # the claim went with its owner


def test_a_claim_alone_does_not_fill_a_folder(small, tmp_path):
    (tmp_path / "new").mkdir()
    with run_folder.claimed(tmp_path / "new"), pytest.raises(runs.RunError, match="is being written by another process"):
        runs.train("small", tmp_path / "new", steps=1)
    assert runs.train("small", tmp_path / "new", steps=1)["steps"] == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full, a device whose disk is always full")
@pytest.mark.parametrize("file", ["completions.jsonl", "metrics.jsonl"])
def test_a_full_disk(stopped, file):
    kept, place = stopped / "kept", stopped / file

    def once(completions, **_):  # from now on nothing more fits into the file
        if not kept.exists():
            place.rename(kept)
            place.symlink_to("/dev/full")
        return [1.0] * len(completions)

    with pytest.raises(runs.RunError, match=r"the disk of .* is full; free some space\. checkpoint-1 is whole: go on with --resume"):
        runs.train("small", stopped, steps=3, rewards=[once], resume=True)
    place.unlink()
    kept.rename(place)
    assert again(stopped)["steps"] == 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "the GPU's memory is full; lower micro_batch"), (MemoryError(), "the memory is full; lower evaluation_batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "the memory is full; lower evaluation_batch"),
    ],
)
def test_a_full_memory_says_what_to_lower(error, words, small, tmp_path):
    def hungry(completions, **_):
        raise error

    with pytest.raises(runs.RunError, match=words + r".* No checkpoint was complete yet: --resume starts from the beginning"):
        runs.train("small", tmp_path / "run", steps=1, rewards=[hungry])


def test_a_clip_deleted_or_changed_during_training_stops_it_or_is_heard_anew(eight_rows, tmp_path):
    import shutil

    from soundmind_lite.audio import AudioError

    folder = shutil.copytree(eight_rows, tmp_path / "data")
    rows = data.training_rows(data.load_alr(folder))
    from soundmind_lite import models

    trainer = grpo.trainer_for(SMALL, *models.load("tiny"), rows, tmp_path, steps=4, save_strategy="no")
    for clip in folder.glob("train/*/question.*"):
        clip.unlink()
    with pytest.raises(AudioError, match=r"row 000\d: .*no such file"):
        trainer.train()
