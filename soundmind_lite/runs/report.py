"""What a run shows a person: its curves, a few answers side by side, and the table of results."""

import json
import math
import textwrap
from collections import defaultdict
from itertools import cycle
from pathlib import Path

# Okabe and Ito's colours stay apart for readers with any colour vision
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PINK, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
LINES = tuple(zip((BLUE, ORANGE, GREEN, PINK, SKY), DASHES))
ROLLOUT_KEYS = ("step", "id", "group", "completion", "advantage")  # the others are rewards
# Inches of a picture in a notebook. A phone shows it 358 px wide, so a point is 1.1 px there, and
# words of SMALLEST points are 11 px high.
WIDTH, SMALLEST = 4.5, 10
LONG_RUN = 15  # steps; a shorter run would be hidden by its own running mean


def read_lines(file: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl or completions.jsonl."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def groups_of(rollouts: list[dict]) -> dict[int, dict[str, list[dict]]]:
    """Rollouts (lines of completions.jsonl) by step and group.

    A group is named by its row's id, with its number where the id alone doesn't tell groups apart.

    >>> lines = [{"step": 1, "id": "a"}, {"step": 1, "id": "b", "group": 2}]
    >>> list(groups_of(lines)[1])
    ['a', 'b, group 2']
    """
    steps = defaultdict(lambda: defaultdict(list))
    for rollout in rollouts:
        name = rollout["id"]
        if "group" in rollout:
            name = f"{'without id' if name is None else name}, group {rollout['group']}"
        steps[rollout["step"]][name].append(rollout)
    return {step: dict(groups) for step, groups in steps.items()}


def reward_names(rollouts: list[dict]) -> list[str]:
    """The names of a run's rewards, in their order: all that a rollout holds beside its fields.

    >>> reward_names([{"step": 1, "id": "a", "completion": "", "brevity": None, "advantage": 0.0}])
    ['brevity']
    """
    names = dict.fromkeys(name for rollout in rollouts for name in rollout)
    return [name for name in names if name not in ROLLOUT_KEYS]


def values_of(metrics: list[dict], key: str) -> list[float]:
    """What the steps logged under a key; NaN where there was no value."""
    found = [entry.get(key) for entry in metrics]
    return [math.nan if value is None else value for value in found]


def smoothed(values: list[float], width: int = 5) -> list[float]:
    """Mean over each step and up to `width` - 1 steps before it; NaN stays a gap, and counts in no
    other step's mean.

    >>> smoothed([1.0, math.nan, 2.0], 2)
    [1.0, nan, 2.0]
    """
    means = []
    for i, value in enumerate(values):
        window = values[max(0, i + 1 - width) : i + 1]
        valid = [number for number in window if not math.isnan(number)]
        means.append(value if math.isnan(value) else sum(valid) / len(valid))
    return means


def draw(metrics: list[dict], *, columns: int = 3):
    """A figure of three panels over the steps: reward terms, spread within groups, and length and
    KL. Bold lines are means of five steps. `columns` is 3, or 1 for a narrow screen."""
    from matplotlib.figure import Figure

    steps = [entry["step"] for entry in metrics]
    width = 5 if len(metrics) >= LONG_RUN else 1
    figure = Figure(figsize=(12, 4.4) if columns == 3 else (WIDTH, 9), layout="constrained")
    terms, groups, drift = figure.subplots(3 // columns, columns)

    def line(axes, key, label, colour, style):
        values = values_of(metrics, key)
        look = {"linestyle": style, "color": colour, "marker": "." if _alone(values) else None}
        if width > 1:
            axes.plot(steps, values, alpha=0.4, linewidth=0.8, **look)
        return axes.plot(steps, smoothed(values, width), label=label, **look)

    for name, (colour, style) in zip(term_names(metrics), cycle(LINES)):
        label = name.replace("_", " ").replace("$", r"\$")  # which would begin a formula
        line(terms, f"rewards/{name}/mean", label, colour, style)
    terms.set(title="Reward terms", xlabel="step", ylabel="reward")
    low, high = terms.get_ylim()
    terms.set_ylim(min(0.0, low), max(0.0, high))  # so that heights compare, and penalties show
    line(groups, "reward_std", "std of the reward", BLUE, "-")
    line(groups, "frac_reward_zero_std", "share of zero-std groups", ORANGE, "--")
    groups.set(title="Spread within groups", xlabel="step", ylabel="std, and share")
    groups.set_ylim(0, None)
    lengths = line(drift, "completions/mean_length", "tokens of a completion", GREEN, "-")
    drift.set(title="Length, and KL", xlabel="step", ylabel="tokens")
    drift.set_ylim(0, None)
    if "kl" in metrics[0]:
        right = drift.twinx()
        lengths += line(right, "kl", "KL to the reference (right axis)", PINK, "--")
        right.set(ylabel="KL", ylim=(0, None))
    for axes in (terms, groups, drift):
        axes.xaxis.get_major_locator().set_params(integer=True)  # there are no half steps
    depth = -0.16 if columns == 3 else -0.22
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, depth), "fontsize": SMALLEST}
    terms.legend(frameon=False, **below)
    groups.legend(frameon=False, **below)
    drift.legend(handles=lengths, frameon=False, **below)
    if width > 1:
        figure.supxlabel("bold: mean of five steps, thin: each step", fontsize=SMALLEST, color=GREY)
    return figure


