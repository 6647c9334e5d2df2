"""The figure of notebook 07: answers by verdict and chain."""

from collections import Counter

from ...runs.report import BLUE, GREEN, GREY, ORANGE, WIDTH
from .. import chains, show

# (right, chain) → words, colour; what isn't listed is a wrong answer
KINDS = {
    (True, chains.VALID): ("right, every step valid", BLUE),
    (True, chains.FALSE_STEP): ("right, a false step", ORANGE),
    (True, chains.NO_CHAIN): ("right, no chain", GREEN),
}
WRONG = ("wrong", GREY)
GAP, ROOM = 1, 14  # answers between two parts of a bar; answers of a part that has room for figures


def outcomes(counts: dict[str, Counter]) -> show.Picture:
    """A bar for each run: its answers by verdict and chain, as `chains.kinds` counts them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.2 + 0.5 * len(counts)), layout="constrained")
    axes = figure.subplots()
    told, keys = [], [key for key in KINDS if any(found[key] for found in counts.values())]
    for y, (run, found) in enumerate(counts.items()):
        parts = [(*KINDS[key], found[key]) for key in keys]
        parts.append((*WRONG, found.total() - sum(size for *_, size in parts)))
        start = 0
        for words, colour, size in parts:
            label = words if y == 0 else None
            axes.barh(y, max(0, size - GAP), left=start, color=colour, label=label)
            if size >= ROOM:
                middle = start + size / 2
                axes.text(middle, y, size, ha="center", va="center", color="white", fontsize=10)
            start += size
        told.append(f"{run}: " + ", ".join(f"{size} {words}" for words, _, size in parts if size))
    names = [run.replace(", ", ",\n") for run in counts]
    axes.set_yticks(range(len(counts)), names, fontsize=10)
    axes.invert_yaxis()
    axes.set(xlabel="answers to the test questions", xlim=(0, found.total()))
    figure.legend(loc="outside upper center", ncols=2, fontsize=10, frameon=False)
    alt = "Answers by verdict and chain, one bar for each run. " + "; ".join(told) + "."
    return show.picture(figure, alt)
