"""Checks of notebook 06: evaluation and the paper's figures."""

from ..checking import Wrong, call, expect, refuses


@refuses(lambda before, after: (1, 2), "wrong way round")
@refuses(lambda before, after: 3, "Expected a pair")
def check_06_1(changed):
    before, after = [True, True, False, False, False], [True, False, True, True, False]
    found = call(changed, before, after)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise Wrong(f"Expected a pair, (gained, lost), got {found!r:.60}.")
    mistakes = {
        "Gained and lost are the wrong way round.": [1.0, 2.0],
        "Count the rows that changed, not all rows that are right.": [3.0, 2.0],
    }
    otherwise = "Two rows went from wrong to right, one from right to wrong:"
    expect(found, [2.0, 1.0], mistakes=mistakes, otherwise=otherwise)
    return "The exact McNemar test uses these two numbers alone."


@refuses(lambda form: True, "the conclusion itself follows")
def check_06_2(is_illicit_conversion):
    cases = (
        (
            ("AMP", "ASM", "APS"),
            True,
            "all M are P, all S are M; concluded: all P are S (all S are P would follow)",
        ),
        (("AMP", "ASM", "ASP"), False, "the conclusion itself follows"),
        (("AMP", "AMS", "ASP"), False, "neither the conclusion nor its converse follows"),
        (("EMP", "ASM", "EPS"), False, "a 'no' may be converted, so the conclusion follows"),
    )
    for form, expected, reason in cases:
        statements = tuple(tuple(statement) for statement in form)
        if bool(call(is_illicit_conversion, statements)) != expected:
            raise Wrong(f"{form}: {reason}. Your function says {not expected}.")


@refuses(2.42, "Their variances add")
def check_06_3(z):
    a, b, n = 534 / 656, 509 / 656, 656
    pooled = (a + b) / 2
    variance = pooled * (1 - pooled) / n  # of one share
    expected = (a - b) / (2 * variance) ** 0.5
    mistakes = {
        "The standard error of a single share is too small: both shares have one. "
        "Their variances add.": (a - b) / variance**0.5,
        "Use shares under the root, not per cent.": 100 * expected,
        "The sign says that the base model is better.": -expected,
    }
    otherwise = "z = (a - b) / sqrt(2 p (1 - p) / n), with p the mean of both shares."
    expect(z, expected, mistakes=mistakes, otherwise=otherwise, tolerance=0.02)
    return (
        "1.71 is short of 1.96: an unpaired test can't tell 81.40 from 77.59. "
        "A paired test might, but the answers are not published."
    )


@refuses(lambda figure, n: True, "the nearest count is")
def check_06_4(possible):
    figures = {81.40: True, 77.59: True, 70.82: False, 48.84: False, 60.24: False, 54.88: True}
    for figure, expected in figures.items():
        if bool(call(possible, figure, 656)) != expected:
            nearest = round(figure / 100 * 656)
            raise Wrong(
                f"{figure} %: the nearest count is {nearest} of 656 = {nearest / 6.56:.2f} %. "
                f"Your function says {not expected}."
            )
    return (
        "The three ablation figures are no share of 656 rows, so they were not measured on "
        "exactly these rows, or not in this way."
    )
