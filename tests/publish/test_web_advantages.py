"""The advantages in the pages are those that TRL's trainer computes, and the calculator's, too."""

import json
import random
from dataclasses import replace

import pytest
import torch
from lab_controls import choose, load, texts, wait

from soundmind_lite import data, grpo, profiles
from soundmind_lite.course import by_hand
from soundmind_lite.course.loss_parts import group_advantages
from soundmind_lite.trainer import AudioGRPOTrainer

pytest_plugins = ("site_browser",)
pytestmark = pytest.mark.slow
SIZE = 8  # G
SCALES = ("group", "batch", "none")
BOX = '<div data-live="advantages_lab"></div>'
SHOWN = """[...document.querySelectorAll(".lab-group")].map(
  group => [...group.querySelectorAll(".advantage-row > output")].map(o => o.textContent))"""


def one_list(groups: list[list]) -> list:
    return [value for group in groups for value in group]


def in_page(page, groups: list[list[float]], scale: str) -> dict:
    load(page, "advantages")
    return page.run(f"soundmind.advantages.ofBatch({json.dumps(groups)}, '{scale}')")


@pytest.fixture
def earns(fresh_tiny, tmp_path):
    """A function of two groups of rewards and scale_rewards: TRL's advantages, and what it logs."""
    given = []

    def drawn(completions, **_):
        return given[-1]

    model, processor = fresh_tiny
    profile = replace(profiles.get("tiny"), prompts_per_step=2, max_completion_length=1)
    rows = data.training_rows(data.load_alr("mini", "train", max_rows=2))
    trainer = AudioGRPOTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=[drawn],
        train_dataset=rows,
        peft_config=grpo.lora_config(profile),
        args=grpo.grpo_config(profile, str(tmp_path), save_strategy="no"),
    )

    def step(groups, scale):
        given.append(one_list(groups))
        trainer.scale_rewards = scale
        found = by_hand.sample_batch(trainer, list(rows)).advantages
        return found.tolist(), trainer._metrics["train"]["frac_reward_zero_std"][-1]

    return step


def drawn_groups(rng: random.Random) -> list[list[float]]:
    """Two groups of rewards: random, near each other, a few values, or all the same."""
    kinds = (
        lambda: rng.uniform(0, 4),
        lambda: 3 + rng.uniform(0, 0.1),
        lambda: rng.choice([0.0, 1.0, 2.0, 3.5, 4.0]),
    )
    groups = []
    for _ in range(2):
        kind, same = rng.choice(kinds), rng.choice([0.0, 2.0, 4.0])
        group = [kind() for _ in range(SIZE)]
        groups.append([same] * SIZE if rng.random() < 0.3 else group)
    return groups


def test_they_are_what_trl_computes(lab_page, earns):
    page, rng, flat = lab_page(), random.Random(4), 0
    for scale in SCALES:
        for _ in range(4):
            groups = drawn_groups(rng)
            advantages, zero = earns(groups, scale)
            found = in_page(page, groups, scale)
            # TRL computes in float32
            assert one_list(found["advantages"]) == pytest.approx(advantages, abs=1e-4)
            assert sum(found["flat"]) / 2 == pytest.approx(zero)
            flat += zero > 0
    assert 2 <= flat <= 10


def test_a_group_is_scaled_as_in_the_lesson(lab_page):
    page, rng = lab_page(), random.Random(0)
    groups = [[rng.uniform(0, 4) for _ in range(SIZE)] for _ in range(500)]
    scores = torch.tensor(groups, dtype=torch.float64).flatten()
    expected = group_advantages(scores, SIZE).tolist()
    found = one_list(in_page(page, groups, "group")["advantages"])
    assert found == pytest.approx(expected, abs=1e-9)
    # a batch of one group is that group
    assert in_page(page, groups[:1], "batch") == in_page(page, groups[:1], "group")


def test_the_calculator_follows_its_controls(lab_page):
    page = wait(lab_page(BOX))

    def shown(place, value):
        choose(page, ".lab select, .lab input", value, place)
        return page.run(SHOWN), *texts(page, ".lab-sum")

    presets = page.run("soundmind.load('advantage_presets')")
    assert [len(preset["groups"]) for preset in presets] == [1, 2, 1, 2, 1]
    for number, preset in enumerate(presets):
        groups = torch.tensor(preset["groups"], dtype=torch.float64)
        advantages, _ = shown(0, number)
        expected = [f"{a:+.2f}" for a in group_advantages(groups.flatten(), SIZE)]
        assert [a.replace("+0.00", "0.00") for a in expected] == one_list(advantages)
    assert "frac_reward_zero_std 1.00" in shown(0, 4)[1]
    assert "no gradient" in texts(page, ".lab-group p")[0]
    advantages, words = shown(3, 3.0)  # the first reward, after two lists and G
    assert advantages == [["+2.47", *["-0.35"] * 7]]
    assert words == "Advantages from -0.35 to +2.47; frac_reward_zero_std 0.00"
    # as notebook 04 prints them
    shown(0, 3)
    advantages, _ = shown(1, "batch")
    assert (advantages[0][0], advantages[0][-1]) == ("-0.03", "+0.05")
    advantages, _ = shown(2, 4)
    assert [len(group) for group in advantages] == [4, 4]
    assert page.complaints() == []
