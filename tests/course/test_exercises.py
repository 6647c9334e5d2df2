"""The checks of the exercises, on stubs, on wrong answers, and on anything at all.

The right answers are the solution notebooks, which are run as tests of their own.
"""

import random
import re
import warnings

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from soundmind_lite import data, evaluation, rewards, speech
from soundmind_lite.course import chains, exercises, planted, short_runs
from soundmind_lite.course.checking import outcome
from soundmind_lite.course.checks.rewards import FORMAT_CASES, format_completions
from soundmind_lite.course.explain import format_fault
from soundmind_lite.speech import spoken
from soundmind_lite.tiny import data as tiny_data
from soundmind_lite.tiny import syllogisms

PIECES = ("<think>", "</think>", "a", " ", "\n", "\r", "\t", "Answer: entailed", "Answer: no")
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
def test_every_check_carries_three_wrong_answers(number):
    refused = getattr(CHECKS[number], "refused", ())
    assert len(refused) >= 3
    assert len({diagnosis for _, diagnosis in refused}) >= 2, "they teach more than one thing"


def test_every_exercise_has_its_check_and_every_check_its_exercise():
    asked = []
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        asked += re.findall(r"^### Exercise ([\d.]+) · ", prose, flags=re.MULTILINE)
    assert sorted(asked) == sorted(CHECKS)


def test_no_two_modules_check_the_same_exercise():
    defined = [
        name
        for module in exercises.MODULES
        for name, check in vars(module).items()
        if name.startswith("check_") and check.__module__ == module.__name__
    ]
    assert len(defined) == len(set(defined)) == len(CHECKS)


def audited(tmp_path) -> dict:
    """What the library's audit finds in the folder of exercise 01.3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = planted.plant(tmp_path)
        found = data.audit(data.load_alr(folder, "dev"))
    kinds = {"conflicts": found.conflicts, "bad_audio": found.bad_audio}
    ids = {kind: [name for name, _ in findings] for kind, findings in kinds.items()}
    pairs = " ".join(f"{name} {other}" for name, other in found.duplicates)
    return ids | {"duplicates": re.findall(r"\bdev/\d{4}\b", pairs)}


def not_entailed_row() -> dict:
    problem = syllogisms.draw(random.Random(0), label=False)
    return tiny_data.row("0001", problem)


# Exercises that ask for something the library has, and the library's answer
LIBRARY = {
    "01.5": not_entailed_row(),
    "03.1": rewards.text_length_reward,
    "03.2": rewards.has_text_format,
    "05.2": short_runs.short_thought_reward,
    "06.1": evaluation.paired_p,
    "07.2": chains.follows_from,
    "08.1": speech.word_error_rate,
    "08.2": spoken.spoken_verdict,
}


@pytest.mark.parametrize(("number", "answer"), LIBRARY.items(), ids=LIBRARY)
def test_the_library_passes_the_checks_that_ask_for_it(number, answer):
    verdict, message = outcome(number, CHECKS[number], answer)
    assert verdict, message


def test_the_librarys_audit_passes_its_exercise(tmp_path):
    verdict, message = outcome("01.3", CHECKS["01.3"], audited(tmp_path))
    assert verdict, message


def test_the_format_is_compared_on_completions_of_both_kinds():
    accepted = [text for text in format_completions() if rewards.has_text_format(text)]
    assert 10 <= len(accepted) <= len(format_completions()) / 10
    by_hand = [rewards.has_text_format(text) for text in FORMAT_CASES]
    assert by_hand == [True] * 5 + [False] * (len(by_hand) - 5)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(format_completions()))
def test_a_format_that_differs_from_the_librarys_anywhere_is_refused(completion):
    def differs_once(text):
        return rewards.has_text_format(text) != (text == completion)

    verdict, message = outcome("03.2", CHECKS["03.2"], differs_once)
    assert verdict is False
    assert ("refuses" if rewards.has_text_format(completion) else "accepts") in message


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_a_format_has_a_fault_or_is_the_librarys(text):
    assert (format_fault(text) is None) == rewards.has_text_format(text)


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
    with pytest.raises(ValueError, match=r"no exercise '11\.9'"):
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
