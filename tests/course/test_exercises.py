"""The checks of the exercises, on stubs, on wrong answers, and on anything at all.

The right answers are the solution notebooks, which are run as tests of their own.
"""

import re

import numpy as np
import pytest

from soundmind_lite import rewards, speech
from soundmind_lite.course import estimators, exercises
from soundmind_lite.course.checking import outcome
from soundmind_lite.models import audio_token_count
from soundmind_lite.speech import spoken

CHECKS = {
    name.removeprefix("check_").replace("_", "."): check for name, check in exercises.CHECKS.items()
}
WRONG = [
    pytest.param(number, answer, diagnosis, id=f"{number}: {diagnosis[:30]}")
    for number, check in CHECKS.items()
    for answer, diagnosis in getattr(check, "refused", ())
]


@pytest.mark.parametrize(("number", "answer", "diagnosis"), WRONG)
def test_a_wrong_answer_is_diagnosed(number, answer, diagnosis):
    verdict, message = outcome(number, CHECKS[number], answer)
    assert verdict is False
    assert diagnosis in message


@pytest.mark.parametrize("number", CHECKS)
def test_every_check_carries_a_wrong_answer(number):
    assert CHECKS[number].refused


def test_no_check_is_missing():
    assert len(CHECKS) == 41
    assert len(WRONG) >= 70


def pass_at_k(n, c, k):
    return estimators.pass_at_k(samples=n, correct=c, k=k)


def audio_tokens(seconds):
    return int(audio_token_count(round(100 * seconds)))


@pytest.mark.parametrize(
    ("number", "function"),
    [
        ("02.1", audio_tokens),
        ("02.3", pass_at_k),
        ("03.1", rewards.text_length_reward),
        ("03.4", rewards.answer_reward),
        ("08.1", speech.word_error_rate),
        ("08.2", spoken.heard_verdict),
    ],
)
def test_the_library_passes_the_checks_that_ask_for_it(number, function):
    verdict, message = outcome(number, CHECKS[number], function)
    assert verdict, message


def stub(*_, **__):
    raise NotImplementedError


@pytest.mark.parametrize("number", CHECKS)
@pytest.mark.parametrize("solution", [None, ..., "", stub, {"A": None, "B": None}])
def test_unfinished_is_neither_right_nor_wrong(number, solution):
    verdict, message = outcome(number, CHECKS[number], solution)
    if callable(solution) and verdict is False:  # the exercise asks for a value, not a function
        return
    assert verdict is None
    assert "not finished yet" in message


ANYTHING = [
    lambda *_, **__: 1 / 0,
    lambda *_, **__: None,
    lambda *_, **__: "?",
    7,
    "nonsense",
    [1],
    {"A": 1},
    object(),
]


@pytest.mark.parametrize("number", CHECKS)
@pytest.mark.parametrize("solution", ANYTHING)
def test_nothing_stops_a_notebook(number, solution, capsys):
    exercises.check(number, solution)
    assert re.match("[✘○✔] " + number, capsys.readouterr().out)


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '09\.9'"):
        exercises.check("11.9", 1)


def test_a_check_does_not_hand_out_its_own_objects():
    """A solution that changes its arguments must not spoil the next run of the same check."""

    def spoil(rollouts):
        rollouts.clear()
        return 0.6

    assert outcome("05.3", CHECKS["05.3"], spoil)[0]
    assert outcome("05.3", CHECKS["05.3"], spoil)[0]


def test_an_array_is_a_solution_like_any_other():
    def check(solution):
        return "seen"

    assert outcome("00.0", check, np.zeros(3)) == (True, "✔ 00.0 right. seen")
    assert outcome("00.0", check, "")[0] is None
