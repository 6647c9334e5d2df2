"""What a notebook shows: players with transcripts, pictures with alt text, tables, reward cards.

All text that a model wrote is escaped. Colours only repeat what a word or a number says.
"""

import base64
import dataclasses
import html
import io
from pathlib import Path

import numpy as np
from IPython.display import HTML

from ..audio import SAMPLE_RATE, load_audio, resampled
from ..prompts import VERDICTS
from ..rewards import OPEN, completion_text, reasoning_of
from ..runs.report import BLUE, GREEN, GREY, ORANGE, reward_names
from .explain import Term, explain, last_line
from .pictures import Picture as Picture
from .pictures import drawing as drawing
from .pictures import picture as picture

MONO = "font-family:monospace; white-space:pre-wrap; overflow-wrap:anywhere"
LEFT, RIGHT = "text-align:left", "text-align:right; white-space:nowrap"
BOX = f"border:1px solid {GREY}66; border-radius:0.4em; padding:0.5em"
COLOURS = {"answer": BLUE, "format": ORANGE, "length": GREEN}


def mp3_bytes(audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> bytes:
    """The clip as a mono MP3 at 16 kHz, which every browser plays; about 6 kB a second."""
    import soundfile

    buffer = io.BytesIO()
    samples = np.clip(resampled(audio, sample_rate), -1, 1)
    soundfile.write(buffer, samples, SAMPLE_RATE, format="MP3", compression_level=0.8)
    return buffer.getvalue()


def player_html(
    sound, transcript: str, *, sample_rate: int = SAMPLE_RATE, title: str = "", folded: bool = False
) -> str:
    """HTML of a player that holds its audio; the arguments are those of `player`."""
    if isinstance(sound, str | Path | dict):
        sound, sample_rate = load_audio(sound), SAMPLE_RATE
    source = base64.b64encode(mp3_bytes(sound, sample_rate)).decode()
    name = html.escape(title or "a spoken question", quote=True)
    words = f"Transcript: {html.escape(transcript)}"
    if folded:
        words = f"<details><summary>Transcript</summary>{words}</details>"
    head = f"<strong>{html.escape(title)}</strong><br>" if title else ""
    return (
        f'<figure style="margin:0.5em 0">{head}<audio controls preload="metadata" '
        f'aria-label="{name}" src="data:audio/mpeg;base64,{source}"></audio>'
        f"<figcaption>{words}</figcaption></figure>"
    )


def player(
    sound, transcript: str, *, sample_rate: int = SAMPLE_RATE, title: str = "", folded: bool = False
) -> HTML:
    """A player that holds its audio, with the transcript under it.

    `sound` is a path, or a mono array at `sample_rate` Hz. `folded` hides the transcript until it
    is clicked, for a listening exercise.
    """
    return HTML(player_html(sound, transcript, sample_rate=sample_rate, title=title, folded=folded))


def table(rows: list[dict], caption: str = "") -> HTML:
    """Rows of equal keys as an HTML table; every value is escaped."""
    head = "".join(_cell("th", name) for name in rows[0])
    lines = ["".join(_cell("td", value) for value in row.values()) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return HTML(
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def differences(config, caption: str = "") -> HTML:
    """The plain fields of a dataclass, such as GRPOConfig, that differ from its defaults, as a
    table; without those that nobody set."""
    rows = []
    for field in dataclasses.fields(config):
        default, value = field.default, getattr(config, field.name)
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        plain = isinstance(value, str | int | float | list) and (value or default is not None)
        if plain and value != default:
            rows.append({"field": field.name, "here": value, "default": default})
    return table(rows, caption)


def _cell(tag: str, value) -> str:
    text = html.escape(str(value))
    return f'<{tag} style="{LEFT}; vertical-align:top">{text}</{tag}>'


def source(function) -> None:
    """Prints the source of a function of the library: what you read is what runs."""
    import inspect

    print(inspect.getsource(function).rstrip())


def mel(audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Log-mel spectrogram in dB, (128 bands, frames of 10 ms), as the audio encoder reads it."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=audio, sr=sample_rate, n_fft=400, hop_length=160, n_mels=128
    )
    return librosa.power_to_db(power, ref=np.max)


def bar(value: float, *, maximum: float, colour: str) -> str:
    """HTML of a bar from 0 to `maximum`."""
    width = 100 * value / maximum
    return (
        f'<div style="background:{GREY}33; height:0.7em">'
        f'<div style="width:{width:.1f}%; height:100%; background:{colour}"></div></div>'
    )


def signed_bar(value: float, largest: float) -> str:
    """HTML of a bar around a middle line: positive to the right (blue), negative to the left."""
    width = 50 * min(1.0, abs(value) / largest) if largest else 0
    left, colour = (50, BLUE) if value >= 0 else (50 - width, ORANGE)
    middle = f"linear-gradient({GREY}, {GREY}) 50%/1px 100% no-repeat"
    return (
        f'<div style="background:{middle}, {GREY}33; height:0.7em">'
        f'<div style="margin-left:{left:.1f}%; width:{width:.1f}%; height:100%; '
        f'background:{colour}"></div></div>'
    )


def marked(text: str) -> str:
    """A completion as escaped HTML, with the parts underlined that two reward terms read.

    Dotted (green) is the closed thought, which the length term counts; solid (blue) is the last
    line, which the answer term reads.
    """
    thought, answer = reasoning_of(text), last_line(text)
    spans = []
    if thought:
        start = text.index(thought, text.index(OPEN) + len(OPEN))
        line = f"3px dotted {COLOURS['length']}"
        spans.append((start, start + len(thought), line, "the words that the length term counts"))
    if answer:
        start = text.rindex(answer)
        line = f"3px solid {COLOURS['answer']}"
        spans.append((start, start + len(answer), line, "the line that the answer term reads"))
    parts, done = [], 0
    for start, end, line, title in spans:
        if start < done:  # a thought that runs into the last line
            continue
        parts.append(html.escape(text[done:start]))
        inside = html.escape(text[start:end])
        parts.append(f'<span title="{title}" style="border-bottom:{line}">{inside}</span>')
        done = end
    return "".join(parts) + html.escape(text[done:])


def term_row(term: Term) -> str:
    """HTML table row of a reward term: name, reward, bar, reason."""
    return (
        f'<tr><td style="{LEFT}">{term.name}</td>'
        f'<td style="{RIGHT}">{term.reward:.2f} of {term.maximum:g}</td><td style="width:5em">'
        f"{bar(term.reward, maximum=term.maximum, colour=COLOURS[term.name])}</td>"
        f'<td style="{LEFT}">{html.escape(term.reason)}</td></tr>'
    )


def reward_card(completion, label: int, *, reference_length: float) -> str:
    """HTML of one completion with what each reward term pays for it, and why."""
    terms = explain(completion, label, reference_length=reference_length)
    rows = "".join(term_row(term) for term in terms)
    total, maximum = sum(t.reward for t in terms), sum(t.maximum for t in terms)
    text = marked(completion_text(completion))
    return (
        f'<div style="{MONO}; {BOX}">{text}</div>'
        f'<table style="margin-top:0.5em">{rows}<tr><td style="{LEFT}"><strong>sum</strong></td>'
        f'<td style="{RIGHT}"><strong>{total:.2f} of {maximum:g}</strong></td>'
        "<td></td><td></td></tr></table>"
    )


def rollout_group(rollouts: list[dict], row: dict) -> str:
    """HTML of a group: its question with a player, each completion with rewards and advantage.

    `rollouts` are lines of completions.jsonl, `row` is the row of `data.load_alr` they answer.
    """
    # one scale for all groups: no advantage in standard deviations can be larger than this
    possible = (len(rollouts) - 1) / len(rollouts) ** 0.5
    largest = max(possible, *(abs(rollout["advantage"]) for rollout in rollouts))
    best_first = sorted(rollouts, key=lambda rollout: -rollout["advantage"])
    cards = [_rollout_card(i, rollout, largest) for i, rollout in enumerate(best_first, 1)]
    label = "unknown" if row["label"] is None else VERDICTS[row["label"]]
    title = f"Step {rollouts[0]['step']}, question {row['id']}, label: {label}"
    if row.get("question_audio") is None:  # the question was read
        head = f"<strong>{html.escape(title)}</strong><br>{html.escape(row['question'])}"
        question = f'<p style="margin:0.5em 0">{head}</p>'
    else:
        question = player_html(row["question_audio"], row["question"], title=title)
    columns = "repeat(auto-fill, minmax(min(15em, 100%), 1fr))"
    grid = f"display:grid; grid-template-columns:{columns}; gap:0.5em"
    return f'{question}<div style="{grid}">{"".join(cards)}</div>'


def _rollout_card(rank: int, rollout: dict, largest: float) -> str:
    rewards = []
    for name in reward_names([rollout]):
        words = html.escape(name.removesuffix("_reward")).replace("_", "&nbsp;")
        earned = "none" if rollout[name] is None else f"{rollout[name]:.2f}"
        rewards.append(f"{words}&nbsp;{earned}")
    advantage = rollout["advantage"]
    return (
        f'<div style="{BOX}">'
        f"<strong>{rank}. advantage {advantage:+.2f}</strong>{signed_bar(advantage, largest)}"
        f'<small>{", ".join(rewards)}</small><div style="{MONO}; font-size:85%">'
        f"{marked(rollout['completion'])}</div></div>"
    )


def plan_card(plan) -> str:
    """HTML of a `planner.Plan`: each part of the memory with a bar, the sum, hours and cost."""
    widest = max(plan.total_gb, plan.limit_gb)
    rows = "".join(
        f'<tr><td style="{LEFT}">{name}</td><td style="{RIGHT}">{size:.1f} GB</td>'
        f'<td style="width:40%">{bar(size, maximum=widest, colour=BLUE)}</td></tr>'
        for name, size in plan.parts.items()
    )
    verdict, colour = ("fits", GREEN) if plan.fits else ("will not fit", ORANGE)
    cost, advice = "", ""
    if plan.cost is not None:
        cost = f", {plan.cost:.2f} at {plan.price:g} an hour"
    if not plan.fits:
        advice = f" Lower this first: {html.escape(plan.advice)}."
    hours = (
        f"download {plan.download_hours:.1f}, evaluation {plan.evaluation_hours:.1f}, "
        f"training {plan.training_hours:.1f} ({plan.steps} steps of {plan.step_seconds:.0f} s)"
    )
    left_out = html.escape("; ".join(plan.left_out) or "nothing")
    return (
        f'<table>{rows}<tr><td style="{LEFT}"><strong>{plan.memory.peak}: {verdict}</strong></td>'
        f'<td style="{RIGHT}"><strong>{plan.total_gb:.1f} of {plan.limit_gb:.1f} GB</strong></td>'
        f"<td>{bar(plan.total_gb, maximum=widest, colour=colour)}</td></tr></table>"
        f"<p>{html.escape(plan.profile)} on {html.escape(plan.card)}: at most {plan.hours:.1f} "
        f"hours{cost}: {hours}. Time from {plan.basis}.{advice}</p><p>Left out: {left_out}.</p>"
    )
