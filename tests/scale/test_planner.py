"""A plan says what fits, what it takes and what it leaves out; a budget is planned to be kept."""

from dataclasses import replace

import pytest

from soundmind_lite import profiles
from soundmind_lite.profiles import PROFILES
from soundmind_lite.scale import planner
from soundmind_lite.scale.cards import CARDS, Card

LARGE = [profile for profile in PROFILES.values() if profile.card]
NAMES = [profile.name for profile in LARGE]


@pytest.mark.parametrize("profile", LARGE, ids=NAMES)
def test_a_default_run_fits_its_card_and_ends_within_its_session(profile):
    plan = planner.plan(profile, CARDS[profile.card])
    assert plan.fits, str(plan)
    assert plan.hours <= planner.SESSION_HOURS[profile.name], str(plan)
    # every question that is fetched is trained on, once
    assert profile.train_rows == profile.max_steps * profile.prompts_per_step


@pytest.mark.parametrize("card", ["A6000", "L40S", "A40"])
def test_the_workstation_profile_fits_every_card_of_48_gb(card):
    plan = planner.plan(profiles.get("48gb"), CARDS[card])
    assert plan.fits
    assert plan.hours <= 24


@pytest.mark.parametrize("hours", [1, 3, 8, 12])
@pytest.mark.parametrize("profile", LARGE, ids=NAMES)
def test_a_budget_is_kept_or_refused_with_the_least_that_serves(profile, hours):
    try:
        chosen = planner.within(profile, None, hours)
    except ValueError as error:
        least = float(str(error).split("at least ")[1].split()[0])
        assert hours < least < 1.5
        chosen, hours = planner.within(profile, None, least), least
    plan = planner.plan(chosen)
    assert 0.85 * hours < plan.hours <= hours
    assert plan.evaluation_hours <= 0.4 * hours or chosen.test_rows == planner.MIN_TEST_ROWS
    assert chosen.eval != "none"
    assert chosen.max_steps >= planner.MIN_STEPS
    assert chosen.train_rows == chosen.max_steps * chosen.prompts_per_step
    changed = dict(eval=profile.eval, test_rows=profile.test_rows)
    changed |= dict(max_steps=profile.max_steps, train_rows=profile.train_rows)
    assert replace(chosen, **changed) == profile


def test_more_hours_buy_a_full_evaluation_then_steps_up_to_one_pass():
    profile, card = profiles.get("80gb"), CARDS["H100"]
    short, long = (planner.within(profile, card, hours) for hours in (3, 500))
    assert (short.eval, long.eval, long.test_rows) == ("short", "full", None)
    assert short.max_steps < long.max_steps == 5184 / 4
    assert long.train_rows is None
    assert planner.within(replace(profile, eval="none"), card, 8).eval == "none"
    assert planner.within(replace(profile, eval="short"), card, 500).eval == "short"


def test_a_budget_for_several_cards_trains_longer():
    profile = profiles.get("multi")
    two, eight = (planner.within(profile, None, 12, processes=n) for n in (2, 8))
    assert eight.max_steps > 1.5 * two.max_steps


def test_a_budget_that_is_too_small_says_what_it_needs():
    words = r"t4 on T4 needs at least 1\.\d hours, got 0\.5: .* for 32 test questions, .* 10 steps"
    with pytest.raises(ValueError, match=words):
        planner.within(profiles.get("t4"), CARDS["T4"], 0.5)


def test_a_plan_says_what_it_leaves_out():
    t4, full = profiles.get("t4"), profiles.get("80gb")
    left_out = planner.plan(replace(t4, max_steps=250, train_rows=500, test_rows=100)).left_out
    assert left_out[:2] == ["4,684 of 5,184 training questions", "556 of 656 test questions"]
    assert "sampled answers" in left_out[2]
    assert "beyond 1,024 tokens" in left_out[3]
    # rows that are fetched and not reached are left out, too
    assert "5,104 of" in planner.plan(replace(t4, max_steps=40)).left_out[0]
    everything = replace(full, max_steps=1296, train_rows=None)
    assert planner.plan(everything).left_out == []
    unmeasured = planner.plan(replace(full, eval="none"))
    assert unmeasured.evaluation_hours == 0
    assert "all measurements" in " ".join(unmeasured.left_out)


def test_a_plan_as_text():
    plan = planner.plan(profiles.get("t4"), price=0.5)
    text = str(plan)
    assert plan.hours == plan.download_hours + plan.evaluation_hours + plan.training_hours
    for words in (
        "T4, 15 GB",
        "in evaluation",
        "fits",
        "left out:",
        "not measured",
        "session of 8",
    ):
        assert words in text
    assert f"cost at 0.5 an hour: {0.5 * plan.hours:.2f}" in text
    assert "session" not in str(planner.plan(profiles.get("t4"), CARDS["H100"]))
    several = planner.plan(profiles.get("multi"), price=2, processes=8)
    assert "8 × A100" in str(several)
    assert several.cost == pytest.approx(16 * several.hours)


@pytest.mark.parametrize(
    ("profile", "card", "advice"),
    [
        ("80gb", "T4", "weights: take a smaller model, or 4-bit weights"),
        ("l4", Card("small", 10.0, 65, 320), "weights: take a smaller model"),
        ("l4", Card("small", 15.0, 65, 320), "activations: lower max_audio_seconds"),
    ],
)
def test_what_will_not_fit_is_said_with_a_remedy(profile, card, advice):
    text = str(planner.plan(profiles.get(profile), CARDS.get(card, card)))
    assert "will not fit" in text
    assert f"lower this first: {advice}" in text


def test_measured_time_replaces_the_guess():
    profile, card = profiles.get("80gb"), CARDS["H100"]
    guess = planner.plan(profile, card)
    plan = planner.plan(profile, card, measured_step=2 * guess.step_seconds)
    assert plan.training_hours == pytest.approx(2 * guess.training_hours)
    assert plan.evaluation_hours == pytest.approx(2 * guess.evaluation_hours)
    assert "two real steps here" in str(plan)
    assert "not measured" in str(guess)


def test_a_profile_without_a_gpu_is_planned_for_a_card_that_is_named():
    with pytest.raises(ValueError, match="the profile tiny needs no GPU"):
        planner.plan(profiles.get("tiny"))
    here = Card("this machine", memory_gb=4.0, tflops=1, bandwidth=1)
    assert planner.plan(profiles.get("tiny"), here, measured_step=1.0).fits


def test_clips_beyond_the_limit_are_named():
    with pytest.raises(ValueError, match="longer than the profile's limit of 180 s"):
        planner.plan(profiles.get("80gb"), audio_seconds=200)
