"""Measures a model on rows: accuracy with its interval, format, what it heard, the paired test, and whether it listens at all."""
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .audio import load_clip
from .fast.kv_cache import roomy_cache
from .models import encoded, max_audio_seconds, placeholder_ids, samples_from_numbers
from .prompts import VERDICTS, prompt, with_audio
from .rewards import has_text_format, parse_answer
from .training_data import check_setting, row_name

AUDIO_CONTROLS = ("true", "silent", "swapped")


@dataclass(frozen=True)
class Answer:
    """One completion and what was found in it."""

    id: str
    completion: str
    correct: bool
    format: bool
    premises_exact: bool


def wilson_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share. Unlike p ± 1.96·sd it stays within 0 and 1 and holds for small n (Wilson 1927).

    >>> [round(x, 3) for x in wilson_interval(534, 656)]
    [0.782, 0.842]
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 ≤ successes ≤ n and n ≥ 1, got {successes} of {n}")
    p, square = successes / n, z * z / n
    centre, half = p + square / 2, z * np.sqrt(p * (1 - p) / n + square / (4 * n))
    return float(max(0.0, (centre - half) / (1 + square))), float(min(1.0, (centre + half) / (1 + square)))


def paired_p(before: list[bool], after: list[bool]) -> float:
    """Exact two-sided McNemar test: of the rows whose verdict changed between right and wrong, could a fair coin have done it?"""
    from scipy.stats import binomtest

    gained = sum(a and not b for b, a in zip(before, after, strict=True))
    lost = sum(b and not a for b, a in zip(before, after, strict=True))
    return binomtest(gained, gained + lost).pvalue if gained + lost else 1.0


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Chance that at least one of k answers, drawn without replacement from `samples` of which `correct` are right, is right.

    The unbiased estimator of Chen et al. 2021, equation 1. For a question with two verdicts guessing alone gives 1 - 2^-k.

    >>> pass_at_k(samples=4, correct=1, k=2)
    0.5
    """
    from math import comb

    if not (0 <= correct <= samples and 1 <= k <= samples):
        raise ValueError(f"expected 0 ≤ correct ≤ samples and 1 ≤ k ≤ samples, got samples={samples}, correct={correct}, k={k}")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def quotes_premises(row: dict, completion: str) -> bool:
    """Does the completion hold both premises and the conclusion word for word (case and punctuation aside)?"""
    words = lambda text: " ".join(re.findall(r"\w+", text.lower()))
    said = f" {words(completion)} "
    return all(f" {words(row[name])} " in said for name in ("major_premise", "minor_premise", "conclusion"))


def donors(labels: list[int], seed: int = 0) -> list[int]:
    """For the swapped control: for each row the index of another row whose sound it gets.

    Within each label every second row gets the sound of its own label and the others of the other label, so a perfect listener scores 50 %
    (up to one row a label) whatever the balance of the labels.
    """
    rng, chosen = random.Random(seed), [0] * len(labels)
    pools = {y: [i for i, label in enumerate(labels) if label == y] for y in (0, 1)}
    for label, rows in pools.items():
        order = rng.sample(rows, len(rows))
        for place, i in enumerate(order):
            pool = [j for j in pools[label if place % 2 else 1 - label] if j != i]
            if not pool:
                raise ValueError("the swapped control needs rows of both labels")
            chosen[i] = rng.choice(pool)
    return chosen


def sounds(rows: list[dict], control: str, limit: float, only: Sequence[int] | None = None) -> list[np.ndarray]:
    """Clips for the rows at the places `only` (default: all), 16 kHz: their own ("true"), zeros of the same length ("silent"), or another row's ("swapped")."""
    if control not in AUDIO_CONTROLS:
        raise ValueError(f"there is no audio control {control!r}; choose one of {', '.join(AUDIO_CONTROLS)}")
    sources = donors([r["label"] for r in rows]) if control == "swapped" else range(len(rows))
    clips = []
    for place in range(len(rows)) if only is None else only:
        row = rows[sources[place]]
        clip = load_clip(row_name(row), row["question_audio"], limit)
        clips.append(np.zeros_like(clip) if control == "silent" else clip)
    return clips


