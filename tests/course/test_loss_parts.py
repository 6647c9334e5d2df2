"""The parts of GRPO's loss that notebook 04 puts together. That they equal TRL's loss on a batch
with audio, the notebook itself shows."""

import pytest
import torch

from soundmind_lite.course import loss_parts, planted
from soundmind_lite.course.checking import outcome
from soundmind_lite.course.checks import grpo as checks

TOY = loss_parts.toy_batch()
ASKED = {  # what a learner may change so that a version agrees with the right one
    "A": {"num_generations": 8},
    "B": {"mask": torch.ones(8, 6)},
    "C": {"beta": 0.0},
    "D": {"old_log_probs": TOY["log_probs"]},
}


def test_answers_that_are_not_right_are_replaced(capsys):
    def twice(scores, num_generations):
        return 2 * loss_parts.group_advantages(scores, num_generations)

    def mean(losses, mask):
        return (losses * mask).sum() / mask.sum()

    parts = loss_parts.chosen(group_advantages=twice, token_mean=mean)
    assert parts.group_advantages is loss_parts.group_advantages
    assert parts.token_mean is mean
    assert capsys.readouterr().out.count("model answer") == 3


@pytest.mark.parametrize("letter", planted.losses())
def test_each_planted_fault_can_be_found(letter):
    assert set(checks.FAULTS) == set(planted.losses()) == set(ASKED)
    loss = planted.losses()[letter]
    assert not torch.isclose(loss(**TOY), loss_parts.grpo_loss(**TOY), atol=0.01)
    agree = {
        other
        for other, change in ASKED.items()
        if torch.isclose(loss(**{**TOY, **change}), loss_parts.grpo_loss(**{**TOY, **change}))
    }
    assert agree == {letter}


@pytest.mark.parametrize("name", loss_parts.EXERCISES)
def test_the_model_answers_pass_their_exercises(name):
    number, check = loss_parts.EXERCISES[name]
    verdict, message = outcome(number, check, getattr(loss_parts, name))
    assert verdict, message
