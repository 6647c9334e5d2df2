"""Numbers under fire: NaN and infinity stop a run with their cause, and what was saved before stays whole."""
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conftest import FEW
from safetensors.torch import load_file, save_file

from soundmind_lite import data, grpo, models, profiles, train as runs
from soundmind_lite.rewards import TEXT_REWARDS
from soundmind_lite.trainer import TrainingError

SMALL = replace(profiles.get("tiny"), **FEW)


@pytest.mark.tried("rewards of NaN and infinity", "stopped with reward, row and completion")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_reward_that_is_no_number_names_row_and_completion(value, fresh_tiny, eight_rows, tmp_path):
    def odd(completions, id, **_):
        return [value if identifier == id[-1] else 1.0 for identifier in id]

    rows = data.training_rows(data.load_alr(eight_rows))
    with pytest.raises(TrainingError, match=r"odd gave (nan|-?inf) points for row 000\d; the completion was '"):
        grpo.trainer_for(SMALL, *fresh_tiny, rows, tmp_path, [*TEXT_REWARDS, odd], steps=1).train()


def test_none_still_says_that_a_reward_does_not_apply(fresh_tiny, eight_rows, tmp_path):
    def sometimes(completions, **_):
        return [None, *[1.0] * (len(completions) - 1)]

    rows = data.training_rows(data.load_alr(eight_rows))
    grpo.trainer_for(SMALL, *fresh_tiny, rows, tmp_path, [*TEXT_REWARDS, sometimes], steps=1).train()


def test_a_bad_reward_list_is_named(fresh_tiny, eight_rows, tmp_path):
    rows = data.training_rows(data.load_alr(eight_rows))
    with pytest.raises(ValueError, match="returned 1 rewards, but 4 were expected"):
        grpo.trainer_for(SMALL, *fresh_tiny, rows, tmp_path, [lambda completions, **_: [1.0]], steps=1).train()


