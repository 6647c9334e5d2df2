"""Runs in processes of their own. Two CPU processes (gloo) train like one: the same batch, rewards and weights; each hears its own clips, and one of
them writes. A run that is killed without warning goes on as if nothing had happened."""
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file

WORKER = str(ROOT / "tests" / "run_worker.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"} | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(out, data, *options, launcher=()):
    command = [sys.executable, *launcher, WORKER, str(out), str(data), *options]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)


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
    for name in ("reward", "reward_std", "loss", "grad_norm", "rewards/answer_reward/mean", "num_tokens"):  # TRL logs the KL as a mean of means
        assert [m[name] for m in two] == pytest.approx([m[name] for m in one], rel=1e-3, abs=1e-6), name
    one, two = (sorted(map(json.dumps, lines(folder / "completions.jsonl"))) for folder in two_runs)
    assert one == two
    assert len(one) == 4 * 16


def test_one_result_is_written(two_runs):
    one, two = ({path.name for path in folder.iterdir()} for folder in two_runs)
    assert one == two
    one, two = (json.loads((folder / "after.json").read_text()) for folder in two_runs)
    assert [a["id"] for a in two["answers"]] == [a["id"] for a in one["answers"]]
    assert two["summary"]["n"] == one["summary"]["n"] == 8


def test_a_batch_that_does_not_divide_is_named(eight_rows, tmp_path):
    done = run(tmp_path / "run", eight_rows, "--micro-batch", "16", launcher=TORCHRUN)
    assert "micro_batch 16 on 2 processes does not divide the 16 completions of a step" in done.stderr


@pytest.fixture(scope="module")
def never_killed(eight_rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert run(folder, eight_rows).returncode == 0
    return adapter(folder)


@pytest.mark.parametrize("number", range(int(os.environ.get("SOUNDMIND_KILLS", 1))))
def test_a_killed_run_goes_on_bit_by_bit(number, never_killed, eight_rows, tmp_path):
    """SIGKILL at a random moment after a random step, then --resume: the final weights are those of a run that was never killed."""
    rng = random.Random()
    step, delay = rng.randint(1, 3), rng.uniform(0, 0.5)
    killed, metrics = tmp_path / "killed", tmp_path / "killed" / "metrics.jsonl"
    process = subprocess.Popen([sys.executable, WORKER, str(killed), str(eight_rows)], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (metrics.exists() and len(metrics.read_bytes().splitlines()) >= step):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    moment = f"killed {delay:.2f} s after step {step}"
    assert not (killed / "result.json").exists(), moment
    done = run(killed, eight_rows, "--resume")
    assert done.returncode == 0, moment + done.stderr[-2000:]
    resumed = adapter(killed)
    assert all(torch.equal(weight, resumed[name]) for name, weight in never_killed.items()), moment
    assert [m["step"] for m in lines(metrics)] == [1, 2, 3, 4], moment
    assert [r["step"] for r in lines(killed / "completions.jsonl")] == [s for s in (1, 2, 3, 4) for _ in range(16)], moment


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero3"])
def test_launch_files_are_understood(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(ROOT / "assets" / "launch" / f"{name}.yaml"))
    assert config.num_processes == 8
    assert config.mixed_precision == "bf16"
    if name == "fsdp":
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni

        assert hasattr(modeling_qwen2_5_omni, config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"])
