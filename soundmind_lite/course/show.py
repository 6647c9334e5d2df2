"""What a notebook shows: players with transcripts, pictures with alt text, tables, and rewards beside the words that earned them.

Everything that a model wrote is escaped. Colours only repeat what a word or a figure says.
"""
import base64
import html
import io
from pathlib import Path

import numpy as np
from IPython.display import HTML

from ..audio import SAMPLE_RATE, load_audio, resampled
from .explain import Term, explain, last_line
from ..prompts import VERDICTS
from ..runs.report import BLUE, GREEN, GREY, ORANGE
from ..rewards import completion_text, reasoning_of

MONO = "font-family:monospace; white-space:pre-wrap; overflow-wrap:anywhere"
COLOURS = {"answer": BLUE, "format": ORANGE, "length": GREEN}


def mp3_bytes(audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """The clip as a mono MP3 at 16 kHz, which every browser plays; about 6 kB a second."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(resampled(audio, sample_rate), -1, 1), SAMPLE_RATE, format="MP3", compression_level=0.8)
    return buffer.getvalue()


def player_html(sound, transcript: str, sample_rate: int = SAMPLE_RATE, title: str = "", folded: bool = False) -> str:
    """HTML of a player that holds its sound (`sound`: a path or an array), with the transcript under it, folded away if wanted."""
    audio = load_audio(sound) if isinstance(sound, str | Path) else sound
    source = base64.b64encode(mp3_bytes(audio, SAMPLE_RATE if isinstance(sound, str | Path) else sample_rate)).decode()
    name, words = html.escape(title or "a spoken question", quote=True), f"Transcript: {html.escape(transcript)}"
    words = f"<details><summary>Transcript</summary>{words}</details>" if folded else words
    head = f"<strong>{html.escape(title)}</strong><br>" if title else ""
    return (
        f'<figure style="margin:0.5em 0">{head}<audio controls preload="metadata" aria-label="{name}" src="data:audio/mpeg;base64,{source}"></audio>'
        f"<figcaption>{words}</figcaption></figure>"
    )


def player(sound, transcript: str, sample_rate: int = SAMPLE_RATE, title: str = "", folded: bool = False) -> HTML:
    """A player that holds its sound, with the transcript under it (`folded` away, for a listening exercise).

    `sound` is a path, or a mono array at `sample_rate` Hz.
    """
    return HTML(player_html(sound, transcript, sample_rate, title, folded))


class Picture:
    """A PNG with its description, as an image with alternative text and as words under it, for every page that shows notebooks."""

    def __init__(self, png: bytes, alt: str):
        self.png, self.alt = base64.b64encode(png).decode(), alt

    def _repr_mimebundle_(self, **_):
        alt = html.escape(self.alt, quote=True)
        figure = (
            f'<figure style="margin:0.5em 0"><img alt="{alt}" style="max-width:100%" src="data:image/png;base64,{self.png}">'
            f"<figcaption><small>In words: {alt}</small></figcaption></figure>"
        )
        return {"text/html": figure, "text/plain": f"Picture: {self.alt}"}


def picture(figure, alt: str, dpi: int = 100) -> Picture:
    """A matplotlib figure as a picture, with `alt` as its alternative text and under it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight")
    return Picture(buffer.getvalue(), alt)


def table(rows: list[dict], caption: str = "") -> HTML:
    """Rows of equal keys as an HTML table; every value is escaped."""
    cell = lambda tag, value: f'<{tag} style="text-align:left; vertical-align:top">{html.escape(str(value))}</{tag}>'
    head = "".join(cell("th", name) for name in rows[0])
    body = "".join("<tr>" + "".join(cell("td", value) for value in row.values()) + "</tr>" for row in rows)
    return HTML(f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def source(function) -> None:
    """Prints the source of a function of the library: what you read is what runs."""
    import inspect

    print(inspect.getsource(function).rstrip())


def mel(audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Log-mel spectrogram in dB, (128 bands, frames), one frame every 10 ms, as the audio tower hears it."""
    import librosa

    power = librosa.feature.melspectrogram(y=audio, sr=sample_rate, n_fft=400, hop_length=160, n_mels=128)
    return librosa.power_to_db(power, ref=np.max)


def waveform(audio: np.ndarray, sample_rate: int = SAMPLE_RATE, with_mel: bool = True, tokens_per_second: float | None = None):
    """A figure of a clip: the waveform, its mel spectrogram under it, and light lines where audio tokens begin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4 if with_mel else 2), layout="constrained")
    axes = figure.subplots(2 if with_mel else 1, 1, sharex=True, squeeze=False)[:, 0]
    seconds = np.arange(len(audio)) / sample_rate
    axes[0].plot(seconds, audio, color=BLUE, linewidth=0.5, alpha=0.6 if tokens_per_second else 1)
    axes[0].set(ylabel="amplitude (full scale 1)", xlim=(0, seconds[-1]))
    if tokens_per_second:
        for start in np.arange(0, seconds[-1], 1 / tokens_per_second):
            axes[0].axvline(start, color="black", alpha=0.8, linewidth=0.7)
    if with_mel:
        bands = mel(audio, sample_rate)
        drawn = axes[1].imshow(bands, origin="lower", aspect="auto", cmap="cividis", extent=(0, seconds[-1], 0, len(bands)), vmin=-80)
        figure.colorbar(drawn, ax=axes[1], label="dB below the loudest")
        axes[1].set(ylabel="mel band")
    axes[-1].set_xlabel("seconds")
    return figure


def bar(value: float, maximum: float, colour: str) -> str:
    """A bar from 0 to `maximum`."""
    return f'<div style="background:{GREY}33; height:0.7em"><div style="width:{100 * value / maximum:.1f}%; height:100%; background:{colour}"></div></div>'


def signed_bar(value: float, largest: float) -> str:
    """A bar around a middle line: to the right (blue) for positive, to the left (orange) for negative values."""
    width = 50 * min(1.0, abs(value) / largest) if largest else 0
    left, colour = (50, BLUE) if value >= 0 else (50 - width, ORANGE)
    return (
        f'<div style="background:linear-gradient({GREY}, {GREY}) 50%/1px 100% no-repeat, {GREY}33; height:0.7em">'
        f'<div style="margin-left:{left:.1f}%; width:{width:.1f}%; height:100%; background:{colour}"></div></div>'
    )


def marked(text: str) -> str:
    """A completion as HTML: dots (green) under the closed thought, a line (blue) under the last line, all of it escaped."""
    thought, answer = reasoning_of(text), last_line(text)
    spans = []
    if thought:
        start = text.index(thought, text.index("<think>") + len("<think>"))
        spans.append((start, start + len(thought), f"3px dotted {COLOURS['length']}", "the words that the length term counts"))
    if answer:
        start = text.rindex(answer)
        spans.append((start, start + len(answer), f"3px solid {COLOURS['answer']}", "the line that the answer term reads"))
    parts, place = [], 0
    for start, end, line, title in spans:
        if start < place:  # a thought that runs into the last line
            continue
        parts.append(html.escape(text[place:start]))
        parts.append(f'<span title="{title}" style="border-bottom:{line}">{html.escape(text[start:end])}</span>')
        place = end
    return "".join(parts) + html.escape(text[place:])


def term_rows(terms: list[Term]) -> str:
    """Table rows of reward terms: name, points, bar, reason."""
    return "".join(
        f'<tr><td style="text-align:left">{t.name}</td><td style="text-align:right">{t.points:.2f} of {t.maximum:g}</td>'
        f'<td style="width:8em">{bar(t.points, t.maximum, COLOURS[t.name])}</td><td style="text-align:left">{html.escape(t.reason)}</td></tr>'
        for t in terms
    )


def reward_card(completion, label: int, reference_length: float) -> str:
    """HTML of one completion with what each reward term pays for it, and why."""
    terms = explain(completion, label, reference_length)
    return (
        f'<div style="{MONO}; border:1px solid {GREY}; padding:0.5em">{marked(completion_text(completion))}</div>'
        f'<table style="margin-top:0.5em">{term_rows(terms)}<tr><td style="text-align:left"><strong>sum</strong></td><td style="text-align:right">'
        f"<strong>{sum(t.points for t in terms):.2f} of {sum(t.maximum for t in terms):g}</strong></td><td></td><td></td></tr></table>"
    )


def rollout_group(rollouts: list[dict], row: dict) -> str:
    """HTML of a group: its question with the sound, and each completion with points and advantage. `rollouts` as in completions.jsonl."""
    largest = max(abs(r["advantage"]) for r in rollouts)
    names = [name for name in rollouts[0] if name.endswith("_reward")]
    cards = []
    for number, rollout in enumerate(sorted(rollouts, key=lambda r: -r["advantage"]), 1):
        points = ", ".join(f"{html.escape(name.removesuffix('_reward')).replace('_', '&nbsp;')}&nbsp;{rollout[name]:.2f}" for name in names)
        cards.append(
            f'<div style="flex:1 1 15em; border:1px solid {GREY}; padding:0.4em; min-width:13em"><strong>{number}. advantage {rollout["advantage"]:+.2f}</strong>'
            f'{signed_bar(rollout["advantage"], largest)}<small>{points}</small><div style="{MONO}; font-size:85%">{marked(rollout["completion"])}</div></div>'
        )
    verdict = VERDICTS[row["label"]]
    return (
        player_html(row["question_audio"], row["question"], title=f"Step {rollouts[0]['step']}, question {row['id']}, label: {verdict}")
        + f'<div style="display:flex; flex-wrap:wrap; gap:0.5em">{"".join(cards)}</div>'
    )


def plan_card(plan) -> str:
    """HTML of a `planner.Plan`: each part of the memory with a bar, whether it fits, time and cost."""
    widest = max(plan.total_gb, plan.limit_gb)
    rows = "".join(
        f'<tr><td style="text-align:left">{name}</td><td style="text-align:right">{size:.1f} GB</td><td style="width:14em">{bar(size, widest, BLUE)}</td></tr>'
        for name, size in plan.parts.items()
    )
    verdict = "fits" if plan.fits else "will not fit"
    cost = "" if plan.price is None else f", {plan.price * plan.hours:.2f} at {plan.price:g} an hour"
    return (
        f'<table>{rows}<tr><td style="text-align:left"><strong>together: {verdict}</strong></td><td style="text-align:right"><strong>{plan.total_gb:.1f} of '
        f"{plan.limit_gb:.1f} GB</strong></td><td>{bar(plan.total_gb, widest, GREEN if plan.fits else ORANGE)}</td></tr></table>"
        f"<p>{html.escape(plan.profile)} on {html.escape(plan.card)}: a step {plan.step_seconds:.0f} s, {plan.steps} steps {plan.duration}{cost} "
        f"(time from {plan.basis}){'' if plan.fits else f'. Lower this first: {html.escape(plan.advice)}'}</p>"
    )
