"""Accuracy with its interval, the paired test, and controls that show if a model listens."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

import numpy as np
import torch

from . import profiles
from .audio import load_audio, load_clip
from .data import SETTINGS, STATEMENTS, row_name
from .models import encoded, max_audio_seconds, placeholder_ids
from .profiles import Profile
from .prompts import VERDICTS, prompt, with_audio
from .rewards import has_text_format, parse_answer

AUDIO_CONTROLS = ("true", "silent", "swapped")


@dataclass(frozen=True)
class Answer:
    """One completion and what was found in it."""

    id: str
    completion: str
    correct: bool
    format: bool
    premises_exact: bool


def answer_rows(
    model,
    rows,
    *,
    processing_class,
    profile: Profile | str,
    control: str = "true",
    setting: str = "audio-text",
    sample: bool = False,
    seed: int = 0,
    progress: str | None = None,
    only: Sequence[int] | None = None,
    on_answers: Callable[[dict[int, Answer]], None] | None = None,
) -> list[Answer]:
    """The model's answers to rows of `data.load_alr`, greedy or sampled at temperature 1.

    `profile` gives `per_device_eval_batch_size` and `max_completion_length`. `control` replaces the
    audio: "silent", or "swapped" with another row's. `only` holds the indices of the rows to answer
    (default: all); the others still lend their audio to the swapped control. `progress` labels a
    progress bar. `on_answers` gets the answers of each batch, by index, as soon as they are there.
    Raises AudioError, naming the row, for a clip that can't be used, ALRFormatError for a column.
    """
    from tqdm.auto import tqdm

    from .alr.rows import for_answers  # columns, types and labels, before anything is sampled

    from_audio = profiles.one_of(SETTINGS, setting, what="setting").startswith("audio")
    rows, profile = for_answers(rows, setting), profiles.get(profile)
    indices = list(range(len(rows)) if only is None else only)
    if not from_audio and control != "true":
        raise ValueError(f"control={control!r} changes the audio, and {setting!r} has none")
    clip_of = sounds(rows, control, limit=max_audio_seconds(processing_class))

    def conversation(i: int) -> list[dict]:
        asked = prompt() if from_audio else prompt(rows[i]["question"])
        return with_audio(asked, clip_of(i) if from_audio else None)

    # batches of similar length, so that short clips don't pay for long ones; a clip is decoded when
    # it is needed, and not kept
    lengths = {i: len(clip_of(i) if from_audio else rows[i]["question"]) for i in indices}
    order = sorted(indices, key=lengths.__getitem__)
    options = {"max_new_tokens": profile.max_completion_length, "sample": sample}
    answers: dict[int, Answer] = {}
    was_training = model.training
    model.eval()
    with (
        tqdm(total=len(order), desc=progress, disable=progress is None, leave=False) as bar,
        torch.random.fork_rng(),  # a measurement doesn't move the random numbers of the training
    ):
        torch.manual_seed(seed)
        for start in range(0, len(order), profile.per_device_eval_batch_size):
            batch = order[start : start + profile.per_device_eval_batch_size]
            asked = [conversation(i) for i in batch]
            texts = complete(model, asked, processing_class=processing_class, **options)
            found = {i: judged(rows[i], text) for i, text in zip(batch, texts)}
            if on_answers is not None:
                on_answers(found)
            answers |= found
            bar.update(len(batch))
    model.train(was_training)
    return [answers[i] for i in indices]


def ask(model, processor, clip, *, profile: Profile | str = "tiny") -> str:
    """The greedy answer to the question in a clip: a path, {"path", "bytes"} or an array."""
    asked = [with_audio(prompt(), load_audio(clip, max_audio_seconds(processor)))]
    tokens = profiles.get(profile).max_completion_length
    return complete(model, asked, processing_class=processor, max_new_tokens=tokens)[0]


def judged(row: dict, completion: str) -> Answer:
    """The answer that a completion gives to a row."""
    correct = parse_answer(completion) == VERDICTS[row["label"]]
    exact = quotes_premises(row, completion)
    return Answer(row["id"], completion, correct, has_text_format(completion), exact)


@torch.no_grad()
def complete(
    model, conversations: list, *, processing_class, max_new_tokens: int, sample: bool = False
) -> list[str]:
    """Completions of one batch of conversations, greedy or sampled at temperature 1."""
    from .fast.prefill import ready  # the same answers in less time

    batch = encoded(processing_class, conversations, device=model.device)
    if sample:
        decoding = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    else:
        decoding = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    decoding |= {"max_new_tokens": max_new_tokens}
    decoding |= {"suppress_tokens": placeholder_ids(model.config)}
    with ready(model, batch) as inputs:
        tokens = model.generate(**inputs, **decoding)
    completions = tokens[:, batch["input_ids"].shape[1] :]
    return processing_class.tokenizer.batch_decode(completions, skip_special_tokens=True)


def quotes_premises(row: dict, completion: str) -> bool:
    """Does the completion hold both premises and the conclusion, but for case and punctuation?"""
    said = _words(completion)
    return all(_words(row[name]) in said for name in STATEMENTS)


def _words(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


def sounds(rows: list[dict], control: str, *, limit: float) -> Callable[[int], np.ndarray]:
    """A function that loads the clip, 16 kHz, for the row of an index: its own ("true"), zeros of
    the same length ("silent"), or another row's ("swapped"). `limit` is in seconds."""
    profiles.one_of(AUDIO_CONTROLS, control, what="audio control")
    sources = donors([row["label"] for row in rows]) if control == "swapped" else range(len(rows))

    def load(i: int) -> np.ndarray:
        row = rows[sources[i]]
        clip = load_clip(row_name(row), row["question_audio"], max_seconds=limit)
        return np.zeros_like(clip) if control == "silent" else clip

    return load


