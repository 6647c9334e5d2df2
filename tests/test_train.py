"""A run on eight rows: the folder it writes, what it refuses, and how it resumes after a stop."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from soundmind_lite import profiles, rewards, train
from soundmind_lite.runs import measuring, report
from soundmind_lite.runs.adapter import load_trained
from soundmind_lite.runs.files import RunError
from soundmind_lite.scale import doctor

MEASURES = {
    "seconds",
    "accuracy",
    "ci_low",
    "ci_high",
    "sampled_accuracy",
    "premises_exact",
    "format_rate",
    "n",
}
SMALL = dict(
    name="small",
    num_generations=4,
    prompts_per_step=2,
    per_device_train_batch_size=8,
    max_steps=4,
    save_steps=2,
    max_completion_length=40,
)
RESULT = {
    "profile",
    "seed",
    "algorithm",
    "steps",
    "seconds",
    "breakdown",
    "peak_memory_mb",
    "skipped_rows",
    "before",
    "after",
    "paired_p",
    "swapped_audio",
}


@pytest.fixture(scope="module")
def profile(eight_rows):
    """The tiny model on the first eight rows of each split, four steps."""
    return replace(profiles.get("tiny"), data=str(eight_rows), **SMALL)


@pytest.fixture
def small(profile, monkeypatch):
    """That profile by its name."""
    monkeypatch.setitem(profiles.PROFILES, "small", profile)
    return "small"


@pytest.fixture(scope="module")
def two_steps(profile, tmp_path_factory):
    """The folder of a run of two steps, which nothing changes."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train.train(profile, out, max_steps=2)
    return out


