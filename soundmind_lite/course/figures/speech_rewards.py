"""The figures of notebook 09: detected speech, and runs with one audio reward alone."""

import numpy as np

from ... import speech
from ...audio import SAMPLE_RATE
from ...runs.report import BLUE, GREEN, LINES, WIDTH, values_of
from .. import show


def detected(clips: dict[str, tuple[np.ndarray, int]]) -> show.Picture:
    """The waveform of each clip (samples, Hz), shaded where silero-vad detects speech."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.5 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), 1, squeeze=False)[:, 0]
    longest = max(len(audio) / rate for audio, rate in clips.values())
    told = []
    for axes, (name, (audio, rate)) in zip(panels, clips.items()):
        axes.plot(np.arange(len(audio)) / rate, audio, color=BLUE, linewidth=0.5)
        spans = speech.speech_spans(audio, rate)
        for start, end in spans:
            axes.axvspan(start / SAMPLE_RATE, end / SAMPLE_RATE, color=GREEN, alpha=0.3)
        found = f"{speech.seconds_in(spans):.1f} of {len(audio) / rate:.1f} s are speech"
        axes.set_title(f"{name}: {found}", fontsize=10, loc="left")
        axes.set(xlim=(0, longest), yticks=[])
        told.append(f"{name}: {found}")
    panels[-1].set_xlabel("seconds (shaded: detected speech)")
    alt = "Waveforms with the stretches shaded in which speech is detected. " + "; ".join(told)
    return show.picture(figure, alt + ".")


def alone(logs: dict[str, list[dict]], *, lengths: str = "completions/mean_length") -> show.Picture:
    """Mean reward and tokens of a completion by step; `logs` are lines of metrics.jsonl by run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    told = []
    for (name, log), (colour, style) in zip(logs.items(), LINES):
        look = {"color": colour, "linestyle": style, "label": name}
        steps, rewards, tokens = (values_of(log, key) for key in ("step", "reward", lengths))
        above.plot(steps, rewards, **look)
        below.plot(steps, tokens, **look)
        told.append(
            f"{name}: reward {rewards[0]:.2f} to {rewards[-1]:.2f}, "
            f"tokens {tokens[0]:.0f} to {tokens[-1]:.0f}"
        )
    above.set(ylabel="mean reward", ylim=(0, 0.8))
    below.set(xlabel="step", ylabel="tokens of a completion", ylim=(0, None))
    above.legend(fontsize=10, loc="lower right")
    steps = max(len(log) for log in logs.values())
    alt = f"Mean reward and mean tokens of a completion over {steps} steps. {'; '.join(told)}."
    return show.picture(figure, alt)


def ceiling(rewards: list[float], variety: list[float], verdicts: list[float]) -> show.Picture:
    """A run with the length reward alone, by step: the mean reward, and below it the share of
    different words and the share of completions with a verdict (0 to 1)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps = range(1, len(rewards) + 1)
    above.plot(steps, rewards, color=LINES[0][0])
    above.set(ylabel="mean reward", ylim=(0, 0.8))
    shares = {"different words, % of all words": variety, "with a verdict, % of answers": verdicts}
    told = [f"reward {rewards[0]:.2f} to {rewards[-1]:.2f}"]
    for (name, values), (colour, style) in zip(shares.items(), LINES[1:]):
        percent = [100 * value for value in values]
        below.plot(steps, percent, color=colour, linestyle=style, label=name)
        told.append(f"{name}: {percent[0]:.0f} at first, {percent[-1]:.0f} at the end")
    below.set(xlabel="step", ylabel="%", ylim=(0, 103))
    below.legend(fontsize=10, loc="lower left")
    return show.picture(figure, "The run with the length reward alone. " + "; ".join(told) + ".")
