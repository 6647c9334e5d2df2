"""A model in pieces on two CPU processes: FSDP2 and ZeRO-3, as the launch files ask for them.

`sharded_worker.py` says what is forced, since accelerate shards models on GPUs alone. Accelerate's
launcher starts one run with each launch file; the others are forks with the variables that it set.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file

from soundmind_lite import profiles, train
from soundmind_lite.runs import sharding
from soundmind_lite.runs.files import RunError

pytest_plugins = ("children",)

WORKERS = ROOT / "tests" / "runs"
LAUNCH = ROOT / "assets" / "launch"
FSDP2 = "fsdp"
ZERO3 = pytest.param(
    "zero3",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(
            importlib.util.find_spec("deepspeed") is None,
            reason="ZeRO-3 needs DeepSpeed: pip install deepspeed",
        ),
    ],
)
# Five test rows in batches of one: one process has three, the other two.
SIZES = {"max_steps": 2, "save_steps": 1, "per_device_eval_batch_size": 1, "test_rows": 5}


def options(*words, **sizes):
    return [*words, "--sizes", json.dumps(SIZES | sizes)]


def launched(name: str, out, data):
    """A run of the worker on two processes with a launch file; returns what they report."""
    from children import ENVIRONMENT

    command = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0"]
    command += ["--config_file", str(LAUNCH / f"{name}.yaml"), "--num_processes", "2"]
    command += [str(WORKERS / "sharded_worker.py"), str(out), str(data), *options("--given")]
    done = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return reports_of(done.stdout)


def reports_of(printed: str) -> list[dict]:
    return [json.loads(line) for line in printed.splitlines() if line.startswith('{"rank"')]


@pytest.fixture(scope="module")
def launched_again(child):
    """Another run with the variables that a launch file gave its processes, which the reports of
    the first have; returns what the processes of this one report."""

    def start(reports, out, *words, **variables):
        launch = next(report["launch"] for report in reports if "launch" in report)
        sharded = {"processes": 2, "module": "sharded_worker"}
        ended = child(out, *words, variables=launch | variables, **sharded)
        assert ended.code == 0, ended.log[-3000:]
        return reports_of(ended.log)

    return start


def answers(folder, name):
    return [a["completion"] for a in json.loads((folder / f"{name}.json").read_text())["answers"]]


def adapter(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def on_one_process(child, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    ended = child(folder, *options("--given"))
    assert ended.code == 0, ended.log[-3000:]
    return folder


@pytest.fixture(scope="module", params=[FSDP2, ZERO3])
def sharded(request, eight_rows, tmp_path_factory):
    """The launch file, the folder of a run with it, and what its processes reported."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    return request.param, folder, launched(request.param, folder, eight_rows)


def test_the_model_lies_in_pieces(sharded):
    """FSDP2's second process reads no weights; what is measured is in pieces, also before."""
    launch, _, reports = sharded
    loaded = {report["rank"]: report["loaded"] for report in reports if "loaded" in report}
    assert loaded == {"0": ["cpu"], "1": ["meta"] if launch == FSDP2 else ["cpu"]}
    measured = [report for report in reports if "label" in report]
    assert [report["label"] for report in measured if report["rank"] == "1"] == [
        "before",
        "after",
        "swapped audio",
    ]
    assert all(report["held"] < 0.6 for report in measured)  # a half, and the last pass's head


def test_answers_stop_at_the_end_of_the_turn(sharded, tiny):
    _, _, reports = sharded
    tokenizer = tiny[1].tokenizer
    stops = [(report["eos"], report["pad"]) for report in reports if "label" in report]
    assert stops == 6 * [([tokenizer.eos_token_id], tokenizer.pad_token_id)]


def test_it_is_the_run_of_one_process(sharded, on_one_process):
    """Given the same completions: the same adapter, and the same greedy answers."""
    _, folder, _ = sharded
    one, two = adapter(on_one_process), adapter(folder)
    assert one.keys() == two.keys()
    assert max(weight.abs().max().item() for name, weight in one.items() if "lora_B" in name) > 1e-4
    assert all(torch.allclose(weight, two[name], rtol=0, atol=1e-5) for name, weight in one.items())
    for name in ("before", "after"):
        assert answers(folder, name) == answers(on_one_process, name)
    result = json.loads((folder / "result.json").read_text())
    assert [result[name]["n"] for name in ("before", "after", "swapped_audio")] == [5, 5, 5]


@pytest.mark.slow
@pytest.mark.tried(
    "runs of two processes with a model in pieces, stopped and resumed",
    "the parameters of the run that wasn't stopped, bit by bit",
)
@pytest.mark.parametrize("steps", [1, 2], ids=["in training", "after the last step"])
def test_it_resumes(steps, sharded, launched_again, tmp_path):
    _, folder, reports = sharded
    stopped = shutil.copytree(folder, tmp_path / "stopped")
    for name in ("result.json", "after.json"):
        (stopped / name).unlink()
    shutil.rmtree(stopped / "adapter")
    if steps == 1:
        shutil.rmtree(stopped / "checkpoint-2")
    launched_again(reports, stopped, *options("--given", "--resume"))
    weights = adapter(folder)
    assert all(torch.equal(weight, weights[name]) for name, weight in adapter(stopped).items())
    assert answers(stopped, "after") == answers(folder, "after")


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [FSDP2], indirect=True)
def test_it_runs_on_the_published_layout(sharded, launched_again, published_checkpoint, tmp_path):
    """With sampling, in the precision and with the checkpointing of `multi`."""
    multi = profiles.get("multi")
    sizes = {
        "model": str(published_checkpoint),
        "dtype": multi.dtype,
        "gradient_checkpointing": multi.gradient_checkpointing,
        "per_device_train_batch_size": 2,
        "num_generations": 2,
        "prompts_per_step": 2,
    }
    mixed = {"ACCELERATE_MIXED_PRECISION": "bf16"}  # as the profile has it on GPUs
    reports = launched_again(sharded[2], tmp_path / "run", *options(**sizes), **mixed)
    assert all(report["held"] < 0.6 for report in reports if "label" in report)
    assert (tmp_path / "run" / "result.json").exists()
    moved = (
        weight.abs().max() for name, weight in adapter(tmp_path / "run").items() if "_B" in name
    )
    assert max(moved) > 0


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_the_talker_is_refused_before_anything_is_read(
    name, published_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    sizes = {"model": str(published_checkpoint), "data": str(tmp_path / "none")}
    profile = replace(profiles.get("tiny"), name="full", **sizes)
    with pytest.raises(RunError, match="the talker needs all parameters of the thinker"):
        train.train(profile, tmp_path / "run", setting="audio-audio")
    assert not (tmp_path / "run").exists()


def test_four_bits_are_refused(monkeypatch):
    sharding.check_sharding(profiles.get("l4"), False)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    sharding.check_sharding(profiles.get("multi"), False)
    with pytest.raises(RunError, match="4-bit weights, which aren't sharded"):
        sharding.check_sharding(profiles.get("l4"), False)


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero3"])
def test_launch_files_are_understood(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(LAUNCH / f"{name}.yaml"))
    assert config.num_processes == 8
    assert config.mixed_precision == "no"  # the profile's dtype counts
    if name == "fsdp":
        from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni

        wrapped = config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"].split(",")
        assert all(hasattr(modeling_qwen2_5_omni, layer) for layer in wrapped)
