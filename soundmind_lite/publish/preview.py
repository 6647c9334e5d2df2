"""The picture of a shared link: one question, its answers before and after training, the curve.

Everything in it comes from the shipped run of seed 0 and from mini_alr, so it can't go stale.
"""

import json
from pathlib import Path

from ..audio import SAMPLE_RATE, load_audio
from ..data import load_alr
from ..profiles import ASSETS
from ..runs.report import BLUE, GREEN, GREY, ORANGE, read_lines, smoothed, values_of

RUN = ASSETS / "runs" / "all_seed0"
QUESTION = "0003"  # that of notebook 00
SIZE = (1200, 630)  # pixels; the shape that networks show large
DPI = 100
INK = "#1a1a1a"
ALT = (
    "A course on audio logical reasoning. A spoken question as a waveform, the answer of tiny_omni "
    "before and after training, and the answer reward, which rises over 40 steps."
)


def answers() -> tuple[list[bool], list[bool]]:
    """Which test answers were right before and after training, and with the question's first."""
    found = []
    for name in ("before", "after"):
        lines = json.loads((RUN / f"{name}.json").read_text(encoding="utf-8"))["answers"]
        lines.sort(key=lambda line: line["id"] != QUESTION)
        found.append([line["correct"] for line in lines])
    return found[0], found[1]


def write(file: Path) -> None:
    """Draws the picture, a PNG of `SIZE`."""
    from matplotlib.figure import Figure

    rows = load_alr("mini", "test")
    row = rows[rows["id"].index(QUESTION)]
    before, after = answers()
    verdicts = ("not entailed", "entailed")
    figure = Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, facecolor="white")

    def words(x, y, text, size, colour=INK, **look):
        figure.text(x / SIZE[0], 1 - y / SIZE[1], text, size=size, color=colour, va="top", **look)

    words(60, 48, "soundmind_lite", 40, weight="bold")
    words(60, 124, "Teach a small model to reason about what it hears", 23)
    words(60, 166, "a course on SoundMind: GRPO on speech, on your laptop", 18, GREY)

    wave = figure.add_axes((0.05, 0.455, 0.47, 0.18))
    samples = load_audio(row["question_audio"])
    peaks = [abs(samples[i : i + 320]).max() for i in range(0, len(samples), 320)]
    seconds = [i * 320 / SAMPLE_RATE for i in range(len(peaks))]
    wave.vlines(seconds, [-peak for peak in peaks], peaks, color=BLUE, linewidth=1.4)
    wave.set_xlim(0, seconds[-1])
    wave.axis("off")
    premises = f"{row['major_premise']}, {row['minor_premise']},".capitalize()
    words(60, 362, f"“{premises}", 17)
    words(60, 394, f"so {row['conclusion']}”: does it follow?", 17)
    for x, title, right in ((60, "before", before[0]), (350, "after 40 steps", after[0])):
        verdict = verdicts[row["label"] if right else 1 - row["label"]]
        colour = GREEN if right else ORANGE
        words(x, 458, title, 16, GREY)
        words(x, 488, f"{verdict} {'✓' if right else '✗'}", 24, colour, weight="bold")
    share = [f"{sum(found) / len(found):.0%}".replace("%", " %") for found in (before, after)]
    words(60, 560, f"{len(before)} spoken test questions: {share[0]} right, then {share[1]}", 17)

    metrics = read_lines(RUN / "metrics.jsonl")
    values = values_of(metrics, "rewards/answer_reward/mean")
    curve = figure.add_axes((0.62, 0.17, 0.32, 0.45))
    curve.plot(range(1, len(values) + 1), values, color=BLUE, alpha=0.35, linewidth=1.2)
    curve.plot(range(1, len(values) + 1), smoothed(values), color=BLUE, linewidth=3.5)
    curve.set(ylim=(0, 2.1), yticks=(0, 1, 2), xlim=(1, len(values)), xticks=(1, 20, 40))
    curve.set_title("answer reward", size=17, color=INK, loc="left")
    curve.set_xlabel("training step", size=15, color=GREY)
    curve.tick_params(labelsize=15, colors=GREY)
    curve.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Software": None})
