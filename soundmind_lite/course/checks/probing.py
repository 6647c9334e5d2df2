"""Checks of notebook 02: the model before training."""

from math import comb

from ...models import audio_token_count
from ..checking import Wrong, call, entries, expect, near, number, refuses


@refuses(lambda seconds: 100 * seconds, "That counts mel frames")
@refuses(lambda seconds: 50 * seconds, "One halving is missing")
def check_02_1(audio_tokens):
    for seconds in (1.0, 6.7, 62.33):
        expected = int(audio_token_count(round(seconds * 100)))
        found = number(call(audio_tokens, seconds))
        if near(found, seconds * 100, tolerance=1):
            raise Wrong(
                "That counts mel frames (100 a second). The encoder halves their number twice."
            )
        if near(found, seconds * 50, tolerance=1):
            raise Wrong(
                "One halving is missing: a strided convolution and an average pool each halve "
                "the number of frames."
            )
        if abs(found - expected) > 1:
            raise Wrong(f"For {seconds} s expected about {expected} tokens, got {found:.4g}.")
    return (
        "The mean question of ALR's train split, 62.33 s, takes about 1,558 tokens; "
        "the published prompt limit was 400."
    )


@refuses(600, "That is for ± 4 points")
@refuses(9604, "± 1 point")
@refuses("many", "Expected a number")
def check_02_2(rows_needed):
    mistakes = {
        "That is for ± 4 points. The 2 points are the half-width, not the full width.": 600.25,
        "That is for ± 1 point. The half-width is 2 points here.": 9604,
        "Keep the 1.96: an interval of one standard error covers only 68 %.": 625,
        "Take the square when you solve for n: n grows with 1 / half-width squared.": 49,
    }
    for diagnosis, rows in mistakes.items():
        if near(rows_needed, rows, tolerance=0.02 * rows):
            raise Wrong(diagnosis)
    expect(
        rows_needed,
        2425,
        mistakes={},
        otherwise="Solve 1.96 · sqrt(0.5 · 0.5 / n) = 0.02 for n.",
        tolerance=75,
        reveal=False,
    )
    return "It is 2,401 rows exactly. ALR's test split has 656: ± 3.8 points near one half."


@refuses(lambda n, c, k: 1 - (1 - c / n) ** k, "with replacement")
def check_02_3(my_pass_at_k):
    cases = ((8, 3, 1), (8, 3, 4), (8, 0, 2), (4, 4, 2))
    found = [call(my_pass_at_k, *case) for case in cases]
    expected = [1 - comb(n - c, k) / comb(n, k) for n, c, k in cases]
    mistakes = {
        "That draws with replacement, 1 - (1 - c/n)^k, and is biased. Count the ways to draw "
        "only wrong answers instead.": [1 - (1 - c / n) ** k for n, c, k in cases],
        "That is the chance that all k are wrong. Subtract it from 1.": [1 - e for e in expected],
    }
    otherwise = "For (n, c, k) = (8,3,1), (8,3,4), (8,0,2), (4,4,2):"
    expect(found, expected, mistakes=mistakes, otherwise=otherwise)


@refuses({"A": "listens", "B": "listens", "C": "the test leaks"}, "B: compare")
def check_02_4(answers):
    truth = {"A": "listens", "B": "ignores the sound", "C": "the test leaks"}
    reasons = {
        "A": "It is right with its own audio, and at chance with another question's.",
        "B": "Nothing changes when the audio changes, and it stays at chance.",
        "C": "It is right even with another question's audio, so the verdict must come from "
        "somewhere else.",
    }
    entries(answers, truth, choices=truth.values())
    for model, kind in truth.items():
        if answers[model] != kind:
            raise Wrong(
                f"{model}: compare its accuracy with its own audio and with swapped audio. "
                f"({reasons[model]})"
            )
