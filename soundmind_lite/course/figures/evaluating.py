"""The figures of notebook 06: seeds beside intervals, and the ablation."""

from statistics import fmean

from ...runs.report import BLUE, GREY, ORANGE, WIDTH
from .. import show


def seeds(results: list[dict]) -> show.Picture:
    """The accuracy of each run with its 95 % interval; `results` are those of `result.json`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
    axes = figure.subplots()
    told = []
    for y, result in enumerate(results):
        after = result["after"]
        low, accuracy, high = (100 * after[key] for key in ("ci_low", "accuracy", "ci_high"))
        margins = [[accuracy - low], [high - accuracy]]
        axes.errorbar(accuracy, y, xerr=margins, fmt="o", color=BLUE, capsize=5)
        axes.annotate(f"{accuracy:.1f} %", (accuracy, y - 0.18), ha="center", fontsize=10)
        told.append(f"seed {result['seed']}: {accuracy:.1f} percent, {low:.0f} to {high:.0f}")
    axes.set_yticks(range(len(results)), [f"seed {result['seed']}" for result in results])
    axes.set(xlabel="test accuracy in %, with its 95 % interval", ylim=(len(results) - 0.6, -0.7))
    alt = "Test accuracy after training and its 95 percent interval for each seed. "
    return show.picture(figure, alt + "; ".join(told) + ".")


def ablation(accuracies: dict[str, list[float]], *, before: float) -> show.Picture:
    """Each row's accuracies (0 to 1, one a seed) as dots, their mean as a bar below them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    told = []
    for y, (rewards, values) in enumerate(accuracies.items()):
        percent = [100 * value for value in values]
        mean = fmean(percent)
        heights = [y - 0.3 + 0.12 * seed for seed in range(len(percent))]  # equal ones stay apart
        (dots,) = axes.plot(percent, heights, "o", color=BLUE)
        (bar,) = axes.plot(mean, y + 0.25, "|", color=ORANGE, markersize=14, markeredgewidth=3)
        told.append(f"{rewards}: {min(percent):.1f} to {max(percent):.1f}, mean {mean:.1f}")
    axes.axvline(100 * before, color=GREY, linestyle="--")
    axes.annotate("before training", (100 * before + 0.8, -0.35), fontsize=10)
    names = ["one seed", "mean of the seeds"]
    figure.legend([dots, bar], names, loc="outside upper center", ncols=2, frameon=False)
    axes.set_yticks(range(len(accuracies)), accuracies)
    axes.set(xlabel="test accuracy in %", xlim=(50, 100), ylim=(len(accuracies) - 0.4, -0.6))
    alt = (
        "Test accuracy in percent after training with all rewards and with one left out, one dot "
        f"for each seed and a bar for their mean. {'; '.join(told)}. "
        f"Before training: {100 * before:.1f}."
    )
    return show.picture(figure, alt)