@pytest.mark.tried("losses of NaN", "stopped with step and rows; goes on from the last checkpoint to the same weights")
def test_a_loss_that_is_no_number_stops_the_run_and_it_can_go_on(small, tmp_path, monkeypatch):
    """Step 2 of 3 is spoiled: the checkpoint of step 1 is whole, and the resumed run ends in the weights of one that met no trouble."""
    truth, calls = grpo.HearOnceTrainer._compute_loss, []

    def spoiled(self, model, inputs):
        calls.append(1)
        return truth(self, model, inputs) * (float("nan") if len(calls) == 2 else 1)

    monkeypatch.setattr(grpo.HearOnceTrainer, "_compute_loss", spoiled)
    with pytest.raises(TrainingError, match=r"step 2: the loss is nan; rows of this step: 000\d, 000\d\. .*go on from the last checkpoint"):
        runs.train("small", tmp_path / "run", steps=3)
    monkeypatch.setattr(grpo.HearOnceTrainer, "_compute_loss", truth)
    assert [p.name for p in runs.complete_checkpoints(tmp_path / "run")] == ["checkpoint-1"]
    runs.train("small", tmp_path / "run", steps=3, resume=True)
    runs.train("small", tmp_path / "other", steps=3)
    ends = [load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("run", "other")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.tried("gradients of NaN or infinity", "stopped with the step, nothing saved")
def test_a_gradient_that_is_no_number_is_not_saved(small, tmp_path, monkeypatch):
    truth = grpo.HearOnceTrainer._compute_loss

    def spoiled(self, model, inputs):
        loss = truth(self, model, inputs)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    monkeypatch.setattr(grpo.HearOnceTrainer, "_compute_loss", spoiled)
    with pytest.raises(TrainingError, match=r"step 1: the norm of the gradient is (nan|inf)"):
        runs.train("small", tmp_path / "run", steps=2)
    assert runs.complete_checkpoints(tmp_path / "run") == []


@pytest.mark.tried("runs whose groups are all equal", "counted in each step's line and shown in the bar")
def test_groups_without_variance_are_counted_and_shown(small, tmp_path, capfd):
    runs.train("small", tmp_path / "run", steps=1, rewards=[lambda completions, **_: [1.0] * len(completions)])
    assert '"frac_reward_zero_std": 1.0' in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "groups without variance 100%" in capfd.readouterr().err


async def waited(completions, **_):
    return [float("nan")] * len(completions)


ODD = {  # a reward function, and what is said of it
    "beyond float32": (lambda completions, **_: [1e39] * len(completions), r"odd gave 1e\+39 points for row 000\d; the completion was"),
    "no advantages left": (lambda completions, **_: [1e30] * len(completions), r"odd gave 1e\+30 points"),
    "a word": (lambda completions, **_: ["two"] * len(completions), "odd gave 'two' points"),
    "an endless integer": (lambda completions, **_: [10**400] * len(completions), "odd gave 1000"),
    "no list": (lambda completions, **_: 1.0, r"odd must return a list with the points of each completion, got 1\.0"),
    "a dict": (lambda completions, **_: dict.fromkeys(range(len(completions)), 1.0), "odd must return a list"),
    "nothing": (lambda completions, **_: None, "odd must return a list"),
    "NaN, later": (waited, "odd gave nan points"),
}


@pytest.mark.tried("rewards that are too large, no numbers, no list, or come late", "stopped with reward, row and completion")
@pytest.mark.parametrize("kind", ODD)
def test_points_that_nothing_can_be_learned_from(kind, fresh_tiny, eight_rows, tmp_path):
    odd, words = ODD[kind]
    odd.__name__ = "odd"
    rows = data.training_rows(data.load_alr(eight_rows))
    with pytest.raises(TrainingError, match=words):
        grpo.trainer_for(SMALL, *fresh_tiny, rows, tmp_path, [*TEXT_REWARDS, odd], steps=1).train()


def test_points_may_come_as_any_numbers(fresh_tiny, eight_rows, tmp_path):
    rows, rewards = data.training_rows(data.load_alr(eight_rows)), []
    for kind in (torch.tensor, np.array, tuple, iter):
        rewards.append(partial(lambda kind, completions, **_: kind([0.5] * len(completions)), kind))
    trainer = grpo.trainer_for(SMALL, *fresh_tiny, rows, tmp_path, rewards, steps=1)
    trainer.train()
    assert trainer.state.log_history[0]["reward"] == 2.0


@pytest.mark.tried("steps in which no reward applies", "stopped with the step")
def test_completions_that_nobody_pays_for(fresh_tiny, eight_rows, tmp_path):
    rows = data.training_rows(data.load_alr(eight_rows))
    with pytest.raises(TrainingError, match="step 1: no reward function gave points for 4 of 4 completions"):
        grpo.trainer_for(SMALL, *fresh_tiny, rows, tmp_path, [lambda completions, **_: [None] * len(completions)], steps=1).train()


@pytest.mark.tried("weights that a step made NaN or infinite", "stopped with the step, nothing saved")
@pytest.mark.parametrize("rate", [1e38, float("inf")])
def test_weights_that_are_no_numbers_are_not_saved(rate, small, tmp_path, monkeypatch):
    monkeypatch.setitem(profiles.PROFILES, "small", replace(profiles.get("small"), learning_rate=rate))
    with pytest.raises((TrainingError, models.NoProbabilities), match=r"step \d[:,].*(made weights NaN or infinite|outputs are NaN or infinite|the norm of the gradient)"):
        runs.train("small", tmp_path / "run", steps=4, rewards=lambda completions, **_: list(range(len(completions))))
    for checkpoint in runs.complete_checkpoints(tmp_path / "run"):
        assert all(weights.isfinite().all() for weights in load_file(checkpoint / "adapter_model.safetensors").values())


@pytest.mark.tried("checkpoints and adapters with NaN or infinite weights", "refused by name")
def test_weights_that_are_no_numbers_are_not_loaded(tmp_path):
    folder = shutil.copytree(profiles.ASSETS / "tiny_omni", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights[next(name for name in weights if name.endswith("conv1.weight"))][0, 0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(models.CheckpointError, match=r"holds NaN or infinite weights in 1 places, first .*conv1\.weight"):
        models.load(replace(profiles.get("tiny"), model=str(folder)))


@pytest.mark.tried("checkpoints and adapters with NaN or infinite weights", "refused by name")
@pytest.mark.parametrize(("spoil", "words"), [(lambda file: file.write_bytes(b"{}"), r"adapter_model\.safetensors is damaged"), (None, "holds NaN or infinite weights")])
def test_an_adapter_that_is_no_good_is_not_loaded(spoil, words, tmp_path):
    run = shutil.copytree(profiles.ASSETS / "runs" / "all_seed0", tmp_path / "run")
    file = run / "adapter" / "adapter_model.safetensors"
    if spoil:
        spoil(file)
    else:
        save_file({name: weights * float("inf") for name, weights in load_file(file).items()}, file)
    with pytest.raises(runs.RunError, match=words):
        runs.trained(run)
