"""What a run shows a person: its curves, a few answers side by side, and the table of results."""
import json
import textwrap
from collections import defaultdict
from itertools import cycle
from pathlib import Path

# Okabe and Ito's colours stay apart for readers with any colour vision
BLUE, ORANGE, GREEN, PINK, SKY, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#666666"
LINES = tuple(zip((BLUE, ORANGE, GREEN, PINK, SKY), ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))))


def read_lines(file: Path) -> list[dict]:
    """The lines of a run's metrics.jsonl or completions.jsonl."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def groups_of(rollouts: list[dict]) -> dict[int, dict[str, list[dict]]]:
    """Rollouts (lines of completions.jsonl) by step and question."""
    steps = defaultdict(lambda: defaultdict(list))
    for rollout in rollouts:
        steps[rollout["step"]][rollout["id"]].append(rollout)
    return {step: dict(groups) for step, groups in steps.items()}


def smoothed(values: list[float], width: int = 5) -> list[float]:
    """Mean over each step and up to `width` - 1 steps before it."""
    return [sum(values[max(0, i + 1 - width) : i + 1]) / len(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]


def draw(metrics: list[dict]):
    """A figure of three panels over the steps: reward terms, variance within groups, and length and drift. Bold lines are means of five steps."""
    from matplotlib.figure import Figure

    steps, width = [m["step"] for m in metrics], 5 if len(metrics) >= 15 else 1  # a short run would be hidden by its own mean
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    terms, groups, drift = figure.subplots(1, 3)

    def line(axes, key, label, colour, style):
        values = [m[key] for m in metrics]
        if width > 1:
            axes.plot(steps, values, linestyle=style, color=colour, alpha=0.4, linewidth=0.8)
        return axes.plot(steps, smoothed(values, width), linestyle=style, color=colour, label=label)

    for name, (colour, style) in zip(term_names(metrics), cycle(LINES)):
        line(terms, f"rewards/{name}/mean", name.replace("_", " "), colour, style)
    terms.set(title="Reward terms", xlabel="step", ylabel="points", ylim=(0, 2.1))
    line(groups, "reward_std", "std of the reward, points", BLUE, "-")
    line(groups, "frac_reward_zero_std", "share of groups without variance", ORANGE, "--")
    groups.set(title="Is there something to learn from?", xlabel="step", ylabel="points, and share", ylim=(0, None))
    handles = line(drift, "completions/mean_length", "tokens of a completion", GREEN, "-")
    drift.set(title="Length, and distance from the start", xlabel="step", ylabel="tokens", ylim=(0, None))
    if "kl" in metrics[0]:
        right = drift.twinx()
        handles += line(right, "kl", "KL to the reference (right axis)", PINK, "--")
        right.set(ylabel="KL", ylim=(0, None))
    for axes, lines in ((terms, None), (groups, None), (drift, handles)):  # None: the lines of the axes themselves
        axes.legend(handles=lines, loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=10, frameon=False)
    if width > 1:
        figure.supxlabel("bold: mean of five steps, thin: each step", fontsize=9, color=GREY)
    return figure


def term_names(metrics: list[dict]) -> list[str]:
    """The reward functions of a run, in their order."""
    return [key.split("/")[1] for key in metrics[0] if key.startswith("rewards/") and key.endswith("/mean")]


def in_words(metrics: list[dict]) -> str:
    """What the curves show, as a sentence for readers who don't see them: where each line begins, its peak on the way, and where it ends."""

    def course(name, key):
        values = [m[key] for m in metrics]
        peak = max(range(len(values)), key=values.__getitem__)
        middle = f", highest {values[peak]:.2f} at step {metrics[peak]['step']}," if 0 < peak < len(values) - 1 else ""
        return f"{name} from {values[0]:.2f}{middle} to {values[-1]:.2f}"

    parts = [course(name.replace("_", " "), f"rewards/{name}/mean") for name in term_names(metrics)]
    parts += [course("std of the reward", "reward_std"), course("share of groups without variance", "frac_reward_zero_std")]
    parts += [course("tokens of a completion", "completions/mean_length")] + ([course("KL", "kl")] if "kl" in metrics[0] else [])
    return f"Training curves over {len(metrics)} steps, single steps: " + "; ".join(parts) + "."


def curves(metrics_file: Path, picture: Path, result: dict) -> None:
    """Saves the curves of a run, with the test accuracy in the title."""
    figure = draw(read_lines(metrics_file))
    before, after = result["before"], result["after"]
    figure.suptitle(
        f"{result['profile']}, {result['algorithm']}, seed {result['seed']}: test accuracy {before['accuracy']:.1%} → {after['accuracy']:.1%}"
        f" (greedy, n = {after['n']}, paired p = {result['paired_p']:.1g})", fontsize=11,
    )
    figure.savefig(picture, dpi=110, bbox_inches="tight")


