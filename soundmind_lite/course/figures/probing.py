"""Figures of notebook 02: parts of the thinker, audio tokens, placeholders, and intervals."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from IPython.display import HTML
from matplotlib.figure import Figure

from ...audio import SAMPLE_RATE
from ...runs.report import BLUE, GREY, ORANGE, WIDTH
from ...scale.memory import parameter_counts
from .. import show

TOKENS_PER_SECOND = 25
PARTS = {
    "audio": ("audio encoder", "frozen"),
    "vision": ("vision encoder", "not used"),
    "language": ("language model", "frozen"),
    "lora": ("its LoRA adapter, added", "trained"),
}


def parameters(rank_of: Mapping[str, int]) -> HTML:
    """The parameters of each part of the thinkers; `rank_of` gives the LoRA rank by checkpoint."""
    columns = {}
    for checkpoint, rank in rank_of.items():
        counts = parameter_counts(checkpoint)
        counts["language"] = counts["all"] - counts["audio"] - counts["vision"]
        counts["lora"] = rank * counts["lora per rank"]
        columns[Path(checkpoint).name] = counts
    rows = []
    for key, (part, role) in PARTS.items():
        sizes = {name: f"{counts[key]:,}" for name, counts in columns.items()}
        rows.append({"part": part, "in this course": role, **sizes})
    return show.table(rows, "parameters of the thinker's parts")


def audio_tokens(audio: np.ndarray, *, seconds: float = 1.0) -> show.Picture:
    """The waveform of a clip's beginning (samples at 16 kHz), and where each token begins."""
    part = audio[: int(seconds * SAMPLE_RATE)]
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.arange(len(part)) / SAMPLE_RATE, part, color=BLUE, linewidth=0.6)
    count = int(seconds * TOKENS_PER_SECOND)
    for start in range(count):
        axes.axvline(start / TOKENS_PER_SECOND, color=GREY, linewidth=0.8, alpha=0.7)
    axes.set(xlim=(0, seconds), xlabel="seconds", ylabel="amplitude")
    return show.picture(
        figure,
        f"The waveform of the first {seconds:g} s of the question with a line every 40 "
        f"milliseconds, {count} in all, where an audio token begins. A syllable takes several.",
    )


def placeholders(before: torch.Tensor, after: torch.Tensor, *, shown: int = 24) -> show.Picture:
    """Embeddings (placeholders, width) before and after, the first `shown` rows and columns."""
    figure = Figure(figsize=(WIDTH, 6), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    parts = {"before: the placeholder's embedding": before, "after: the audio vectors": after}
    largest = max(part[:shown, :shown].abs().max().item() for part in parts.values())
    for axes, (name, part) in zip(panels, parts.items()):
        values = part[:shown, :shown].float().cpu()
        limits = {"cmap": "PuOr", "vmin": -largest, "vmax": largest, "aspect": "auto"}
        drawn = axes.imshow(values, **limits)
        axes.set_title(name, fontsize=11)
        axes.set(ylabel="placeholder")
    panels[-1].set_xlabel("dimension of the embedding")
    figure.colorbar(drawn, ax=panels, location="bottom", label="value", aspect=40)
    return show.picture(
        figure,
        f"Two panels of {shown} placeholders (rows) by the first {shown} dimensions of their "
        "embeddings (columns). Before: every row is the same, so the panel shows vertical stripes. "
        "After: the rows differ, since each now holds another vector of the audio.",
    )


def intervals_by_rows(
    intervals: Mapping[int, tuple[float, float]], marks: Mapping[str, int]
) -> show.Picture:
    """Intervals around an accuracy of one half by the number of rows, and test sets by theirs."""
    figure = Figure(figsize=(WIDTH, 3), layout="constrained")
    axes = figure.subplots()
    lows, highs = zip(*intervals.values())
    axes.fill_between(list(intervals), lows, highs, color=BLUE, alpha=0.3)
    for ends in (lows, highs):
        axes.plot(list(intervals), ends, color=BLUE, linewidth=1.5)
    words = []
    for i, (name, n) in enumerate(marks.items()):
        low, high = intervals[n]
        axes.axvline(n, color=ORANGE, linestyle="--", linewidth=1)
        axes.annotate(name, (n * 1.05, 0.73 - 0.05 * i), fontsize=10)
        words.append(f"{name} ({n} rows): ± {50 * (high - low):.0f} percentage points")
    ticks = [20, 60, 240, 656, 2400]
    axes.set(xscale="log", xlabel="rows", ylabel="accuracy", ylim=(0.25, 0.78))
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title("95 % interval around an accuracy of 50 %", fontsize=11)
    return show.picture(
        figure,
        "The 95 percent interval around an accuracy of one half, against the number of rows on a "
        f"logarithmic axis. It narrows as the rows grow. {'; '.join(words)}.",
    )


def conditions(measured: Mapping[str, dict]) -> show.Picture:
    """Accuracy with its interval for each condition; values are summaries of `evaluation`."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.5 * len(measured)), layout="constrained")
    axes = figure.subplots()
    words = []
    for line, (name, found) in enumerate(measured.items()):
        accuracy, low, high = (found[key] for key in ("accuracy", "ci_low", "ci_high"))
        axes.plot([low, high], [line, line], color=BLUE, linewidth=3)
        axes.plot(accuracy, line, "o", color=BLUE, markersize=8)
        words.append(f"{name}: {accuracy:.0%} ({low:.0%} to {high:.0%})")
    axes.axvline(0.5, color=ORANGE, linestyle="--", label="guessing")
    axes.set_yticks(range(len(measured)), list(measured))
    axes.set(xlim=(-0.02, 1), xlabel="accuracy", ylim=(len(measured) - 0.5, -0.5))
    axes.legend(fontsize=10, frameon=False, loc="upper right")
    return show.picture(
        figure,
        "Accuracy with its 95 percent interval under each condition, beside a dashed line at 50 "
        f"percent, guessing. {'; '.join(words)}.",
    )
