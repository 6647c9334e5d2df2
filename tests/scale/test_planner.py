"""The planner counts from the model's shape, names what will not fit, and takes measured times."""

from dataclasses import replace

import pytest
from peft import get_peft_model

from soundmind_lite import data, grpo, models, profiles
from soundmind_lite.scale import planner

CARDS = planner.CARDS


def test_the_published_sizes():
    """8.9 and 4.7 billion parameters, encoders included, for the thinkers of the 7B and the 3B."""
    assert planner.parameter_counts(profiles.OMNI_7B)["all"] / 1e9 == pytest.approx(8.93, abs=0.05)
    assert planner.parameter_counts(profiles.OMNI_3B)["all"] / 1e9 == pytest.approx(4.7, abs=0.1)


def test_the_tiny_model_is_counted_exactly(tiny):
    model, _ = tiny
    counts = planner.parameter_counts(profiles.get("tiny").model)
    assert counts["all"] == sum(p.numel() for p in model.parameters())
    lora = get_peft_model(models.load("tiny")[0], grpo.lora_config(profiles.get("tiny")))
    trained = sum(p.numel() for p in lora.parameters() if p.requires_grad)
    assert counts["lora per rank"] * 16 == trained


def test_four_bit_needs_a_third_of_the_weights_memory():
    full = profiles.get("80gb")
    quantized = replace(full, load_in_4bit=True)
    assert planner.memory(full, 60)["weights"] == pytest.approx(17.9, abs=0.2)
    assert planner.memory(quantized, 60)["weights"] == pytest.approx(8.3, abs=0.5)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (dict(num_generations=16), "KV cache"),
        (dict(lora_r=64), "adapter and optimizer"),
        (dict(max_completion_length=4096), "logits"),
        (dict(per_device_train_batch_size=2), "activations"),
    ],
)
def test_each_part_grows_with_what_makes_it(change, part):
    profile = profiles.get("80gb")
    more, less = planner.memory(replace(profile, **change), 60), planner.memory(profile, 60)
    assert more[part] > 1.5 * less[part]


def test_what_will_not_fit_is_said_with_a_remedy():
    text = str(planner.plan(profiles.get("80gb"), CARDS["T4"], price=0.5))
    assert "will not fit" in text
    assert "lower this first: weights: take a smaller model, or 4-bit weights" in text
    assert "cost at 0.5 an hour" in text


def test_measured_time_replaces_the_guess():
    plan = planner.plan(profiles.get("80gb"), CARDS["H100"], measured_step=36.0, steps=100)
    assert plan.hours == pytest.approx(1.0)
    assert "two real steps here" in str(plan)
    assert "not measured" in str(planner.plan(profiles.get("80gb"), CARDS["H100"]))


def test_longer_audio_costs_more_and_too_long_is_named():
    profile = profiles.get("80gb")
    short, long = (
        planner.step_seconds(profile, CARDS["H100"], audio_seconds=seconds) for seconds in (30, 120)
    )
    assert long > short
    with pytest.raises(ValueError, match="longer than the profile's limit of 180 s"):
        planner.plan(profile, CARDS["H100"], audio_seconds=200)


def test_two_real_steps_calibrate(eight_rows, tmp_path):
    profile = replace(
        profiles.get("tiny"),
        num_generations=2,
        prompts_per_step=2,
        per_device_train_batch_size=4,
        max_completion_length=10,
    )
    rows = data.training_rows(data.load_alr(eight_rows, "train"))
    seconds = planner.calibrate(profile, rows, output_dir=tmp_path)
    assert 0 < seconds < 60


def test_an_unknown_card_is_called_so():
    assert planner.card_of("NVIDIA H100 80GB HBM3", 85.0).name == "H100"
    assert planner.card_of("Some GPU", 12.0).name == "Some GPU (time as on an L4)"