def term_names(metrics: list[dict]) -> list[str]:
    """The reward functions of a run, in their order, whatever they are called."""
    keys = dict.fromkeys(key for entry in metrics for key in entry)
    means = [key for key in keys if key.startswith("rewards/") and key.endswith("/mean")]
    return [key.removeprefix("rewards/").removesuffix("/mean") for key in means]


def _alone(values: list[float]) -> bool:
    """Is there a value between two gaps, which a line alone wouldn't show?"""
    there = [False, *(not math.isnan(value) for value in values), False]
    return any(a < b > c for a, b, c in zip(there, there[1:], there[2:]))


def in_words(metrics: list[dict]) -> str:
    """What the curves show, for readers who don't see them: where each line begins, its peak on the
    way, where it ends, and in how many steps there was a value, if not in all."""

    def course(name: str, key: str) -> str:
        pairs = zip(metrics, values_of(metrics, key))
        points = [(entry["step"], value) for entry, value in pairs if not math.isnan(value)]
        if not points:
            return f"{name} without a value in any step"
        steps, values = zip(*points)
        peak = max(range(len(values)), key=values.__getitem__)
        middle = ""
        if 0 < peak < len(values) - 1:
            middle = f", highest {values[peak]:.2f} at step {steps[peak]},"
        gaps = f" (in {len(values)} of {len(metrics)} steps)" if len(values) < len(metrics) else ""
        return f"{name} from {values[0]:.2f}{middle} to {values[-1]:.2f}{gaps}"

    parts = [course(name.replace("_", " "), f"rewards/{name}/mean") for name in term_names(metrics)]
    parts.append(course("std of the reward", "reward_std"))
    parts.append(course("share of zero-std groups", "frac_reward_zero_std"))
    parts.append(course("tokens of a completion", "completions/mean_length"))
    if "kl" in metrics[0]:
        parts.append(course("KL", "kl"))
    return f"Training curves over {len(metrics)} steps, single steps: {'; '.join(parts)}."


def curves(metrics_file: Path, picture: Path, result: dict) -> None:
    """Saves the curves of a run, with the test accuracy in the title."""
    figure = draw(read_lines(metrics_file))
    before, after = result["before"], result["after"]
    run = f"{result['profile']}, {result['algorithm']}, seed {result['seed']}"
    title = f"{run}, not measured on the test rows"
    if before and after:
        accuracy = f"test accuracy {before['accuracy']:.1%} → {after['accuracy']:.1%}"
        how = f"greedy, n = {after['n']}, paired p = {result['paired_p']:.1g}"
        title = f"{run}: {accuracy} ({how})"
    figure.suptitle(title, fontsize=11)
    figure.savefig(picture, dpi=110, bbox_inches="tight")


