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
from conftest import ROOT
from safetensors.torch import load_file

from soundmind_lite.runs import checkpoints

# A night of them: `SOUNDMIND_KILLS=200 python -m pytest tests/runs/test_processes.py -k killed`
KILLS = int(os.environ.get("SOUNDMIND_KILLS", 6))
WORKER = str(ROOT / "tests" / "runs" / "run_worker.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"} | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
}


def run(out, data, *options, launcher=()):
    command = [sys.executable, *launcher, WORKER, str(out), str(data), *options]
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def adapter(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def two_runs(eight_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    for name, launcher in (("one", ()), ("two", TORCHRUN)):
        done = run(folder / name, eight_rows, "--given", launcher=launcher)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "one", folder / "two"


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
def test_processes_that_find_different_rows(eight_rows, tmp_path):
    for rank in "01":
        shutil.copytree(eight_rows, tmp_path / f"data{rank}")
    (tmp_path / "data1" / "train" / "0003" / "question.ogg").write_bytes(b"cut")
    done = run(tmp_path / "run", tmp_path / "data%r", "--skip", launcher=TORCHRUN)
    assert done.returncode
    words = (
        "the processes don't find the same rows and clips; can all of them read all of the data?"
    )
    assert words in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_divide_is_named(eight_rows, tmp_path):
    sizes = '{"per_device_train_batch_size": 16}'
    done = run(tmp_path / "run", eight_rows, "--sizes", sizes, launcher=TORCHRUN)
    words = "per_device_train_batch_size 16 × 2 process(es) does not divide the 16 completions"
    assert words in done.stderr


@pytest.mark.tried(
    "runs of two processes, stopped and resumed",
    "the parameters of the run that wasn't stopped, bit by bit",
)
def test_two_processes_resume_from_their_checkpoint(two_runs, eight_rows, tmp_path):
    """What a stop after the first checkpoint leaves holds the random numbers of each process."""
    stopped = shutil.copytree(two_runs[1], tmp_path / "stopped")
    for name in ("result.json", "after.json"):
        (stopped / name).unlink()
    for name in ("adapter", "checkpoint-4"):
        shutil.rmtree(stopped / name)
    assert [path.name for path in checkpoints.complete_checkpoints(stopped)] == ["checkpoint-2"]
    done = run(stopped, eight_rows, "--given", "--resume", launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = adapter(two_runs[1])
    assert all(torch.equal(weight, weights[name]) for name, weight in adapter(stopped).items())
    assert [m["step"] for m in lines(stopped / "metrics.jsonl")] == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def child(eight_rows):
    """Runs in a child process, which may be killed; returns how it ended, how many files and
    folders it changed, and the file of what it printed."""
    if not hasattr(os, "fork"):
        pytest.skip("the children are forks")
    command, pipe = [sys.executable, WORKER, "--nursery"], subprocess.PIPE
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as nursery:

        def start(out, **order):
            log = out.with_suffix(".log")
            nursery.stdin.write(
                json.dumps(dict(out=str(out), data=str(eight_rows), log=str(log), **order)) + "\n"
            )
            nursery.stdin.flush()
            answer = nursery.stdout.readline().split()
            assert len(answer) == 2, "the nursery ended"
            return *map(int, answer), log

        yield start
        nursery.stdin.close()


@pytest.fixture(scope="module")
def never_killed(child, tmp_path_factory):
    """The folder of a run, and how many files and folders it changed."""
    folder = tmp_path_factory.mktemp("never") / "run"
    end, changes, log = child(folder)
    assert end == 0, log.read_text()[-2000:]
    return folder, changes


@pytest.mark.tried(
    "runs with the same seed", "the same completions and parameters, bit by bit", each=2
)
def test_the_same_seed_gives_the_same_run(child, never_killed, tmp_path):
    """In two processes: every sampled completion and every parameter."""
    never_killed, _ = never_killed
    assert child(tmp_path / "run")[0] == 0
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
    end, _, log = child(killed, kill_at=place, delay=delay)
    moment = f"killed {1000 * delay:.0f} ms after change {place} of {changes}"
    ended_first = end == 0 and delay
    assert end == signal.SIGKILL or ended_first, moment + log.read_text()[-2000:]
    if not (killed / "result.json").exists():
        end, _, log = child(killed, resume=(killed / "run.json").exists())
        assert end == 0, moment + log.read_text()[-2000:]
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