def donors(labels: list[int], seed: int = 0) -> list[int]:
    """For the swapped control: for each row the index of another row whose audio it gets.

    Within each label every second row gets audio of its own label and the others of the other
    label, so that a perfect listener scores 50 % (up to one row a label) whatever the balance.
    """
    rng = random.Random(seed)
    chosen = [0] * len(labels)
    pools = {y: [i for i, label in enumerate(labels) if label == y] for y in (0, 1)}
    for label, rows in pools.items():
        for position, i in enumerate(rng.sample(rows, len(rows))):
            pool = [j for j in pools[label if position % 2 else 1 - label] if j != i]
            if not pool:
                raise ValueError("the swapped control needs rows of both labels")
            chosen[i] = rng.choice(pool)
    return chosen


def summary(greedy: list[Answer], sampled: list[Answer] | None = None) -> dict:
    """Shares in 0 to 1, as `result.json` holds them; all but `sampled_accuracy` are greedy."""
    low, high = wilson_interval(sum(answer.correct for answer in greedy), len(greedy))
    return {
        "accuracy": fmean(answer.correct for answer in greedy),
        "ci_low": low,
        "ci_high": high,
        "sampled_accuracy": fmean(answer.correct for answer in sampled) if sampled else None,
        "premises_exact": fmean(answer.premises_exact for answer in greedy),
        "format_rate": fmean(answer.format for answer in greedy),
        "n": len(greedy),
    }


def wilson_interval(successes: int, n: int, *, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share, which stays within 0 and 1 (Wilson 1927).

    >>> [round(x, 3) for x in wilson_interval(534, 656)]
    [0.782, 0.842]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 ≤ successes ≤ n and n ≥ 1, got {successes} of {n}")
    p, square = successes / n, z * z / n
    centre = p + square / 2
    half = z * sqrt(p * (1 - p) / n + square / (4 * n))
    return max(0.0, (centre - half) / (1 + square)), min(1.0, (centre + half) / (1 + square))


def paired_p(before: list[bool], after: list[bool]) -> float:
    """Exact two-sided McNemar test: is a changed row as likely to have become right as wrong?"""
    from scipy.stats import binomtest

    gained = sum(now and not was for was, now in zip(before, after, strict=True))
    lost = sum(was and not now for was, now in zip(before, after, strict=True))
    return binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
