"""NaN and infinity stop a run with their cause, and what was saved before stays complete."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from conftest import FEW
from safetensors.torch import load_file, save_file

from soundmind_lite import data, grpo, models, profiles, train
from soundmind_lite.rewards import TEXT_REWARDS
from soundmind_lite.runs import adapter, checkpoints, files
from soundmind_lite.runs.guards import GuardedTrainer, TrainingError

SMALL = replace(profiles.get("tiny"), **FEW)


@pytest.fixture
def trained_with(fresh_tiny, eight_rows, tmp_path):
    """`trained_with(rewards)` trains one step on eight rows and returns the trainer."""

    def train_one_step(rewards):
        model, processor = fresh_tiny
        trainer = grpo.trainer_for(
            SMALL,
            model,
            processing_class=processor,
            train_dataset=data.training_rows(data.load_alr(eight_rows)),
            output_dir=tmp_path,
            reward_funcs=rewards,
            max_steps=1,
        )
        trainer.train()
        return trainer

    return train_one_step


@pytest.mark.tried("rewards of NaN and infinity", "stopped with reward, row and completion")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_reward_that_is_no_number_names_row_and_completion(value, trained_with):
    def odd(completions, id, **_):
        return [value if identifier == id[-1] else 1.0 for identifier in id]

    words = r"odd returned (nan|-?inf) for row 000\d; the completion was '"
    with pytest.raises(TrainingError, match=words):
        trained_with([*TEXT_REWARDS, odd])


def test_none_still_means_that_a_reward_does_not_apply(trained_with):
    def sometimes(completions, **_):
        return [None, *[1.0] * (len(completions) - 1)]

    trained_with([*TEXT_REWARDS, sometimes])


def test_a_bad_reward_list_is_named(trained_with):
    with pytest.raises(ValueError, match="returned 1 rewards, but 4 were expected"):
        trained_with([lambda completions, **_: [1.0]])


@pytest.mark.tried(
    "losses of NaN",
    "stopped with step and rows; resumed from the last checkpoint to the same parameters",
)
def test_a_loss_that_is_no_number_stops_the_run_and_it_can_be_resumed(small, tmp_path, monkeypatch):
    """Step 2 of 3 is spoiled: the checkpoint of step 1 is complete, and the resumed run ends in the
    parameters of one that met no trouble."""
    truth, calls = GuardedTrainer._compute_loss, []

    def spoiled(self, model, inputs):
        calls.append(1)
        return truth(self, model, inputs) * (float("nan") if len(calls) == 2 else 1)

    monkeypatch.setattr(GuardedTrainer, "_compute_loss", spoiled)
    words = r"step 2: the loss is nan; rows of this step: 000\d, 000\d\. .*resume from the last"
    with pytest.raises(TrainingError, match=words):
        train.train("small", tmp_path / "run", max_steps=3)
    monkeypatch.setattr(GuardedTrainer, "_compute_loss", truth)
    assert [p.name for p in checkpoints.complete_checkpoints(tmp_path / "run")] == ["checkpoint-1"]
    train.train("small", tmp_path / "run", max_steps=3, resume=True)
    train.train("small", tmp_path / "other", max_steps=3)
    ends = [
        load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        for name in ("run", "other")
    ]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


@pytest.mark.tried("gradients of NaN or infinity", "stopped with the step, nothing saved")
def test_a_gradient_that_is_no_number_is_not_saved(small, tmp_path, monkeypatch):
    truth = GuardedTrainer._compute_loss

    def spoiled(self, model, inputs):
        loss = truth(self, model, inputs)
        loss.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    monkeypatch.setattr(GuardedTrainer, "_compute_loss", spoiled)
    with pytest.raises(TrainingError, match=r"step 1: the norm of the gradient is (nan|inf)"):
        train.train("small", tmp_path / "run", max_steps=2)
    assert checkpoints.complete_checkpoints(tmp_path / "run") == []


@pytest.mark.tried(
    "runs whose groups are all equal", "counted in each step's line and shown in the bar"
)
def test_zero_std_groups_are_counted_and_shown(small, tmp_path, capfd):
    train.train(
        "small",
        tmp_path / "run",
        max_steps=1,
        reward_funcs=[lambda completions, **_: [1.0] * len(completions)],
    )
    assert '"frac_reward_zero_std": 1.0' in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "zero-std groups 100%" in capfd.readouterr().err


async def waited(completions, **_):
    return [float("nan")] * len(completions)


ODD = {  # a reward function, and its error
    "beyond float32": (
        lambda completions, **_: [1e39] * len(completions),
        r"odd returned 1e\+39 for row 000\d; the completion was",
    ),
    "no advantages left": (
        lambda completions, **_: [1e30] * len(completions),
        r"odd returned 1e\+30",
    ),
    "a word": (lambda completions, **_: ["two"] * len(completions), "odd returned 'two'"),
    "an endless integer": (
        lambda completions, **_: [10**400] * len(completions),
        "odd returned 1000",
    ),
    "no list": (
        lambda completions, **_: 1.0,
        r"odd must return a list with a reward for each completion, got 1\.0",
    ),
    "a dict": (
        lambda completions, **_: dict.fromkeys(range(len(completions)), 1.0),
        "odd must return a list",
    ),
    "nothing": (lambda completions, **_: None, "odd must return a list"),
    "NaN, later": (waited, "odd returned nan"),
}


@pytest.mark.tried(
    "rewards that are too large, no numbers, no list, or come late",
    "stopped with reward, row and completion",
)
@pytest.mark.parametrize("kind", ODD)
def test_rewards_that_nothing_can_be_learned_from(kind, trained_with):
    odd, words = ODD[kind]
    odd.__name__ = "odd"
    with pytest.raises(TrainingError, match=words):
        trained_with([*TEXT_REWARDS, odd])


def test_rewards_may_come_as_any_numbers(trained_with):
    rewards = []
    for kind in (torch.tensor, np.array, tuple, iter):
        reward = partial(lambda kind, completions, **_: kind([0.5] * len(completions)), kind)
        reward.__name__ = f"as {kind.__name__}"
        rewards.append(reward)
    assert trained_with(rewards).state.log_history[0]["reward"] == 2.0


@pytest.mark.tried("steps in which no reward applies", "a warning, and nothing is learned")
def test_completions_that_no_reward_applies_to(trained_with):
    words = "step 1: no reward function returned a reward for 4 of 4 completions"
    with pytest.warns(UserWarning, match=words):
        trainer = trained_with([lambda completions, **_: [None] * len(completions)])
    assert trainer.state.log_history[0]["reward"] is None
    assert trainer.state.log_history[0]["loss"] == 0.0


@pytest.mark.tried(
    "parameters that a step made NaN or infinite", "stopped with the step, nothing saved"
)
@pytest.mark.parametrize("rate", [1e38, float("inf")])
def test_parameters_that_are_no_numbers_are_not_saved(rate, small, tmp_path, monkeypatch):
    """Finite but huge ones make logits NaN, at the next token that would be sampled."""
    profile = replace(profiles.get("small"), learning_rate=rate)

    def spread(completions, **_):
        return list(range(len(completions)))

    words = (
        r"made parameters NaN or infinite|the norm of the gradient"
        r"|sampling in float32, logits are NaN or infinite; lower learning_rate"
    )
    with pytest.raises(TrainingError, match=words):
        train.train(profile, tmp_path / "run", max_steps=4, reward_funcs=spread)
    for checkpoint in checkpoints.complete_checkpoints(tmp_path / "run"):
        adapter = load_file(checkpoint / "adapter_model.safetensors")
        assert all(values.isfinite().all() for values in adapter.values())


@pytest.mark.tried("checkpoints and adapters with NaN or infinite weights", "refused by name")
def test_weights_that_are_no_numbers_are_not_loaded(tmp_path):
    folder = shutil.copytree(profiles.ASSETS / "tiny_omni", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights[next(name for name in weights if name.endswith("conv1.weight"))][0, 0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    words = r"holds NaN or infinite values in 1 parameters, first .*conv1\.weight"
    with pytest.raises(models.CheckpointError, match=words):
        models.load(replace(profiles.get("tiny"), model=str(folder)))


@pytest.mark.tried("checkpoints and adapters with NaN or infinite weights", "refused by name")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.write_bytes(b"{}"), r"adapter_model\.safetensors is damaged"),
        (None, "holds NaN or infinite values"),
    ],
)
def test_an_adapter_that_is_no_good_is_not_loaded(spoil, words, tmp_path):
    run = shutil.copytree(profiles.ASSETS / "runs" / "all_seed0", tmp_path / "run")
    file = run / "adapter" / "adapter_model.safetensors"
    if spoil:
        spoil(file)
    else:
        save_file({name: weights * float("inf") for name, weights in load_file(file).items()}, file)
    with pytest.raises(files.RunError, match=words):
        adapter.load_trained(run)