def saved_adapter(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


def test_a_run_writes_its_folder_and_a_killed_run_goes_on(small, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = train.train(small, whole)
    printed = capsys.readouterr().out
    assert json.loads((whole / "result.json").read_text()) == result
    assert set(result) == RESULT
    assert all(set(result[name]) == MEASURES for name in ("before", "after", "swapped_audio"))
    assert result["before"]["n"] == 8
    assert [json.loads(line)["step"] for line in (whole / "metrics.jsonl").open()] == [1, 2, 3, 4]
    sampled = [json.loads(line) for line in (whole / "completions.jsonl").open()]
    assert len(sampled) == 4 * 8
    assert {"step", "id", "completion", "advantage"} | {
        f.__name__ for f in rewards.TEXT_REWARDS
    } == set(sampled[0])
    assert (whole / "curves.png").stat().st_size > 10_000
    assert printed.count("before (") == 5
    assert "McNemar" in printed

    calls = []

    def answer_reward(completions, **columns):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the power went out")
        return rewards.answer_reward(completions, **columns)

    with pytest.raises(RuntimeError, match="power"):
        train.train(small, killed, reward_funcs=(answer_reward, *rewards.TEXT_REWARDS[1:]))
    assert not (killed / "result.json").exists()
    with pytest.raises(RunError, match="already holds a run; resume it with resume=True"):
        train.train(small, killed)
    with pytest.raises(RunError, match=r"holds another run \(seed: 0 there, 1 now"):
        train.train(small, killed, seed=1, resume=True)
    train.train(small, killed, resume=True)
    assert [json.loads(line)["step"] for line in (killed / "metrics.jsonl").open()] == [1, 2, 3, 4]
    assert [json.loads(line)["step"] for line in (killed / "completions.jsonl").open()] == [
        s for s in (1, 2, 3, 4) for _ in range(8)
    ]
    resumed = saved_adapter(killed)
    assert all(
        torch.equal(weights, resumed[name]) for name, weights in saved_adapter(whole).items()
    )
    with pytest.raises(RunError, match="holds a finished run"):
        train.train(small, killed, resume=True)


def test_a_run_killed_after_its_last_step_takes_no_further_step(
    small, two_steps, tmp_path, monkeypatch
):
    """Two steps of an epoch of four: the Trainer alone would take one more step on resume. A
    half-written checkpoint is passed over."""
    measure = measuring.measure

    def killed(model, label, **options):
        if label == "after":
            raise RuntimeError("killed")
        return measure(model, label, **options)

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "measure", killed)
        with pytest.raises(RuntimeError, match="killed"):
            train.train(small, tmp_path / "run", max_steps=2)
    (tmp_path / "run" / "checkpoint-9").mkdir()
    result = train.train(small, tmp_path / "run", max_steps=2, resume=True)
    assert not (tmp_path / "run" / "checkpoint-9").exists()
    metrics = report.read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [entry["step"] for entry in metrics] == [1, 2]
    assert all(
        torch.equal(weights, saved_adapter(tmp_path / "run")[name])
        for name, weights in saved_adapter(two_steps).items()
    )
    whole = json.loads((two_steps / "result.json").read_text())
    assert result["after"] | {"seconds": 0} == whole["after"] | {"seconds": 0}


def test_a_run_that_cannot_start_leaves_no_folder(small, tmp_path, monkeypatch):
    monkeypatch.setitem(profiles.PROFILES, "small", replace(profiles.get("small"), card="H100"))
    with pytest.raises(doctor.MachineError, match=r"there is none here; what runs here: tiny"):
        train.train(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_reinforce_pp_runs_and_learns_something_else(small, two_steps, tmp_path):
    train.train(small, tmp_path / "run", algorithm="reinforce++", max_steps=2)
    assert json.loads((two_steps / "result.json").read_text())["algorithm"] == "grpo"
    grpo, reinforce = saved_adapter(two_steps), saved_adapter(tmp_path / "run")
    assert any(not torch.equal(weights, reinforce[name]) for name, weights in grpo.items())


def test_the_trained_model_loads_back(two_steps):
    from soundmind_lite import data, evaluation

    model, processor, profile = load_trained(two_steps)
    answers = evaluation.answer_rows(
        model, data.load_alr(profile.data, "test"), processing_class=processor, profile=profile
    )
    saved = json.loads((two_steps / "after.json").read_text())["answers"]
    assert [a.completion for a in answers] == [a["completion"] for a in saved]


def test_a_profile_of_ones_own_needs_no_name_in_the_table(eight_rows, tmp_path):
    """It is saved with the run, so that the trained model loads back without it; the profile is
    part of what the run is."""
    own = replace(profiles.get("tiny"), data=str(eight_rows), **SMALL | {"name": "mine"})
    result = train.train(own, tmp_path / "run", max_steps=1)
    assert result["profile"] == "mine"
    assert load_trained(tmp_path / "run")[2] == own
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(RunError, match=r"holds another run \(beta: 0.001 there, 0.5 now\)"):
        train.train(replace(own, beta=0.5), tmp_path / "run", max_steps=1, resume=True)


def test_a_folder_with_other_things_is_left_alone(small, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        train.train(small, tmp_path / "mine")
    with pytest.raises(RunError, match="is a file"):
        train.train(small, tmp_path / "mine" / "thesis.txt")
    with pytest.raises(RunError, match="no run to resume"):
        train.train(small, tmp_path / "new", resume=True)
    with pytest.raises(RunError, match="holds no finished run"):
        load_trained(tmp_path / "mine")
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_run_is_not_resumed_with_other_sizes_under_the_same_name(eight_rows, tmp_path):
    """Begun with a profile of one's own, resumed with the registered one of that name, or back."""
    own = replace(profiles.get("tiny"), data=str(eight_rows), **SMALL | {"name": "tiny"})
    train.train(own, tmp_path / "run", max_steps=1)
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(RunError, match="max_completion_length: 40 there, 100 now"):
        train.train("tiny", tmp_path / "run", max_steps=1, resume=True)


def test_an_audio_reward_may_be_used_where_answers_are_written(small, tmp_path):
    """The written answer is spoken for the reward alone, by hibari-tts."""
    funcs = [rewards.answer_reward, rewards.audio_format_reward]
    result = train.train(small, tmp_path / "run", max_steps=1, reward_funcs=funcs)
    assert "spoken" not in result["after"]
    logged = report.read_lines(tmp_path / "run" / "metrics.jsonl")[0]
    assert "rewards/audio_format_reward/mean" in logged


def test_a_run_is_complete_without_its_picture(small, tmp_path, monkeypatch):
    def broken(*_):
        raise OSError("no font")

    monkeypatch.setattr(report, "curves", broken)
    with pytest.warns(UserWarning, match=r"complete, but curves.png isn't drawn: no font"):
        train.train(small, tmp_path / "run", max_steps=1)
    assert load_trained(tmp_path / "run")


def test_notes_say_only_what_is_true(small, tmp_path):
    """An error that stops a run under way says what is complete; one that refuses a run doesn't."""

    def stops(completions, **_):
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop") as error:
        train.train(small, tmp_path / "run", max_steps=1, reward_funcs=stops)
    words = "No checkpoint is complete yet: resume=True trains from the beginning"
    assert error.value.__notes__ == [words]
    with pytest.raises(RunError, match="holds another run") as error:
        train.train(small, tmp_path / "run", max_steps=2, reward_funcs=stops, resume=True)
    assert not hasattr(error.value, "__notes__")
