"""Accuracy with its interval, the paired test, and controls that show if a model listens."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch

from .audio import load_clip
from .data import SETTINGS, STATEMENTS, row_name
from .models import encoded, max_audio_seconds, placeholder_ids
from .profiles import one_of
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
    max_new_tokens: int = 100,
    batch_size: int = 40,
    control: str = "true",
    setting: str = "audio-text",
    sample: bool = False,
    seed: int = 0,
    progress: str | None = None,
    only: Sequence[int] | None = None,
) -> list[Answer]:
    """The model's answers to rows of `data.load_alr`, greedy or sampled at temperature 1.

    `control` replaces the audio: "silent", or "swapped" with another row's. `only` holds the
    indices of the rows to answer (default: all); the others still lend their audio to the swapped
    control. `progress` labels a progress bar. Raises AudioError, naming the row, for a clip that
    can't be used.
    """
    from tqdm.auto import tqdm

    rows = list(rows)
    indices = list(range(len(rows)) if only is None else only)
    clips = [None] * len(indices)
    if one_of(SETTINGS, setting, what="setting").startswith("audio"):
        clips = sounds(rows, control, limit=max_audio_seconds(processing_class), only=indices)
    elif control != "true":
        raise ValueError(f"control={control!r} changes the audio, and {setting!r} has none")
    rows = [rows[i] for i in indices]
    questions = [row["question"] if clip is None else None for row, clip in zip(rows, clips)]
    lengths = [len(question or clip) for question, clip in zip(questions, clips)]
    # batches of similar length, so that short clips don't pay for long ones
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    completions = [""] * len(rows)
    was_training = model.training
    model.eval()
    with (
        tqdm(total=len(rows), desc=progress, disable=progress is None, leave=False) as bar,
        torch.random.fork_rng(),  # a measurement doesn't move the random numbers of the training
    ):
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            batch = order[start : start + batch_size]
            asked = [with_audio(prompt(questions[i]), clips[i]) for i in batch]
            options = {"max_new_tokens": max_new_tokens, "sample": sample}
            texts = complete(model, asked, processing_class=processing_class, **options)
            for i, text in zip(batch, texts):
                completions[i] = text
            bar.update(len(batch))
    model.train(was_training)
    answers = []
    for row, text in zip(rows, completions):
        correct = parse_answer(text) == VERDICTS[row["label"]]
        exact = quotes_premises(row, text)
        answers.append(Answer(row["id"], text, correct, has_text_format(text), exact))
    return answers


@torch.no_grad()
def complete(
    model, conversations: list, *, processing_class, max_new_tokens: int, sample: bool = False
) -> list[str]:
    """Completions of one batch of conversations, greedy or sampled at temperature 1."""
    from .fast.kv_cache import roomy_cache  # transformers' own cache copies itself for each token

    batch = encoded(processing_class, conversations, device=model.device)
    if sample:
        decoding = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    else:
        decoding = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    decoding |= {"max_new_tokens": max_new_tokens, "past_key_values": roomy_cache()}
    placeholders = placeholder_ids(model.config)
    tokens = model.generate(**batch, **decoding, suppress_tokens=placeholders)
    completions = tokens[:, batch["input_ids"].shape[1] :]
    return processing_class.tokenizer.batch_decode(completions, skip_special_tokens=True)


def quotes_premises(row: dict, completion: str) -> bool:
    """Does the completion hold both premises and the conclusion, but for case and punctuation?"""
    said = _words(completion)
    return all(_words(row[name]) in said for name in STATEMENTS)


def _words(text: str) -> str:
    return " " + " ".join(re.findall(r"\w+", text.lower())) + " "


def sounds(rows: list[dict], control: str, *, limit: float, only) -> list[np.ndarray]:
    """The clips, 16 kHz, for the rows with the indices `only`: their own ("true"), zeros of the
    same length ("silent"), or another row's ("swapped"). `limit` is in seconds."""
    one_of(AUDIO_CONTROLS, control, what="audio control")
    sources = donors([row["label"] for row in rows]) if control == "swapped" else range(len(rows))
    chosen = [rows[sources[i]] for i in only]
    clips = [load_clip(row_name(row), row["question_audio"], max_seconds=limit) for row in chosen]
    return [np.zeros_like(clip) for clip in clips] if control == "silent" else clips


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

    def share(answers: list[Answer], name: str) -> float:
        return sum(getattr(answer, name) for answer in answers) / len(answers)

    low, high = wilson_interval(sum(answer.correct for answer in greedy), len(greedy))
    return {
        "accuracy": share(greedy, "correct"),
        "ci_low": low,
        "ci_high": high,
        "sampled_accuracy": share(sampled, "correct") if sampled else None,
        "premises_exact": share(greedy, "premises_exact"),
        "format_rate": share(greedy, "format"),
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
