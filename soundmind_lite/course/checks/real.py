"""Checks of notebook 11: hours, twenty answers, and how many questions a gain needs."""

import math

from ..checking import Wrong, call, expect, number, refuses


def _without_evaluation(hours, download, evaluation, step_seconds):
    return int((hours - download) * 3600 // step_seconds)


def _negative(hours, download, evaluation, step_seconds):
    return int((hours - download - evaluation) * 3600 // step_seconds)


@refuses(_without_evaluation, "evaluation takes its hours, too")
@refuses(_negative, "not a negative number")
def check_11_1(steps_within):
    mistakes = {
        "The evaluation takes its hours, too.": 90,
        "The download takes its hours, too.": 79,
        "Hours to seconds: times 3,600.": 0,
        "Whole steps: round down.": 61,
    }
    sizes = {"hours": 3.0, "download": 0.5, "evaluation": 0.8, "step_seconds": 100.0}
    found = number(call(steps_within, **sizes))
    expect(found, 61, mistakes=mistakes, otherwise="For 3 hours less 0.5 and 0.8, 100 s a step:")
    none = number(call(steps_within, **sizes | {"hours": 1.0}))
    if none != 0:
        raise Wrong(f"With one hour nothing is left: 0 steps, not a negative number, got {none:g}.")
    return "61 steps: the evaluation costs as much as 29 of them."


@refuses(14, "still holds 50 %")
@refuses(16, "a smaller number")
def check_11_2(smallest):
    smallest = number(smallest)
    if smallest == 14:
        raise Wrong("14 of 20: the interval goes from 48 % to 85 %, so it still holds 50 %.")
    if smallest > 15:
        raise Wrong(f"{smallest:g} of 20 leaves 50 % out, but so does a smaller number.")
    if smallest != 15:
        raise Wrong(f"{smallest:g} of 20: look at the lower end of the interval.")
    return "15 of 20, an accuracy of 75 %, can just be told from a coin."


def _difference_alone(gained, lost):
    return math.ceil(1.96**2 / (gained - lost) ** 2)


@refuses(_difference_alone, "in both directions")
@refuses(lambda gained, lost: 0.0, "For a gain of")
def check_11_3(rows_needed):
    mistakes = {
        "The questions that change in both directions count: (gained + lost) belongs to it.": 2647,
        "That is 1.96, not its square.": 111,
        "Whole questions: round up.": 216,
    }
    found = number(call(rows_needed, 0.06, 0.0219))
    expect(found, 217, mistakes=mistakes, otherwise="For a gain of 6 % and a loss of 2.19 %:")
    more = number(call(rows_needed, 0.16, 0.1219))
    if abs(more - 747) > 1:
        raise Wrong(f"For 16 % and 12.19 % it should be 747 questions, got {more:g}.")
    return "217 and 747 questions: ALR's 656 test questions may or may not be enough."
