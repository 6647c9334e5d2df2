"""Answers are kept as they come, and a run measures what its profile says."""

import json
import multiprocessing
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from conftest import FEW, TORCHRUN

from soundmind_lite import evaluation, profiles, train
from soundmind_lite.runs import beside, evaluating
from soundmind_lite.runs.report import read_lines

pytest_plugins = ("children",)


@pytest.fixture
def profile(eight_rows):
    sizes = FEW | dict(max_completion_length=5, per_device_eval_batch_size=2, max_steps=2)
    return replace(profiles.get("tiny"), name="small", data=str(eight_rows), **sizes)


@pytest.fixture
def stop(monkeypatch):
    """`stop(n)`: the n-th batch of answers that is asked for from now on is an interruption;
    returns the list of how many rows were asked for in each batch. All in this process."""
    monkeypatch.setattr(beside, "core_is_free", lambda: False)
    complete = evaluation.complete

    def begin(number=None):
        asked = []

        def counted(model, conversations, **options):
            asked.append(len(conversations))
            if len(asked) == number:
                raise KeyboardInterrupt
            return complete(model, conversations, **options)

        monkeypatch.setattr(evaluation, "complete", counted)
        return asked

    return begin


def test_a_stop_in_a_measurement_costs_one_batch(profile, tmp_path, stop):
    """A measurement is 4 batches of greedy and 4 of sampled answers; before, after, swapped."""
    stop(3)
    with pytest.raises(KeyboardInterrupt):
        train.train(profile, tmp_path / "run")
    assert len(read_lines(tmp_path / "run" / "answers.jsonl")) == 4
    stop(6 + 2 + 1)  # in what follows: the rest of before (6 batches), and the third of after
    with pytest.raises(KeyboardInterrupt):
        train.train(profile, tmp_path / "run", resume=True)
    asked = stop()
    result = train.train(profile, tmp_path / "run", resume=True)
    assert asked == [2] * (6 + 8)
    assert result["before"]["n"] == result["after"]["n"] == 8
    uninterrupted = train.train(profile, tmp_path / "other")
    # sampled answers draw other random numbers after a stop
    for when in ("before", "after", "swapped_audio"):
        for name in ("accuracy", "format_rate", "premises_exact", "n"):
            assert result[when][name] == uninterrupted[when][name]
    saved = json.loads((tmp_path / "run" / "after.json").read_text())["answers"]
    assert saved == json.loads((tmp_path / "other" / "after.json").read_text())["answers"]


def test_answers_after_a_step_that_is_repeated_are_asked_for_again(profile, tmp_path, stop):
    stop(8 + 3)
    with pytest.raises(KeyboardInterrupt):
        train.train(profile, tmp_path / "run")
    (tmp_path / "run" / "checkpoint-2" / "clock.json").unlink()  # it wasn't complete
    asked = stop()
    train.train(profile, tmp_path / "run", resume=True)
    assert len(asked) == 8 + 8


@pytest.mark.parametrize(("eval", "batches"), [("full", 24), ("short", 12), ("none", 0)])
def test_a_run_measures_what_its_profile_says(eval, batches, profile, tmp_path, stop, capsys):
    asked = stop()
    result = train.train(replace(profile, eval=eval), tmp_path / "run")
    assert len(asked) == batches
    printed = capsys.readouterr().out
    if eval == "none":
        assert "not measured on the test rows" in printed
        names = ("before", "after", "swapped_audio", "paired_p")
        assert [result[name] for name in names] == [None] * 4
    else:
        assert (result["after"]["sampled_accuracy"] is None) == (eval == "short")
        assert ("accuracy, sampled" in printed) == (eval == "full")
    assert (tmp_path / "run" / "curves.png").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
def test_a_second_process_gives_the_same_answers(profile, tmp_path, monkeypatch):
    found = {}
    for free in (True, False):
        monkeypatch.setattr(beside, "core_is_free", lambda free=free: free)
        run = tmp_path / str(free)
        result = train.train(profile, run)
        lines = read_lines(run / "answers.jsonl")
        assert [file.name for file in run.glob("answers*")] == ["answers.jsonl"]
        assert len(lines) == 3 * 2 * 8
        found[free] = sorted(map(json.dumps, lines)), result["after"] | {"seconds": 0}
    assert found[True] == found[False]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
def test_an_evaluation_on_two_cores_is_the_same(profile, tmp_path, monkeypatch, stop):
    found = {}
    for free, here in ((False, [2] * 4), (True, [2] * 2)):
        asked = stop()  # which counts in this process alone
        monkeypatch.setattr(beside, "core_is_free", lambda free=free: free)
        found[free] = evaluating.evaluate(profile, out=tmp_path / "figures.json")
        assert asked == here
        assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]
    assert found[True] == found[False]


TWO_PROCESSES = """
import json, sys
from pathlib import Path
from soundmind_lite.profiles import Profile
from soundmind_lite.runs.evaluating import evaluate
from soundmind_lite.runs.processes import processes

profile, folder = Profile(**json.loads(sys.argv[1])), Path(sys.argv[2])
found = [evaluate(profile)["answers"], evaluate(profile, out=folder / "own[1].json")["answers"]]
(folder / f"rank{processes().process_index}").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_that_evaluate_have_all_answers(profile, tmp_path):
    from children import ENVIRONMENT

    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(TWO_PROCESSES)
    out.mkdir()
    options = [str(script), json.dumps(asdict(profile)), str(out)]
    command, pipes = [sys.executable, *TORCHRUN, *options], {"capture_output": True, "text": True}
    done = subprocess.run(command, env=ENVIRONMENT, timeout=300, **pipes)
    assert done.returncode == 0, done.stderr
    answers = evaluating.evaluate(profile)["answers"]
    for rank in ("rank0", "rank1"):
        assert json.loads((out / rank).read_text()) == [answers, answers]
    assert {file.name for file in out.iterdir()} == {"rank0", "rank1", "own[1].json"}


def test_a_process_of_a_pool_evaluates_alone(monkeypatch):
    monkeypatch.setattr(beside, "second_core", lambda: True)
    monkeypatch.setattr(beside, "free_memory_gb", lambda: 100.0)
    assert beside.core_is_free()
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    assert not beside.core_is_free()


def test_a_question_in_text_has_no_swapped_audio(profile, tmp_path):
    result = train.train(replace(profile, eval="short"), tmp_path / "run", setting="text-text")
    assert result["before"]["n"] == 8
    assert result["swapped_audio"] is None


def test_a_part_of_the_rows(profile, tmp_path):
    part = replace(profile, train_rows=3, test_rows=6)
    result = train.train(part, tmp_path / "run", max_steps=2)
    assert result["after"]["n"] == 6
    ids = {line["id"] for line in read_lines(tmp_path / "run" / "completions.jsonl")}
    assert len(ids) == 3


def test_a_stopped_evaluation_continues(profile, tmp_path, stop):
    out = tmp_path / "figures.json"
    stop(3)
    with pytest.raises(KeyboardInterrupt):
        evaluating.evaluate(profile, out=out)
    (kept,) = tmp_path.iterdir()
    assert len(read_lines(kept)) == 4
    asked = stop()
    other = evaluating.evaluate(profile, out=tmp_path / "swapped.json", control="swapped")
    assert asked == [2] * 4  # another evaluation has answers of its own
    asked = stop()
    result = evaluating.evaluate(profile, out=out)
    assert asked == [2] * 2
    assert result["n"] == other["n"] == 8
    assert {path.name for path in tmp_path.iterdir()} == {"figures.json", "swapped.json"}
    assert json.loads(out.read_text()) == result
