"""Two CPU processes (gloo) train like one: the same batch, rewards and weights; each hears its own clips, and one of them writes."""
import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file

WORKER = str(ROOT / "tests" / "processes_worker.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def started(out, data, launcher=(), micro_batch=8):
    command = [sys.executable, *launcher, WORKER, str(out), str(data), str(micro_batch)]
    environment = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"} | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def two_runs(eight_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    for name, launcher in (("one", ()), ("two", TORCHRUN)):
        done = started(folder / name, eight_rows, launcher)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "one", folder / "two"


def test_the_weights_are_the_same(two_runs):
    one, two = (load_file(run / "adapter" / "adapter_model.safetensors") for run in two_runs)
    assert max(weight.abs().max().item() for name, weight in one.items() if "lora_B" in name) > 1e-4
    assert all(torch.allclose(weight, two[name], rtol=0, atol=1e-6) for name, weight in one.items())


def test_rewards_and_batches_are_the_same(two_runs):
    one, two = (lines(run / "metrics.jsonl") for run in two_runs)
    for name in ("reward", "reward_std", "loss", "grad_norm", "rewards/answer_reward/mean", "num_tokens"):  # TRL logs the KL as a mean of means
        assert [m[name] for m in two] == pytest.approx([m[name] for m in one], rel=1e-3, abs=1e-6), name
    one, two = (sorted(map(json.dumps, lines(run / "completions.jsonl"))) for run in two_runs)
    assert one == two
    assert len(one) == 3 * 16


def test_one_result_is_written(two_runs):
    one, two = ({path.name for path in run.iterdir()} for run in two_runs)
    assert one == two
    one, two = (json.loads((run / "after.json").read_text()) for run in two_runs)
    assert [a["id"] for a in two["answers"]] == [a["id"] for a in one["answers"]]
    assert two["summary"]["n"] == one["summary"]["n"] == 8


def test_a_batch_that_does_not_divide_is_named(eight_rows, tmp_path):
    done = started(tmp_path / "run", eight_rows, TORCHRUN, micro_batch=16)
    assert "micro_batch 16 on 2 processes does not divide the 16 completions of a step" in done.stderr
