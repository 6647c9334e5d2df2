"""The figures of notebook 08: word errors by speed and by noise, and distorted questions."""

from ...runs.report import BLUE, GREY, ORANGE, WIDTH
from .. import show


def word_errors(by_speed: dict[str, float], by_noise: dict[str, float]) -> show.Picture:
    """Two curves of word error rates (0 to 1): by the voice's speed, by the SNR in dB."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    above, below = figure.subplots(2, 1, sharey=True)
    panels = (
        (above, by_speed, "o-", BLUE, "speed (1: the voice's normal pace)"),
        (below, by_noise, "s--", ORANGE, "SNR in dB (noisier to the right)"),
    )
    for axes, rates, line, colour, label in panels:
        values = [float(value) for value in rates]
        percent = [100 * rate for rate in rates.values()]
        axes.plot(values, percent, line, color=colour)
        for value, rate in zip(values, percent):
            offset = {"xytext": (0, 7), "textcoords": "offset points"}
            axes.annotate(f"{rate:.0f} %", (value, rate), ha="center", fontsize=10, **offset)
        highest = 100 * max(*by_speed.values(), *by_noise.values())
        axes.set(xlabel=label, ylabel="WER in %", xticks=values, ylim=(-3, 1.2 * highest))
    below.invert_xaxis()
    alt = (
        f"Mean word error rate of spoken answers. By the speed of the voice: {_told(by_speed)}. "
        f"By the signal-to-noise ratio: {_told(by_noise, ' dB')}."
    )
    return show.picture(figure, alt)


def _told(rates: dict[str, float], unit: str = "") -> str:
    return ", ".join(f"{rate:.0%} at {value}{unit}" for value, rate in rates.items())


def tolerated(by_change: dict[str, dict]) -> show.Picture:
    """Accuracy with its 95 % interval, and below it the share of exact premises, for each kind of
    audio; the values are those of `evaluation.summary`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    axes = figure.subplots()
    told = []
    for y, (name, found) in enumerate(by_change.items()):
        accuracy = 100 * found["accuracy"]
        margins = [[accuracy - 100 * found["ci_low"]], [100 * found["ci_high"] - accuracy]]
        upper, lower = y - 0.17, y + 0.17  # so that equal values don't cover each other
        dot = axes.errorbar(accuracy, upper, xerr=margins, fmt="o", color=BLUE, capsize=4)
        (cross,) = axes.plot(100 * found["premises_exact"], lower, "X", color=ORANGE, markersize=8)
        told.append(f"{name}: {accuracy:.0f} right, {100 * found['premises_exact']:.0f} restated")
    axes.axvline(50, color=GREY, linestyle="--")
    axes.set_yticks(range(len(by_change)), by_change, fontsize=10)
    rows = next(iter(by_change.values()))["n"]
    axes.set(xlabel=f"% of {rows} rows", xlim=(-3, 103), ylim=(len(by_change) - 0.5, -0.5))
    names = ["accuracy, 95 % interval", "all three sentences restated exactly"]
    figure.legend([dot, cross], names, fontsize=10, loc="outside upper center")
    alt = (
        f"Percent of {rows} answers that are right, with the 95 percent interval, and percent that "
        f"restate all three sentences exactly, by what was done to the audio. {'; '.join(told)}. "
        "A dashed line marks 50 percent."
    )
    return show.picture(figure, alt)