@torch.no_grad()
def complete(model, processor, conversations: list[list[dict]], max_new_tokens: int, sample: bool = False) -> list[str]:
    """Completions of one batch of conversations (arrays as sound), greedy or sampled at temperature 1."""
    batch = encoded(processor, conversations, model.device)
    greedy = dict(do_sample=False, temperature=None, top_k=None, top_p=None)
    sampling = dict(do_sample=True, temperature=1.0, top_k=0, top_p=1.0) if sample else greedy
    out = model.generate(**batch, max_new_tokens=max_new_tokens, suppress_tokens=placeholder_ids(model.config), past_key_values=roomy_cache(), **sampling)
    return processor.tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def answer_rows(
    model, processor, rows, *, max_new_tokens: int = 100, batch_size: int = 40, control: str = "true", setting: str = "audio-text",
    sample: bool = False, seed: int = 0, progress: str | None = None, only: Sequence[int] | None = None,
    distort: Callable[[np.ndarray], np.ndarray] | None = None,
) -> list[Answer]:
    """Lets the model answer rows of `data.load_alr`, in their order.

    Batches are made of rows of like length, so that short clips don't pay for long ones. `progress` is the label of a progress bar. `only` names the
    places of the rows to answer (default: all); in the swapped control the others still lend their sound. `distort` changes each clip before it is heard (see `distortions`).
    """
    from tqdm.auto import tqdm

    rows = list(rows)
    hears = check_setting(setting).startswith("audio")
    if not hears and control != "true":
        raise ValueError(f"the control {control!r} changes the sound, and the setting {setting!r} has none")
    heard = sounds(rows, control, max_audio_seconds(processor), only) if hears else None
    if heard and distort:
        heard = [distort(clip) for clip in heard]
    rows = rows if only is None else [rows[i] for i in only]
    clips = heard or [None] * len(rows)
    length = [len(row["question"]) if clip is None else len(clip) for row, clip in zip(rows, clips)]
    order = sorted(range(len(rows)), key=length.__getitem__)
    was_training, completions = model.training, [""] * len(rows)
    model.eval()
    bar = tqdm(total=len(rows), desc=progress, disable=progress is None, leave=False)
    with torch.random.fork_rng():  # a measurement does not move the random numbers of the training around it
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            chosen = order[start : start + batch_size]
            conversations = [with_audio(prompt(rows[i]["question"] if clips[i] is None else None), clips[i]) for i in chosen]
            with samples_from_numbers(f"rows {', '.join(row_name(rows[i]) for i in chosen[:3])}, …"):
                texts = complete(model, processor, conversations, max_new_tokens, sample)
            for i, text in zip(chosen, texts):
                completions[i] = text
            bar.update(len(chosen))
    bar.close()
    model.train(was_training)
    return [
        Answer(row["id"], text, parse_answer(text) == VERDICTS[row["label"]], has_text_format(text), quotes_premises(row, text))
        for row, text in zip(rows, completions)
    ]


def summary(greedy: list[Answer], sampled: list[Answer] | None = None) -> dict:
    """What `result.json` holds of a measurement. Shares lie in 0 to 1; all but `sampled_accuracy` (None if not sampled) are of greedy answers."""
    share = lambda answers, name: sum(getattr(a, name) for a in answers) / len(answers)
    low, high = wilson_interval(sum(a.correct for a in greedy), len(greedy))
    return dict(
        accuracy=share(greedy, "correct"), ci_low=low, ci_high=high, sampled_accuracy=share(sampled, "correct") if sampled else None,
        premises_exact=share(greedy, "premises_exact"), format_rate=share(greedy, "format"), n=len(greedy),
    )
