"""Figures of notebook 03: one group's advantages, and two runs that differ in `scale_rewards`."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ...runs.report import BLUE, GREY, ORANGE, WIDTH
from .. import show
from ..length_choice import Step

STYLES = ((ORANGE, "-"), (BLUE, "--"))
PANELS = {  # field of a step: title
    "words": "words of a thought",
    "accuracy": "share of right answers",
    "reward": "reward, the quantity that training should raise",
}


def two_scales(words: Sequence[int], advantages: Mapping[str, Sequence[float]]) -> show.Picture:
    """Bars of a group's advantages over the words of its thoughts, a panel for each scaling."""
    figure = Figure(figsize=(WIDTH, 2.1 * len(advantages)), layout="constrained")
    panels = figure.subplots(len(advantages), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    parts = []
    for axes, (name, values), (colour, _) in zip(panels, advantages.items(), STYLES):
        bars = axes.bar(range(len(words)), values, color=colour)
        digits = 2 if max(map(abs, values)) >= 1 else 3
        axes.bar_label(bars, fmt=f"%+.{digits}f", fontsize=10, padding=2)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set(ylabel="advantage")
        axes.margins(y=0.25)
        axes.set_title(f'scale_rewards="{name}"', fontsize=11)
        parts.append(f"{name}: from {min(values):+.2f} to {max(values):+.2f}")
    panels[-1].set_xticks(range(len(words)), words)
    panels[-1].set_xlabel("words of the thought")
    alt = (
        f"Advantages of {len(words)} right answers with thoughts of {min(words)} to {max(words)} "
        f"words, on one scale. With scale_rewards {'; '.join(parts)}."
    )
    return show.picture(figure, alt)


def length_runs(runs: Mapping[str, list[Step]]) -> show.Picture:
    """Small multiples over the steps of runs named by their `scale_rewards`."""
    figure = Figure(figsize=(WIDTH, 2 * len(PANELS)), layout="constrained")
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    parts = []
    for axes, (field, title) in zip(panels, PANELS.items()):
        for (name, log), (colour, style) in zip(runs.items(), STYLES):
            steps = [entry.step for entry in log]
            values = [getattr(entry, field) for entry in log]
            axes.plot(steps, values, style, color=colour, label=f'scale_rewards="{name}"')
            parts.append(f"{title}, {name}: from {values[0]:.3g} to {values[-1]:.3g}")
        axes.set_title(title, fontsize=11)
        axes.margins(y=0.15)
    panels[0].legend(fontsize=10, frameon=False)
    panels[-1].set_xlabel("step")
    return show.picture(figure, f"Two runs over {len(steps)} steps. {'; '.join(parts)}.")
