"""Figures of notebook 05: runs beside each other, in stacked panels."""

import math

from ...runs.report import BLUE, GREEN, GREY, LINES, ORANGE, PINK, WIDTH, smoothed, values_of
from .. import short_runs, show

TITLE = 11  # points
BATCHES = 5  # of completions, whose mean reward is drawn
LAST = 3  # values whose mean the words give
ZERO_STD = {"key": "frac_reward_zero_std", "label": "share of zero-std groups"}
KL = {"key": "kl", "label": "KL to the reference", "log_scale": True, "width": 1}
CLIPPED = {"key": "clip_ratio/region_mean", "label": "share of clipped tokens", "width": 1}
# The measure that explains what a field of the configuration does
EXPLAINS = {
    "num_generations": ZERO_STD,
    "temperature": ZERO_STD,
    "learning_rate": KL,
    "beta": KL,
    "num_iterations": CLIPPED,
}


def knob(runs: dict[str, list[dict]], name: str, seeds: list[list[dict]]) -> show.Picture:
    """The runs of `short_runs.by_run` that differ in the field `name`; `seeds` as in `one_knob`."""
    return one_knob(short_runs.of_knob(runs, name), seeds=seeds, **EXPLAINS[name])


def one_knob(
    runs: dict[str, list[dict]],
    *,
    key: str,
    label: str,
    seeds: list[list[dict]] = (),
    log_scale: bool = False,
    width: int = 5,
) -> show.Picture:
    """The reward of some runs, and under it the measure that explains it.

    `runs` are logs by name, `key` is the measure's name in a log and `label` its name for a reader.
    `seeds` are logs of runs that differ in nothing but the seed: their range is drawn as a grey
    band. Rewards are means over five batches of completions, the measure is one over `width` steps.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    band = ""
    if seeds:
        longest = max(log[-1]["step"] for log in runs.values())
        means = [_course(log[:longest], "reward", BATCHES)[1] for log in seeds]
        low, high = [min(at) for at in zip(*means)], [max(at) for at in zip(*means)]
        above.fill_between(range(1, longest + 1), low, high, color=GREY, alpha=0.25, linewidth=0)
        band = " (grey: the range of three seeds)"
    for (name, log), (colour, style) in zip(runs.items(), LINES):
        look = {"color": colour, "linestyle": style, "label": name}
        above.plot(*_course(log, "reward", BATCHES), **look)
        below.plot(*_course(log, key, width), **look)
    below.xaxis.get_major_locator().set_params(integer=True)
    above.set_title(f"reward, mean of five batches\n{band}".strip(), fontsize=TITLE)
    above.set(ylabel="reward (of 4)", ylim=(0, 4.1))
    below.set_title(label, fontsize=TITLE)
    below.set_xlabel("step")
    if log_scale:
        below.set_yscale("log", nonpositive="mask")
    else:
        below.set_ylim(0, None)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", frameon=False)
    return show.picture(figure, in_words(runs, {"reward": "reward", key: label}))


def _course(metrics: list[dict], key: str, width: int) -> tuple[list[int], list[float]]:
    """Steps and means over `width` steps of a measure, without the steps that didn't log it."""
    there = [entry for entry in metrics if entry.get(key) is not None]
    return [entry["step"] for entry in there], smoothed(values_of(there, key), width)


def in_words(runs: dict[str, list[dict]], measures: dict[str, str]) -> str:
    """Each measure's first value and the mean of its last three, run by run; `measures` are names
    for a reader by their name in the log."""
    parts = []
    for name, metrics in runs.items():
        courses = []
        for key, label in measures.items():
            values = [v for v in values_of(metrics, key) if not math.isnan(v)]
            last = values[-LAST:]
            ends = (
                f"from {values[0]:.3g} to {sum(last) / len(last):.3g}" if values else "not logged"
            )
            courses.append(f"{label} {ends}")
        parts.append(f"{name}: {', '.join(courses)}")
    return f"The first value, and the mean of the last {LAST}. {'; '.join(parts)}."


def paid_and_unpaid(metrics: list[dict], *, paid: str) -> show.Picture:
    """A run in which one reward has a weight and the text rewards are logged with weight 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps = [entry["step"] for entry in metrics]
    name = paid.replace("_", " ")
    above.plot(steps, values_of(metrics, f"rewards/{paid}/mean"), color=BLUE, marker=".")
    above.set_title(f"paid: {name}", fontsize=TITLE)
    above.set(ylabel="reward", ylim=(0, None))
    unpaid = (("answer_reward", ORANGE, "--"), ("text_format_reward", GREEN, ":"))
    for term, colour, style in unpaid:
        values = values_of(metrics, f"rewards/{term}/mean")
        label = term.replace("_", " ")
        below.plot(steps, values, style, color=colour, marker=".", label=label)
    below.xaxis.get_major_locator().set_params(integer=True)
    below.set_title("measured, but not paid", fontsize=TITLE)
    below.set(xlabel="step", ylabel="reward", ylim=(0, 2.05))
    below.legend(frameon=False)
    measures = {f"rewards/{term}/mean": term.replace("_", " ") for term, *_ in unpaid}
    measures = {f"rewards/{paid}/mean": f"{name} (paid)"} | measures
    return show.picture(figure, in_words({"Your run": metrics}, measures))


def healthy_and_sick(runs: dict[str, list[dict]]) -> show.Picture:
    """Reward and KL of a healthy run and of two that fail, each run as long as it was."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    looks = ((BLUE, "-"), (ORANGE, "--"), (PINK, ":"))
    parts = []
    for (name, metrics), (colour, style) in zip(runs.items(), looks):
        steps = [entry["step"] for entry in metrics]
        reward, kl = values_of(metrics, "reward"), values_of(metrics, "kl")
        above.plot(steps, reward, style, color=colour, label=name)
        below.plot(steps, [max(value, 1e-5) for value in kl], style, color=colour)
        best, worst = reward.index(max(reward)), kl.index(max(kl))
        parts.append(
            f"{name}, {len(steps)} steps: reward from {reward[0]:.2f}, highest {reward[best]:.2f} "
            f"at step {steps[best]}, to {reward[-1]:.2f}; "
            f"KL highest at step {steps[worst]}, {kl[worst]:.2g}"
        )
    above.set_title("reward", fontsize=TITLE)
    above.set(ylabel="reward (of 4)", ylim=(0, 4.1))
    below.xaxis.get_major_locator().set_params(integer=True)
    below.set_title("KL to the reference (a 0 is drawn at 0.00001)", fontsize=TITLE)
    below.set(xlabel="step", ylabel="KL")
    below.set_yscale("log")
    figure.legend(loc="outside lower center", ncols=1, frameon=False)
    words = f"Reward, and KL on a logarithmic axis. {'. '.join(parts)}."
    return show.picture(figure, words)
