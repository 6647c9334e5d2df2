"""The check finds a trainer that scores without the audio, and nothing in one that doesn't."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset
from trl import GRPOTrainer

from soundmind_lite import AudioGRPOTrainer, data, grpo, profiles
from soundmind_lite.course import audio_check
from soundmind_lite.course.audio_check import AudioCheck, AudioCheckWarning, Checked
from soundmind_lite.prompts import with_audio
from soundmind_lite.rewards import TEXT_REWARDS
from soundmind_lite.runs.guards import GuardedTrainer

SMALL = replace(
    profiles.get("tiny"),
    num_generations=4,
    prompts_per_step=2,
    per_device_train_batch_size=4,
    max_completion_length=24,
)


class WithoutAudio(AudioGRPOTrainer):
    """Ours, with the fault planted: the features don't reach the log-prob pass."""

    def _score_rows(self, model, input_ids, attention_mask, logits_to_keep, audio, **kwargs):
        rows = (input_ids, attention_mask, logits_to_keep)
        return super()._score_rows(model, *rows, {}, **kwargs)


class OtherAudio(AudioGRPOTrainer):
    """The features of a batch are exchanged between its rows before it is scored."""

    def _score_rows(self, model, input_ids, attention_mask, logits_to_keep, audio, **kwargs):
        turned = {name: values[::-1] for name, values in audio.items()}
        rows = (input_ids, attention_mask, logits_to_keep)
        return super()._score_rows(model, *rows, turned, **kwargs)


def checked(cls, tiny, tmp_path, rows=None, steps=2):
    model, processor = tiny
    rows = data.training_rows(data.load_alr("mini", "dev")) if rows is None else rows
    options = {"rollout_file": tmp_path / "completions.jsonl"} if cls is GuardedTrainer else {}
    trainer = cls(
        model=model,
        reward_funcs=list(TEXT_REWARDS),
        args=grpo.grpo_config(SMALL, tmp_path, save_strategy="no", max_steps=steps),
        train_dataset=rows,
        processing_class=processor,
        peft_config=grpo.lora_config(SMALL),
        **options,
    )
    check = AudioCheck(trainer)
    trainer.add_callback(check)
    trainer.train()
    return trainer, check


@pytest.mark.parametrize("cls", [AudioGRPOTrainer, GuardedTrainer])
def test_a_healthy_trainer_passes_and_its_log_says_so(cls, fresh_tiny, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", AudioCheckWarning)
        trainer, check = checked(cls, fresh_tiny, tmp_path)
    assert [step.step for step in check.steps] == [1, 2]
    for step in check.steps:
        assert step.fault() == ""
        assert step.scored_minus_own < 1e-4
        assert step.own_minus_without > 0.1
        assert step.own_minus_swapped > 0.01
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert logged[0]["audio_check/scored_minus_own"] == check.steps[0].scored_minus_own


def test_plain_trl_is_found_in_its_first_step(fresh_tiny, tmp_path):
    rows = data.training_rows(data.load_alr("mini", "dev"))
    inside = [{**row, "prompt": with_audio(row["prompt"], row["audio"])} for row in rows]
    inside = Dataset.from_list(inside).remove_columns("audio")
    with pytest.warns(AudioCheckWarning, match="step 1: .* it scores without"):
        _, check = checked(GRPOTrainer, fresh_tiny, tmp_path, rows=inside, steps=1)
    (step,) = check.steps
    assert step.scored_minus_without < 1e-4 < step.scored_minus_own


def test_audio_that_is_dropped_or_exchanged_is_found(fresh_tiny, tmp_path):
    with pytest.warns(AudioCheckWarning, match="it scores without"):
        checked(WithoutAudio, fresh_tiny, tmp_path, steps=1)


def test_another_row_s_audio_is_found(fresh_tiny, two_equal_lengths, tmp_path):
    with pytest.warns(AudioCheckWarning, match="it scores other audio"):
        checked(OtherAudio, fresh_tiny, tmp_path, rows=two_equal_lengths, steps=1)


@pytest.fixture
def two_equal_lengths():
    """Two rows whose clips have the same number of samples, so that an exchange goes unnoticed."""
    rows = list(data.training_rows(data.load_alr("mini", "dev")).select(range(2)))
    clips = [audio_check.load_audio(row["audio"]) for row in rows]
    for row, clip in zip(rows, clips):
        row["audio"] = np.resize(clip, 64_000).tolist()
    return rows


def test_text_rows_are_not_checked(fresh_tiny, tmp_path):
    rows = data.training_rows(data.load_alr("mini", "dev"), "text-text")
    _, check = checked(AudioGRPOTrainer, fresh_tiny, tmp_path, rows=rows, steps=1)
    assert check.steps == []


def test_the_faults_that_numbers_show():
    healthy = Checked(1, 4, 1e-5, 0.8, 0.5, 0.8, (600, 600))
    assert healthy.fault() == ""
    assert "was cut" in replace(healthy, placeholders=(500, 600)).fault()
    assert "don't depend on the audio" in replace(healthy, own_minus_without=0.0).fault()
    assert "scores without" in replace(healthy, scored_minus_own=0.9).fault()
    assert "other audio" in replace(healthy, scored_minus_own=0.2).fault()


def test_a_clip_that_the_extractor_cuts_is_shorter_than_its_file(tiny):
    _, processor = tiny
    limit = processor.feature_extractor.chunk_length
    noise = np.random.default_rng(0).normal(0, 0.1, (limit + 2) * 16_000).astype("float32")
    assert audio_check.used_seconds(processor, noise[: 3 * 16_000]) == (3.0, 3.0)
    assert audio_check.used_seconds(processor, noise) == (limit + 2.0, float(limit))
