"""The figures of notebook 11: how wide an interval is, and a run's result beside the paper's."""

from ... import evaluation
from ...runs.report import BLUE, GREEN, GREY, ORANGE, WIDTH, interval
from .. import show

PAPER_ROWS = 656  # test questions of ALR
PAPER = {"paper, 7B, before": 509, "paper, 7B, after": 534}  # of them answered right
MARKS = "os^Dv"


def intervals(accuracy: float, counts: tuple[int, ...]) -> show.Picture:
    """The 95 % interval of an accuracy that was measured on each of these numbers of questions."""
    measured = {}
    for count in counts:
        right = round(accuracy * count)
        low, high = evaluation.wilson_interval(right, count)
        found = {"accuracy": right / count, "ci_low": low, "ci_high": high}
        measured[f"{right} of {count}"] = found
    words = f"The 95 % interval of an accuracy of about {accuracy:.0%}, by number of questions"
    return _drawn(measured, [BLUE] * len(measured), words)


def result(before: dict, after: dict, swapped: dict, *, paper: bool) -> show.Picture:
    """The accuracies of a run with their 95 % intervals, from the summaries of its measurements;
    `paper` adds the paper's two, which compare with runs on ALR alone."""
    measured = {"before": before, "after": after, "another question's\naudio": swapped}
    colours = [BLUE, GREEN, ORANGE]
    if paper:
        for name, right in PAPER.items():
            low, high = evaluation.wilson_interval(right, PAPER_ROWS)
            measured[name] = {"accuracy": right / PAPER_ROWS, "ci_low": low, "ci_high": high}
            colours.append(GREY)
    return _drawn(measured, colours, "Accuracy on the run's test questions, greedy")


def _drawn(measured: dict[str, dict], colours: list[str], words: str) -> show.Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.1 + 0.6 * len(measured)), layout="constrained")
    axes = figure.subplots()
    for (name, found), colour, mark in zip(measured.items(), colours, MARKS):
        value = 100 * found["accuracy"]
        below, above = value - 100 * found["ci_low"], 100 * found["ci_high"] - value
        axes.errorbar(value, name, xerr=[[below], [above]], fmt=mark, color=colour, capsize=5)
    axes.axvline(50, color=GREY, linestyle=":")
    axes.set_xlabel("% right, with the 95 % interval\n(dotted: a coin)")
    axes.set_xlim(0, 100)
    axes.margins(y=0.2)
    axes.invert_yaxis()
    values = "; ".join(f"{name}: {interval(found)}" for name, found in measured.items())
    return show.picture(figure, f"{words}: {values}.".replace("\n", " "))
