"""`bench step` on the CPU at a small shape: the code that measures the large shapes on a GPU."""
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from conftest import ROOT

from soundmind_lite import bench, profiles

SMALL = replace(profiles.get("tiny"), micro_batch=2)


def test_a_step_is_measured_by_phase():
    result = bench.measure(SMALL, audio_seconds=4, group=4, new_tokens=8, random_weights=True)
    assert result["step_s"] == pytest.approx(result["rollout_s"] + result["score_s"] + result["update_s"])
    assert result["prompt_tokens"] == 100 + 2 + 60  # four seconds, their two ends, the words
    assert result["tokens_per_second"] == pytest.approx(4 * 8 / result["rollout_s"])
    assert result["weights"] == 1_496_672
    assert result["random_weights"] is True


def test_bf16_and_checkpointing_run_at_a_large_profile_s_settings():
    large = replace(profiles.get("80gb"), model=profiles.get("tiny").model)
    assert bench.random_thinker(large).dtype is torch.bfloat16
    assert torch.get_default_dtype() is torch.float32
    assert bench.measure(large, audio_seconds=2, group=2, new_tokens=4, random_weights=True)["dtype"] == "bfloat16"


def test_random_weights_have_the_shape_but_not_the_checkpoint(tiny):
    thinker = bench.random_thinker(SMALL)
    assert {n: p.shape for n, p in thinker.named_parameters()} == {n: p.shape for n, p in tiny[0].named_parameters()}
    assert not torch.equal(thinker.lm_head.weight, tiny[0].lm_head.weight)


def test_four_bit_runs_with_random_weights_too():
    small = replace(profiles.get("l4"), model=profiles.get("tiny").model)
    result = bench.measure(small, audio_seconds=2, group=2, new_tokens=4, random_weights=True)
    assert result["four_bit"] is True
    assert result["step_s"] > 0


def test_the_command_writes_its_figures(tmp_path):
    command = [sys.executable, "-m", "soundmind_lite", "bench", "step", "--random-weights", "--seconds-of-audio", "2", "--group", "2", "--new-tokens", "4"]
    done = subprocess.run([*command, "--json", str(tmp_path / "b.json")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "b.json").read_text()) == json.loads(done.stdout)
    done = subprocess.run([sys.executable, "-m", "soundmind_lite", "bench", "step", "--json", "no/such/b.json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no such folder for --json" in done.stderr
