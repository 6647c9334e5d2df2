"""Figures of notebook 04: GRPO by hand."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure

from ...runs.report import BLUE, GREEN, GREY, LINES, ORANGE, WIDTH
from .. import show

TOKENS = 18  # in a panel: more would overlap


def probabilities(policies: Mapping[str, torch.Tensor], actions: Sequence[str]) -> show.Picture:
    """Bars of several policies over the same actions: each policy a tensor (actions,)."""
    figure = Figure(figsize=(WIDTH, 3), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(policies)
    hatches = ("", "//", "..")
    for i, (name, policy) in enumerate(policies.items()):
        x = [action + (i - (len(policies) - 1) / 2) * width for action in range(len(actions))]
        colour = (GREY, BLUE, ORANGE)[i]
        bars = axes.bar(x, policy, width, label=name, color=colour, hatch=hatches[i])
        axes.bar_label(bars, fmt="%.2f", fontsize=10)
    axes.set_xticks(range(len(actions)), actions, fontsize=10)
    axes.set(ylabel="probability", ylim=(0, 1))
    axes.legend(fontsize=10, frameon=False)
    words = []
    for i, action in enumerate(actions):
        values = ", ".join(f"{name} {policy[i]:.2f}" for name, policy in policies.items())
        words.append(f"{action}: {values}")
    return show.picture(figure, f"Bars of probabilities. {'; '.join(words)}.")


def learning(runs: Mapping[str, torch.Tensor], *, ylabel: str) -> show.Picture:
    """A panel for each kind of run: values (steps, runs), their median and 80 % of them."""
    figure = Figure(figsize=(WIDTH, 2.1 * len(runs)), layout="constrained")
    words = []
    panels = figure.subplots(len(runs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (name, values), (colour, _) in zip(panels, runs.items(), LINES):
        low, middle, high = values.quantile(torch.tensor([0.1, 0.5, 0.9]), dim=1)
        steps = range(len(values))
        axes.fill_between(steps, low, high, color=colour, alpha=0.25, label="80 % of the runs")
        axes.plot(steps, middle, color=colour, label="median")
        axes.set_title(name, fontsize=11)
        axes.set(ylim=(0, 1), ylabel=ylabel)
        axes.legend(fontsize=10, frameon=False, loc="center right")
        last = f"{low[-1]:.2f} and {high[-1]:.2f}, median {middle[-1]:.2f}"
        words.append(f"{name}: 80 % of the runs end between {last}")
    panels[-1].set_xlabel("step")
    return show.picture(figure, f"The {ylabel} over the steps. {'; '.join(words)}.")


def clip_shape(epsilon: float = 0.2) -> show.Picture:
    """The clipped objective against the ratio, for an advantage of +1 and of −1."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    ratio = torch.linspace(0.4, 1.6, 200)
    for axes, a in zip(figure.subplots(2, 1, sharex=True), (1.0, -1.0)):
        objective = torch.min(ratio * a, ratio.clamp(1 - epsilon, 1 + epsilon) * a)
        axes.plot(ratio, ratio * a, "--", color=ORANGE, label="unclipped")
        axes.plot(ratio, objective, color=BLUE, label="objective")
        axes.set(ylabel="objective")
        axes.set_title(f"advantage {a:+.0f}", fontsize=11)
        axes.legend(fontsize=10, frameon=False)
    axes.set_xlabel("ratio")
    return show.picture(
        figure,
        "The objective against the ratio, 0.4 to 1.6; dashed: unclipped. Advantage +1: "
        f"both rise together to {1 + epsilon:.1f}, then the objective stays flat while the "
        f"unclipped line keeps rising. Advantage -1: the objective is flat below a ratio of "
        f"{1 - epsilon:.1f} and falls with the unclipped line above it.",
    )


def repeated_steps(ratios: Mapping[str, Sequence[float]], epsilon: float = 0.2) -> show.Picture:
    """The ratio of one sampled action over repeated steps on the same sample."""
    figure = Figure(figsize=(WIDTH, 2.8), layout="constrained")
    axes = figure.subplots()
    words = []
    for (name, values), (colour, style) in zip(ratios.items(), LINES):
        axes.plot(values, linestyle=style, color=colour, label=name)
        words.append(f"{name}: from {values[0]:.1f} to {values[-1]:.2f}")
    axes.axhspan(1 - epsilon, 1 + epsilon, color=GREEN, alpha=0.2, label="within the clip")
    axes.set(xlabel="gradient steps on the same sample", ylabel="ratio")
    axes.legend(fontsize=10, frameon=False)
    return show.picture(
        figure,
        f"The ratio of the sampled action over {len(values) - 1} gradient steps on the same "
        f"sample. {'; '.join(words)}.",
    )


def token_log_probs(
    tokens: Sequence[str], conditioned: torch.Tensor, text_only: torch.Tensor
) -> show.Picture:
    """Log-probs (nats) of each token of one completion, with and without the audio."""
    names = [token.replace("\n", "⏎") for token in tokens]
    starts = range(0, len(names), TOKENS)
    figure = Figure(figsize=(WIDTH, 2.6 * len(starts)), layout="constrained")
    panels = figure.subplots(len(starts), 1, sharey=True, squeeze=False)[:, 0]
    look = {"color": ORANGE, "marker": "x", "markersize": 4}
    for axes, start in zip(panels, starts):
        part = slice(start, start + TOKENS)
        x = range(len(names[part]))
        axes.plot(x, conditioned[part], color=BLUE, marker=".", label="conditioned on the audio")
        axes.plot(x, text_only[part], "--", **look, label="computed without the audio")
        axes.set_xticks(x, names[part], rotation=90, fontsize=10)
        axes.set(ylabel="log-prob (nats)", xlim=(-0.5, TOKENS - 0.5))
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, fontsize=10, loc="outside upper center", frameon=False)
    lower = sum(text_only < conditioned - 1).item()
    return show.picture(
        figure,
        f"Log-prob of each of the {len(names)} tokens of one completion. Conditioned on the "
        f"audio (solid, dots) the mean is {conditioned.mean():.2f} nats. Computed without it "
        f"(dashed, crosses) {lower} of them are more than one nat lower, down to "
        f"{text_only.min():.0f}; the mean is {text_only.mean():.2f}.",
    )
