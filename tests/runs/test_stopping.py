"""Ctrl-C ends a training after its step, with a checkpoint that the run is resumed from."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from conftest import FEW, ROOT

from soundmind_lite import profiles, train
from soundmind_lite.runs import checkpoints, log
from soundmind_lite.runs.guards import TrainingError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")


@pytest.fixture(autouse=True)
def usual_ctrl_c():
    """Ctrl-C as in a terminal: a process that was started in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rarely_saved(eight_rows, monkeypatch):
    """A profile "small" whose runs are saved at their end alone."""
    sizes = FEW | {"save_steps": 100, "eval": "none"}
    profile = replace(profiles.get("tiny"), name="small", data=str(eight_rows), **sizes)
    monkeypatch.setitem(profiles.PROFILES, "small", profile)


def interrupted(out, *, at: int, times: int = 1, **how):
    """A run of four steps in which Ctrl-C is pressed while a step's rewards are computed."""
    calls = []

    def even(completions, **_):
        calls.append(1)
        if len(calls) == at:
            for _ in range(times):
                handler = signal.getsignal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                patience = time.monotonic() + 10
                # two signals that wait to be handled are one; the first changes what a second does
                while signal.getsignal(signal.SIGINT) is handler and time.monotonic() < patience:
                    time.sleep(0.01)
        return [float(len(completion[0]["content"]) % 2) for completion in completions]

    return train.train("small", out, max_steps=4, reward_funcs=[even], **how)


@pytest.mark.tried("runs stopped with Ctrl-C", "a checkpoint at the end of the step, and resumed")
def test_ctrl_c_saves_a_checkpoint_and_the_run_is_resumed_from_it(rarely_saved, tmp_path, capfd):
    before = signal.getsignal(signal.SIGINT)
    interrupted(tmp_path / "whole", at=0)
    with pytest.raises(KeyboardInterrupt) as stop:
        interrupted(tmp_path / "run", at=2)
    assert log.STOPPING in capfd.readouterr().err
    assert stop.value.__notes__ == ["checkpoint-2 is complete: resume=True continues from it"]
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoints.last_complete(tmp_path / "run").name == "checkpoint-2"
    assert not (tmp_path / "run" / "adapter").exists()
    interrupted(tmp_path / "run", at=0, resume=True)
    for name in ("completions.jsonl", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.tried("runs stopped with Ctrl-C twice", "at once; nothing of the step is kept")
def test_a_second_ctrl_c_stops_at_once(rarely_saved, tmp_path):
    with pytest.raises(KeyboardInterrupt) as stop:
        interrupted(tmp_path / "run", at=2, times=2)
    assert stop.value.__notes__ == [
        "No checkpoint is complete yet: resume=True trains from the beginning"
    ]
    assert interrupted(tmp_path / "run", at=0, resume=True)["steps"] == 4


def test_ctrl_c_in_the_last_step_leaves_a_run_to_finish(rarely_saved, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "run", at=4)
    assert not (tmp_path / "run" / "result.json").exists()
    assert interrupted(tmp_path / "run", at=0, resume=True)["steps"] == 4
    settings = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "assets/tiny_omni"


def test_after_an_error_ctrl_c_is_what_it_was(rarely_saved, tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def broken(completions, **_):
        return [float("nan")] * len(completions)

    with pytest.raises(TrainingError):
        train.train("small", tmp_path / "run", max_steps=1, reward_funcs=[broken])
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_trains_without_a_signal_of_its_own(rarely_saved, tmp_path):
    found = []
    worker = threading.Thread(
        target=lambda: found.append(interrupted(tmp_path / "run", at=0)["steps"])
    )
    worker.start()
    worker.join()
    assert found == [4]


def test_the_command_says_where_it_continues(eight_rows, tmp_path):
    out = tmp_path / "run"
    sizes = {"--data": eight_rows, "--num-generations": 4, "--max-completion-length": 8}
    sizes |= {"--eval": "none", "--steps": 200, "--out": out}
    words = [str(word) for pair in sizes.items() for word in pair]
    command = [sys.executable, "-m", "soundmind_lite", "train", *words]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    metrics = out / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    last = f"stopped. checkpoint-{steps[-1]} is complete: --resume continues from it"
    assert errors.splitlines()[-1] == last