def side_by_side(rows: list[dict], before: list, after: list) -> str:
    """The first five answers before and after training, in two columns."""
    width = 58  # characters of a column
    blocks = []
    for row, *pair in list(zip(rows, before, after))[:5]:
        columns = []
        for when, answer in zip(("before", "after"), pair):
            column = [f"{when} ({'right' if answer.correct else 'wrong'})"]
            for line in answer.completion.splitlines():
                column += textwrap.wrap(line, width)
            columns.append(column)
        height = max(map(len, columns))
        left, right = (column + [""] * (height - len(column)) for column in columns)
        block = [textwrap.fill(f"{row['id']}: {row['question']}", 2 * width + 3)]
        block += [f"{a:{width}} │ {b}".rstrip() for a, b in zip(left, right)]
        blocks.append("\n".join(block))
    return "\n\n".join(blocks)


def interval(measured: dict) -> str:
    """Accuracy with its 95 % interval, of a summary that `evaluation.summary` made.

    >>> interval({"accuracy": 0.5625, "ci_low": 0.499, "ci_high": 0.624})
    '56.2% (50%–62%)'
    """
    return f"{measured['accuracy']:.1%} ({measured['ci_low']:.0%}–{measured['ci_high']:.0%})"


def table(result: dict) -> str:
    """The result in words and figures."""
    whens = [when for when in ("before", "after", "swapped_audio") if result[when]]
    measured = [result[when] for when in whens]

    def row(name: str, values: list[str]) -> str:
        return f"{name:22}" + "".join(f"{value:>18}" for value in values)

    def shares(key: str) -> list[str]:
        return [f"{summary[key]:.1%}" for summary in measured]

    lines = [""]
    tested = "not measured on the test rows"
    if measured:
        lines += [
            row("", [when.replace("_", " ") for when in whens]),
            row("accuracy, greedy", [interval(summary) for summary in measured]),
        ]
        if measured[0]["sampled_accuracy"] is not None:
            lines.append(row("accuracy, sampled", shares("sampled_accuracy")))
        lines.append(row("format", shares("format_rate")))
        lines.append(row("premises exact", shares("premises_exact")))
        tested = f"{measured[0]['n']} test rows, exact McNemar p = {result['paired_p']:.2g}"
    if measured and "spoken" in measured[0]:
        spoken = [summary["spoken"] for summary in measured[:2]]
        rates = [f"{s['wer']:.1%} ({s['wer_low']:.1%}–{s['wer_high']:.1%})" for s in spoken]
        lines.append(row("accuracy, transcript", [interval(summary) for summary in spoken]))
        lines.append(row("word error rate", rates))
        lines.append(f"voice: {spoken[0]['voice']}")
    how = f"{result['steps']} steps of {result['algorithm']}, seed {result['seed']}"
    cost = f"{result['seconds']:.0f} s, {result['peak_memory_mb']} MB at the peak"
    lines.append(f"\n{tested}; {how}; {cost}")
    if "breakdown" in result:
        parts = sorted(result["breakdown"].items(), key=lambda part: -part[1])
        named = [f"{name} {seconds / result['seconds']:.0%}" for name, seconds in parts]
        lines.append("time: " + ", ".join(named))
    if result.get("skipped_rows"):
        skipped = f"{result['skipped_rows']} rows left out, since they can't be used"
        lines.append(f"{skipped}; skipped.json lists them")
    if result["profile"] == "tiny":
        lines.append("A tiny model on a tiny task: these figures say nothing about the paper's.")
    return "\n".join(lines)
