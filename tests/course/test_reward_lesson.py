"""What notebook 03 rests on: repairs with one fault each, and two scalings that part ways."""

import math

import pytest

from soundmind_lite import rewards
from soundmind_lite.course import length_choice, published
from soundmind_lite.course.explain import format_fault
from soundmind_lite.course.figures import rewards as figures
from soundmind_lite.prompts import gold_completion


@pytest.mark.parametrize("name", published.REPAIRS)
def test_a_repair_pays_gold_answers_and_no_string_on_every_row(name):
    repair = published.REPAIRS[name]
    gold = [gold_completion("All birds sing.", label) for label in (0, 1)]
    assert repair(gold, [0, 1]) == [2.0, 2.0]
    for text in (*gold, "<answer>entailed</answer> Answer:"):
        assert 0.0 in repair([text, text], [0, 1])


def test_an_answer_beside_the_thought_is_named():
    text = "<think>a</think> Answer: entailed"
    assert not rewards.has_text_format(text)
    assert format_fault(text) == "the answer must be on a line of its own, after </think>"


@pytest.mark.parametrize("seed", range(5))
def test_the_scaling_decides_whether_the_reward_rises(seed):
    group = length_choice.train("group", seed=seed)
    none = length_choice.train("none", seed=seed)
    assert group[-1].words > 210 > 180 > none[-1].words
    assert group[-1].reward < group[0].reward < none[-1].reward
    shares = [[step.length_share for step in log[:100]] for log in (group, none)]
    assert sum(shares[0]) > 5 * sum(shares[1])
    assert not any(math.isnan(share) for share in shares[0])


def test_the_shortest_thoughts_earn_most():
    earned = length_choice.mean_reward(length_choice.LENGTHS).tolist()
    assert earned == sorted(earned, reverse=True)


def test_an_unknown_scaling_is_named():
    with pytest.raises(ValueError, match="got 'batch'"):
        length_choice.train("batch")


def test_the_figures_say_what_they_show():
    words = figures.two_scales([10, 20], {"group": [-0.7, 0.7], "none": [-0.01, 0.01]}).alt
    assert "group: from -0.70 to +0.70; none: from -0.01 to +0.01" in words
    runs = {scaling: length_choice.train(scaling, steps=3) for scaling in ("group", "none")}
    assert "words of a thought, group: from 190 to" in figures.length_runs(runs).alt
