"""Runs in processes of their own.

Two CPU processes (gloo) train like one: the same batch, rewards and parameters; each reads its own
clips, and one of them writes. A run that is killed without warning resumes as if nothing had
happened.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from conftest import TORCHRUN
from safetensors.torch import load_file

from soundmind_lite.runs import checkpoints

pytest_plugins = ("children",)

# A night of them: `SOUNDMIND_KILLS=200 python -m pytest tests/runs/test_processes.py -k killed`
KILLS = int(os.environ.get("SOUNDMIND_KILLS", 6))


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def adapter(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def two_runs(child, eight_rows, tmp_path_factory):
    """The folders of a run of one process and of one of two, which torchrun starts; it does so once
    in this file."""
    from children import ENVIRONMENT, WORKER

    folder = tmp_path_factory.mktemp("processes")
    one, two = folder / "one", folder / "two"
    ended = child(one, "--given")
    assert ended.code == 0, ended.log[-3000:]
    command = [sys.executable, *TORCHRUN, WORKER, str(two), str(eight_rows), "--given"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return one, two


def test_the_weights_are_the_same(two_runs):
    one, two = map(adapter, two_runs)
    assert max(weight.abs().max().item() for name, weight in one.items() if "lora_B" in name) > 1e-4
    assert all(torch.allclose(weight, two[name], rtol=0, atol=1e-5) for name, weight in one.items())


def test_rewards_and_batches_are_the_same(two_runs):
    one, two = (lines(folder / "metrics.jsonl") for folder in two_runs)
    # not the KL, which TRL logs as a mean of means
    names = ("reward", "reward_std", "loss", "grad_norm", "rewards/answer_reward/mean")
    for name in (*names, "num_tokens"):
        expected = pytest.approx([entry[name] for entry in one], rel=1e-3, abs=1e-6)
        assert [entry[name] for entry in two] == expected, name
    one, two = (sorted(map(json.dumps, lines(folder / "completions.jsonl"))) for folder in two_runs)
    assert one == two
    assert len(one) == 4 * 16


def test_one_result_is_written(two_runs):
    one, two = ({path.name for path in folder.iterdir()} for folder in two_runs)
    assert two == one
    answers = [(folder / "answers.jsonl").read_text().splitlines() for folder in two_runs]
    assert [len(lines) for lines in answers] == [3 * 2 * 8] * 2
    one, two = (json.loads((folder / "after.json").read_text()) for folder in two_runs)
    assert [a["id"] for a in two["answers"]] == [a["id"] for a in one["answers"]]
    assert two["summary"]["n"] == one["summary"]["n"] == 8


@pytest.mark.tried(
    "runs of two processes that find different rows", "stopped before the first step"
)
def test_processes_that_find_different_rows(child, eight_rows, tmp_path):
    for rank in "01":
        shutil.copytree(eight_rows, tmp_path / f"data{rank}")
    (tmp_path / "data1" / "train" / "0003" / "question.ogg").write_bytes(b"cut")
    ended = child(tmp_path / "run", "--skip", data=tmp_path / "data%r", processes=2)
    assert ended.code
    words = (
        "the processes don't find the same rows and clips; can all of them read all of the data?"
    )
    assert words in ended.log
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_divide_is_named(child, tmp_path):
    sizes = '{"per_device_train_batch_size": 16}'
    ended = child(tmp_path / "run", "--sizes", sizes, processes=2)
    words = "per_device_train_batch_size 16 × 2 process(es) does not divide the 16 completions"
    assert words in ended.log


@pytest.mark.tried(
    "runs of two processes, stopped and resumed",
    "the parameters of the run that wasn't stopped, bit by bit",
)
def test_two_processes_resume_from_their_checkpoint(child, two_runs, tmp_path):
    """What a stop after the first checkpoint leaves holds the random numbers of each process."""
    stopped = shutil.copytree(two_runs[1], tmp_path / "stopped")
    for name in ("result.json", "after.json"):
        (stopped / name).unlink()
    for name in ("adapter", "checkpoint-4"):
        shutil.rmtree(stopped / name)
    assert [path.name for path in checkpoints.complete_checkpoints(stopped)] == ["checkpoint-2"]
    ended = child(stopped, "--given", "--resume", processes=2)
    assert ended.code == 0, ended.log[-3000:]
    weights = adapter(two_runs[1])
    assert all(torch.equal(weight, weights[name]) for name, weight in adapter(stopped).items())
    assert [m["step"] for m in lines(stopped / "metrics.jsonl")] == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def never_killed(child, tmp_path_factory):
    """The folder of a run, and how many files and folders it changed."""
    folder = tmp_path_factory.mktemp("never") / "run"
    ended = child(folder)
    assert ended.code == 0, ended.log[-2000:]
    return folder, ended.changes


@pytest.mark.tried(
    "runs with the same seed", "the same completions and parameters, bit by bit", each=2
)
def test_the_same_seed_gives_the_same_run(child, never_killed, tmp_path):
    """In two processes: every sampled completion and every parameter."""
    never_killed, _ = never_killed
    assert child(tmp_path / "run").code == 0
    assert (tmp_path / "run" / "completions.jsonl").read_bytes() == (
        never_killed / "completions.jsonl"
    ).read_bytes()
    assert all(
        torch.equal(weight, adapter(never_killed)[name])
        for name, weight in adapter(tmp_path / "run").items()
    )


@pytest.mark.tried(
    "runs killed without warning, while sampling or saving",
    "resumed to the parameters of the run that was never killed, bit by bit",
)
@pytest.mark.slow
@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_run_resumes_bit_by_bit(number, child, never_killed, tmp_path):
    """SIGKILL as a file or folder is about to change (even numbers) or in what follows, such as
    writing or sampling: the final parameters are those of a run that was never killed."""
    rng, killed, (never_killed, changes) = random.Random(), tmp_path / "run", never_killed
    place, delay = rng.randint(1, changes), number % 2 * rng.uniform(0, 0.6)
    ended = child(killed, kill_at=place, delay=delay)
    moment = f"killed {1000 * delay:.0f} ms after change {place} of {changes}"
    ended_first = ended.code == 0 and delay
    assert ended.code == signal.SIGKILL or ended_first, moment + ended.log[-2000:]
    if not (killed / "result.json").exists():
        options = ["--resume"] if (killed / "run.json").exists() else []
        ended = child(killed, *options)
        assert ended.code == 0, moment + ended.log[-2000:]
    resumed = adapter(killed)
    assert all(
        torch.equal(weight, resumed[name]) for name, weight in adapter(never_killed).items()
    ), moment
    assert [m["step"] for m in lines(killed / "metrics.jsonl")] == [1, 2, 3, 4], moment
    assert [r["step"] for r in lines(killed / "completions.jsonl")] == [
        s for s in (1, 2, 3, 4) for _ in range(16)
    ], moment
    before, after = (
        json.loads((folder / "result.json").read_text()) for folder in (never_killed, killed)
    )
    assert after["after"]["accuracy"] == before["after"]["accuracy"], moment
