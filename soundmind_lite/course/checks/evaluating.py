"""Checks of notebook 06: evaluation and the paper's figures."""

from math import comb

from ..checking import Wrong, call, expect, near, number, refuses, text


def _mcnemar(before, after, *, rows: bool = False, sides: int = 2) -> float:
    """The p of 06.1, or what its usual mistakes give: all rows as tosses, one side alone."""
    gained = sum(now and not was for was, now in zip(before, after))
    lost = sum(was and not now for was, now in zip(before, after))
    tosses = len(before) if rows else gained + lost
    tail = sum(comb(tosses, heads) for heads in range(max(gained, lost), tosses + 1))
    return min(1.0, sides * tail / 2**tosses)


@refuses(lambda before, after: _mcnemar(before, after, rows=True), "Only rows that changed")
@refuses(lambda before, after: _mcnemar(before, after, sides=1), "one side")
@refuses(lambda before, after: 2 * _mcnemar(before, after, sides=1), "at most 1")
@refuses(lambda was, now: 0.0 if was == now else _mcnemar(was, now), "No row changed")
@refuses(lambda before, after: sum(after) - sum(before), "a probability")
def check_06_1(mcnemar_p):
    cases = (
        ([True] * 3 + [False] * 7, [True] * 10, "Seven rows gained, none lost"),
        ([True] * 4 + [False] * 6, [True] * 2 + [False] * 2 + [True] * 6, "Six gained, two lost"),
    )
    for before, after, what in cases:
        found = number(call(mcnemar_p, before, after))
        mistakes = {
            f"{what}, and others stayed. Only rows that changed are tosses of the coin.": _mcnemar(
                before, after, rows=True
            ),
            f"{what}. This counts one side alone. A coin that falls as far to the other side "
            "counts, too: double it.": _mcnemar(before, after, sides=1),
        }
        otherwise = f"{what}: p is a probability, 2 · P(at least max(gained, lost) heads)."
        expect(found, _mcnemar(before, after), mistakes=mistakes, otherwise=otherwise)
    even = number(call(mcnemar_p, [True, False], [False, True]))
    if even > 1.001:
        raise Wrong(f"One gained, one lost: a probability is at most 1, got {even:.3g}.")
    if not near(even, 1.0):
        raise Wrong(f"One gained, one lost, exactly as many: p is 1, got {even:.3g}.")
    if not near(call(mcnemar_p, [True, False], [True, False]), 1.0):
        raise Wrong("No row changed, exactly as many gained as lost: p is 1, not 0 or an error.")
    return "300 → 320 of 656 is p = 2e-6 for 20 gained, none lost; 0.20 for 120 gained, 100 lost."


@refuses(lambda form: True, "the conclusion itself follows")
@refuses(lambda form: False, "all P are S")
@refuses(lambda form: form[2][0] == "A", "the conclusion itself follows")
@refuses(lambda form: form[2][1] == "P", "a 'no' may be converted")
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
        (("AMP", "AMS", "APS"), False, "neither the conclusion nor its converse follows"),
    )
    for form, expected, reason in cases:
        statements = tuple(tuple(statement) for statement in form)
        if bool(call(is_illicit_conversion, statements)) != expected:
            raise Wrong(f"{form}: {reason}. Your function says {not expected}.")
    return "Seed 0: 10 of its 15 errors are of this kind."


@refuses(2.42, "of a single share")
@refuses(1.21, "Variances add")
@refuses(-1.71, "The sign")
@refuses(0.017, "per cent")
def check_06_3(z):
    a, b, n = 534 / 656, 509 / 656, 656
    pooled = (a + b) / 2
    variance = pooled * (1 - pooled) / n  # of one share
    expected = (a - b) / (2 * variance) ** 0.5
    mistakes = {
        "This divides by the standard error of a single share; both shares have one. "
        "What is the variance of a difference?": (a - b) / variance**0.5,
        "Variances add; standard errors don't.": (a - b) / (2 * variance**0.5),
        "The sign says that the base model is better.": -expected,
        "Don't mix shares and per cent: a, b and p are all shares.": expected / 100,
    }
    otherwise = "The variance of the difference is 2 p (1 - p) / n, with p the mean of both shares."
    expect(z, expected, mistakes=mistakes, otherwise=otherwise, tolerance=0.005, reveal=False)
    return (
        "1.71 is short of 1.96: an unpaired test can't tell 81.40 from 77.59. "
        "A paired test might, but the answers are not published."
    )


def _within(tolerance: float):
    """An answer to 06.4 that takes a figure within so many rows of a whole number."""
    return lambda figure, n: abs(figure / 100 * n - round(figure / 100 * n)) < tolerance


@refuses(lambda figure, n: True, "the nearest count is")
@refuses(_within(0.1), "tolerance in rows")
@refuses(_within(0.01), "can be one")
@refuses(lambda figure, n: round(100 * round(figure * 6.56) / 656, 2) == figure, "for n = 240")
def check_06_4(possible):
    figures = {81.40: True, 77.59: True, 70.82: False, 48.84: False, 60.24: False, 54.88: True}
    for figure, expected in figures.items():
        if bool(call(possible, figure, 656)) != expected:
            nearest = round(figure / 100 * 656)
            raise Wrong(
                f"{figure} %: the nearest count is {nearest} of 656 = {nearest / 6.56:.2f} %, so "
                f"{figure} {'can' if expected else 'can not'} be one."
            )
    for n in (656, 240):
        for k in range(1, n):
            share = round(100 * k / n, 2)
            if not call(possible, share, n):
                raise Wrong(f"{k} of {n} is {share:.2f} %, so {share:.2f} can be one for n = {n}.")
            for figure in (round(share - 0.01, 2), round(share + 0.01, 2)):
                if call(possible, figure, n):
                    raise Wrong(
                        f"{figure:.2f} %: for n = {n} the nearest count is {k}, which is "
                        f"{share:.2f} %. A tolerance in rows is too coarse: compare the two "
                        "digits that are printed."
                    )
    return (
        "The three ablation figures are no share of 656 rows, so they were not measured on "
        "exactly these rows, or not in this way."
    )


SPENDING = {
    "A": "Two more seeds for each of four rows leave five a row, and half of the runs answer a "
    "question that nobody asked. Which two rows does the question compare?",
    "C": "More questions narrow the interval of each model, but these three seeds differ by six "
    "points on the same questions. What varies that more questions don't average out?",
    "D": "One long run is still one draw, and it trains for longer than the runs it would be "
    "compared with. How many draws does a comparison of two rewards need?",
}


@refuses("A", "nobody asked")
@refuses("C", "on the same questions")
@refuses("D", "still one draw")
def check_06_5(choice):
    letter = text(choice).strip().upper()
    if letter in SPENDING:
        raise Wrong(SPENDING[letter])
    if letter != "B":
        raise Wrong('Choose one of "A", "B", "C" and "D".')
    return (
        "The seeds of a row spread over six points, and the two means differ by one. Seven seeds "
        "in each of the two rows make the standard error of that difference about 1.6 points, "
        "instead of 2.5 with three: a drop of five points would usually show, one of one would not."
    )
