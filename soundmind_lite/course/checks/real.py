"""Checks of notebook 11: an evening's run, twenty answers, four logs, and how many questions."""

import math

from ..checking import Wrong, call, decided, entries, expect, number, refuses

RUNS = {
    "A": "656 questions three times take 7.9 hours, more than twice your evening.",
    "B": "It fits, and nothing says afterwards what the 54 steps did: no before, no after, no "
    "control.",
    "C": "",
    "D": "It fits, with 14 steps more than C. But 32 answers leave an interval of 14 points to "
    "each side, against 8 with 96: a model that got worse could look the same.",
}
REASONS = {
    "more steps": "Steps alone are no result: without enough questions nobody can tell what the "
    "steps did.",
    "the whole test set": "That would be best, and it doesn't fit: compare the hours.",
    "a result to read": "",
}


@refuses({"run": "A", "reason": "the whole test set"}, "more than twice your evening")
@refuses({"run": "B", "reason": "more steps"}, "no before, no after")
@refuses({"run": "D", "reason": "more steps"}, "14 points")
@refuses({"run": "C", "reason": "more steps"}, "the reason isn't")
def check_11_1(decision):
    run, reason = decided(decision, {"run": RUNS, "reason": REASONS})
    if RUNS[run]:
        raise Wrong(f"{run}: {RUNS[run]}")
    if REASONS[reason]:
        raise Wrong(f"The run is right, the reason isn't. {REASONS[reason]}")
    return (
        "It is what `train --profile t4 --hours 3` chooses: 96 questions and 33 steps. They don't "
        "show a gain of 4 points, but whether all parts work and whether something broke."
    )


@refuses(14, "still holds 50 %")
@refuses(16, "a smaller number")
@refuses(11, "look at the lower end")
@refuses(0.75, "a number of answers")
def check_11_2(smallest):
    smallest = number(smallest)
    if 0 < smallest < 1:
        raise Wrong("That is a share; the exercise asks for a number of answers out of 20.")
    if smallest == 14:
        raise Wrong("14 of 20: the interval goes from 48 % to 85 %, so it still holds 50 %.")
    if smallest > 15:
        raise Wrong(f"{smallest:g} of 20 leaves 50 % out, but so does a smaller number.")
    if smallest != 15:
        raise Wrong(f"{smallest:g} of 20: look at the lower end of the interval.")
    return "15 of 20, an accuracy of 75 %, can just be told from a coin."


FAULTS = {"A": "cut off", "B": "another policy", "C": "nothing to learn", "D": "no audio"}
CLUES = {
    "A": "Read clipped_ratio: the share of completions that reach the token limit.",
    "B": "Read the difference of log-probs: sampling and scoring should agree to 0.01 or so.",
    "C": "Read frac_reward_zero_std and grad_norm together.",
    "D": "Compare the accuracy after training with that on another question's audio.",
}


def _swapped(first: str, second: str) -> dict[str, str]:
    return FAULTS | {first: FAULTS[second], second: FAULTS[first]}


@refuses(_swapped("A", "C"), "token limit")
@refuses(_swapped("B", "D"), "should agree")
@refuses(_swapped("C", "D"), "grad_norm")
@refuses(FAULTS | {"D": "nothing to learn"}, "another question's audio")
def check_11_3(diagnoses):
    entries(diagnoses, FAULTS, choices=FAULTS.values())
    for run, fault in FAULTS.items():
        if diagnoses[run] != fault:
            raise Wrong(f"Run {run}: not {diagnoses[run]!r}. {CLUES[run]}")
    return "Each fault shows in a figure that was logged anyway; the reward alone shows none."


def _difference_alone(gained, lost):
    return math.ceil(1.96**2 / (gained - lost) ** 2)


def _without_square(gained, lost):
    return math.ceil(1.96 * (gained + lost) / (gained - lost) ** 2)


def _rounded_down(gained, lost):
    return int(1.96**2 * (gained + lost) / (gained - lost) ** 2)


@refuses(_difference_alone, "in both directions")
@refuses(_without_square, "not its square")
@refuses(_rounded_down, "round up")
@refuses(lambda gained, lost: 0.0, "For a gain of")
def check_11_4(rows_needed):
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
    return (
        "217 and 747 questions: ALR's 656 test questions may or may not be enough. To find such a "
        "gain four times in five it takes twice as many."
    )
