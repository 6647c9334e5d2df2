"""Draws the log of `build-tiny`."""

import json
from pathlib import Path

from .training import AUDIO_ENCODER, HABIT, JOINT, TEXT

# Of Okabe and Ito's palette, which readers with any colour vision can tell apart.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
# Stage → label, colour and marker.
STAGES = {
    TEXT: ("text", BLUE, "o"),
    AUDIO_ENCODER: ("audio encoder", GREEN, "s"),
    JOINT: ("joint", ORANGE, "^"),
    HABIT: ("habits", PINK, "D"),
}
# Stages after which the model answers from audio, and the `after` of their checks in the log.
CHECKED = {JOINT: "joint_stage", HABIT: "habit_stage"}


def training_curve(log_file: Path, picture: Path) -> None:
    """Saves a figure of the loss of each stage, and of the checks on dev nouns after two."""
    from matplotlib.figure import Figure

    log = [json.loads(line) for line in log_file.read_text(encoding="utf-8").splitlines()]
    checks = {entry["after"]: entry for entry in log if "after" in entry}
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for stage, (label, colour, marker) in STAGES.items():
        entries = [entry for entry in log if entry.get("stage") == stage and "loss" in entry]
        minutes = [entry["minutes"] for entry in entries]
        losses = [entry["loss"] for entry in entries]
        axes.plot(minutes, losses, color=colour, marker=marker, markersize=4, label=label)
        if stage in CHECKED:
            check = checks[CHECKED[stage]]
            axes.annotate(
                f"after {label}:\n{check['dev_accuracy']:.0%} right,\n"
                f"{check['dev_premises_exact']:.0%} premises exact",
                (minutes[-1], losses[-1]),
                (-8, -4),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=8,
                color=GREY,
            )
    axes.set(
        xlabel="minutes of the warm start on one CPU core",
        ylabel="loss (smoothed)",
        yscale="log",
        ylim=(1e-3, None),
        title="tiny_omni: four stages, checked on dev nouns",
    )
    axes.legend()
    figure.savefig(picture, dpi=110, bbox_inches="tight")