def side_by_side(rows: list[dict], before: list, after: list, count: int = 5, width: int = 58) -> str:
    """The first answers before and after training, in two columns."""
    blocks = []
    for row, *pair in list(zip(rows, before, after))[:count]:
        heads = [f"{when} ({'right' if a.correct else 'wrong'})" for when, a in zip(("before", "after"), pair)]
        columns = [[head] + [piece for line in a.completion.splitlines() for piece in textwrap.wrap(line, width)] for head, a in zip(heads, pair)]
        height = max(map(len, columns))
        left, right = (column + [""] * (height - len(column)) for column in columns)
        question = textwrap.fill(f"{row['id']}: {row['question']}", 2 * width + 3)
        blocks.append("\n".join([question, *(f"{a:{width}} │ {b}".rstrip() for a, b in zip(left, right))]))
    return "\n\n".join(blocks)


def interval(measured: dict) -> str:
    """Accuracy with its 95 % interval, of a summary as `evaluation.summary` makes it: "56.2% (50%–62%)"."""
    return f"{measured['accuracy']:.1%} ({measured['ci_low']:.0%}–{measured['ci_high']:.0%})"


def table(result: dict) -> str:
    """The result in words and figures."""
    lines = ["", f"{'':22}{'before':>18}{'after':>18}{'swapped sound':>18}"]
    measured = [result[name] for name in ("before", "after", "swapped_audio")]
    rows = {
        "accuracy, greedy": interval, "accuracy, sampled": lambda m: f"{m['sampled_accuracy']:.1%}",
        "format": lambda m: f"{m['format_rate']:.1%}", "premises exact": lambda m: f"{m['premises_exact']:.1%}",
    }
    lines += [f"{name:22}" + "".join(f"{show(m):>18}" for m in measured) for name, show in rows.items()]
    if "spoken" in measured[0]:
        heard = [m["spoken"] for m in measured[:2]]
        rows = {"accuracy as heard": interval, "word error rate": lambda m: f"{m['wer']:.1%} ({m['wer_low']:.1%}–{m['wer_high']:.1%})"}
        lines += [f"{name:22}" + "".join(f"{show(m):>18}" for m in heard) for name, show in rows.items()] + [f"voice: {heard[0]['voice']}"]
    lines.append(
        f"\n{measured[0]['n']} test rows, exact McNemar p = {result['paired_p']:.2g}; {result['steps']} steps of {result['algorithm']}, "
        f"seed {result['seed']}; {result['seconds']:.0f} s, {result['peak_memory_mb']} MB at the peak"
    )
    if "breakdown" in result:
        shares = sorted(result["breakdown"].items(), key=lambda part: -part[1])
        lines.append("time: " + ", ".join(f"{name} {part / result['seconds']:.0%}" for name, part in shares))
    if result.get("skipped_rows"):
        lines.append(f"{result['skipped_rows']} rows left out, since they can't be used; skipped.json lists them")
    if result["profile"] == "tiny":
        lines.append("A tiny model on a tiny task: these figures say nothing about the paper's.")
    return "\n".join(lines)


def training_curve(log_file: Path, picture: Path) -> None:
    """Draws the log of `build-tiny`: the loss of each stage, and the accuracy on dev nouns after it."""
    from matplotlib.figure import Figure

    log = read_lines(log_file)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses = figure.subplots()
    for stage, colour, marker in (("text", BLUE, "o"), ("ear", GREEN, "s"), ("joint", ORANGE, "^"), ("habits", PINK, "D")):
        points = [(entry["minutes"], entry["loss"]) for entry in log if entry.get("stage") == stage and "loss" in entry]
        losses.plot(*zip(*points), color=colour, marker=marker, markersize=4, label=stage)
    losses.set(xlabel="minutes of the warm start on one CPU core", ylabel="loss (smoothed)", yscale="log", title="tiny_omni: four stages, checked on dev nouns", ylim=(1e-3, None))
    for stage in ("joint", "habits"):  # before them the model can't answer from sound
        last = [entry for entry in log if entry.get("stage") == stage and "loss" in entry][-1]
        check = next(entry for entry in log if entry.get("after") == f"{stage.removesuffix('s')}_stage")
        words = f"after {stage}:\n{check['dev_accuracy']:.0%} right,\n{check['dev_premises_exact']:.0%} heard exactly"
        losses.annotate(words, (last["minutes"], last["loss"]), (-8, -4), textcoords="offset points", ha="right", va="top", fontsize=8, color=GREY)
    losses.legend()
    figure.savefig(picture, dpi=110, bbox_inches="tight")
