"""`bench` on the CPU at small shapes: the code that measures the large shapes on a GPU."""

import json
from dataclasses import replace

import pytest
import torch

from soundmind_lite import models, profiles
from soundmind_lite.scale import bench, memory

SMALL = replace(profiles.get("tiny"), per_device_train_batch_size=2)
TINY_SHAPE = dict(model=profiles.get("tiny").model)
SHORT = dict(audio_seconds=2, group=2, new_tokens=4, repeats=1)


@pytest.fixture(scope="module")
def a_step():
    return bench.measure(
        SMALL, audio_seconds=4, group=4, new_tokens=8, random_weights=True, repeats=1
    )


def test_a_step_is_measured_plain_and_shared(a_step):
    for name in ("rollout", "step"):
        times = a_step[name]
        assert times["ratio"] == pytest.approx(times["plain_s"] / times["shared_s"])
    assert a_step["parameters"] == 1_496_672
    assert a_step["random_weights"] is True
    for kind in bench.KINDS:
        assert sum(a_step["phases_s"][kind].values()) <= a_step["step"][f"{kind}_s"]
        assert a_step["phases_s"][kind]["sample"] == a_step["rollout"][f"{kind}_s"]


def test_what_was_run_is_counted(a_step):
    """Four completions of 2, 4, 6 and 8 tokens in batches of two; three passes encode the audio."""
    assert (a_step["encoder_calls_per_clip"], a_step["plain_encoder_calls_per_clip"]) == (1, 4 * 3)
    prompt = a_step["plain_prefilled_tokens_per_group"] // 4
    assert prompt > 100  # four seconds of audio, and the text
    # the prompt's last token is computed with the completions
    assert a_step["prefilled_tokens_per_group"] == prompt - 1
    # in the reference pass and in the policy pass
    assert a_step["plain_padded_tokens"] == 2 * (6 + 4 + 2)
    assert 0 < a_step["padded_tokens"] < a_step["plain_padded_tokens"]
    assert a_step["peak_memory_mb"] > 100


def test_sampling_alone():
    result = bench.measure(SMALL, "rollout", audio_seconds=4, group=4, new_tokens=8, repeats=1)
    assert result["rollout"]["ratio"] > 0
    assert "step" not in result
    assert (result["encoder_calls_per_clip"], result["plain_encoder_calls_per_clip"]) == (1, 4)


@pytest.mark.parametrize("name", ["80gb", "l4", "t4"])
def test_large_profiles_run_with_random_weights(name):
    """bf16, fp16 and 4-bit weights, checkpointing, one row at a time."""
    profile = replace(profiles.get(name), **TINY_SHAPE)
    result = bench.measure(profile, **SHORT, random_weights=True)
    assert (result["dtype"], result["load_in_4bit"]) == (profiles.get(name).dtype, name != "80gb")
    assert result["encoder_calls_per_clip"] == 1


def test_random_weights_have_the_shape_but_not_the_checkpoint(tiny):
    thinker = bench.random_thinker(SMALL, tiny[1])
    shapes, expected = (
        {name: parameter.shape for name, parameter in model.named_parameters()}
        for model in (thinker, tiny[0])
    )
    assert shapes == expected
    assert not torch.equal(thinker.lm_head.weight, tiny[0].lm_head.weight)
    assert torch.get_default_dtype() is torch.float32


def test_a_larger_vocabulary_goes_with_the_tiny_processor(monkeypatch):
    """As for the 7B, whose tokenizer isn't here: the model has more tokens than the processor."""
    small = memory.config_of(profiles.get("tiny").model).to_dict()
    small["text_config"] |= dict(vocab_size=2000)
    parts = ("text_config", "audio_config", "vision_config")
    monkeypatch.setitem(memory.SHAPES, "wide", {name: small[name] for name in parts})
    result = bench.measure(replace(SMALL, model="wide"), **SHORT, random_weights=True)
    assert result["parameters"] > 1_496_672


def test_the_model_can_be_measured_again():
    model, _ = models.load("tiny")
    before = {name: p.clone() for name, p in model.named_parameters()}
    for _ in range(2):
        bench.measure(SMALL, **SHORT, model=model)
    assert {name for name, _ in model.named_parameters()} == set(before)
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert "forward" not in vars(model)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_questions_of_a_step_are_counted_for_each():
    """Two clips: each encoded once, or once for each completion and pass."""
    options = SHORT | dict(questions=2, warm_up=0)
    result = bench.measure(SMALL, **options)
    assert result["questions"] == 2
    assert (result["encoder_calls_per_clip"], result["plain_encoder_calls_per_clip"]) == (1, 2 * 3)
    prompt = result["plain_prefilled_tokens_per_group"] // 2
    assert result["prefilled_tokens_per_group"] == prompt - 1
    assert bench.table(result).startswith("profile tiny on CPU, ")
    assert ": 2 × 2 s of audio, 2 completions of 4 tokens" in bench.table(result)


def test_one_kind_alone_leaves_the_other_out():
    result = bench.measure(SMALL, **SHORT, kinds=("shared",))
    assert result["step"]["shared_s"] > 0
    assert (result["step"]["plain_s"], result["step"]["ratio"]) == (None, None)
    assert result["plain_peak_memory_mb"] is None


@pytest.mark.parametrize(
    "questions, group, micro_batch", [(1, 8, 8), (1, 32, 16), (2, 8, 16), (1, 20, 10), (3, 7, 7)]
)
def test_micro_batches_divide_the_completions(questions, group, micro_batch):
    tiny = profiles.get("tiny")
    sizes = dict(audio_seconds=2, new_tokens=4, group=group, questions=questions)
    assert bench.at_sizes(tiny, **sizes).per_device_train_batch_size == micro_batch


def test_the_command_writes_its_figures(tmp_path, command):
    file = tmp_path / "b.json"
    sizes = ("--seconds-of-audio", "2", "--group", "2", "--new-tokens", "4")
    done = command("bench", "rollout", *sizes, "--json", str(file))
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert done.stdout.strip() == bench.table(found)
    assert "2 s of audio, 2 completions of 4 tokens" in done.stdout
    assert f"sampling alone, s             {found['rollout']['plain_s']:10.2f}" in done.stdout
    done = command("bench", "step", "--json", "no/such/b.json")
    assert done.returncode == 1
    assert "no such folder for --json" in done.stderr
