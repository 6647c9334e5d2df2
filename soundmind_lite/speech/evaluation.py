"""Measures spoken answers: the verdict is read from what is *heard*, not from the text behind it, and the word error rate says how much was lost."""
from dataclasses import dataclass

import numpy as np

from ..data import check_setting
from ..evaluation import Answer, wilson_interval
from ..prompts import VERDICTS, prompt, with_audio
from . import word_error_rate
from .spoken import CASCADE, Voice, heard_verdict


@dataclass(frozen=True)
class SpokenAnswer:
    """One answer and its speech. `correct` is judged by the transcript, `correct_text` by the text; `wer` is 1 if nothing could be spoken."""

    id: str
    completion: str
    transcript: str
    correct: bool
    correct_text: bool
    wer: float
    seconds: float


def listen(rows, answers: list[Answer], voice: Voice = CASCADE, *, setting: str = "audio-audio", progress: str | None = None) -> list[SpokenAnswer]:
    """Lets `voice` speak each answer and the ASR write it down. `rows` are those that the answers belong to, in their order; `setting` says how they were asked."""
    from tqdm.auto import tqdm

    rows, heard = list(rows), []
    hears = check_setting(setting).startswith("audio")
    if hasattr(voice, "begin"):
        voice.begin([answer.completion for answer in answers], "whole")
    for row, answer in tqdm(list(zip(rows, answers, strict=True)), desc=progress, disable=progress is None, leave=False):
        asked = with_audio(prompt(None if hears else row["question"]), row["question_audio"] if hears else None)
        speech = voice([answer.completion], "whole", prompts=[asked])[0]
        said, transcript, seconds = (speech.said, speech.heard, speech.seconds) if speech else ("", "", 0.0)
        correct = heard_verdict(transcript) == VERDICTS[row["label"]]
        wer = word_error_rate(said, transcript) if said else 1.0
        heard.append(SpokenAnswer(answer.id, answer.completion, transcript, correct, answer.correct, wer, seconds))
    return heard


def mean_interval(values: list[float], resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean: quantiles of the means of samples drawn with replacement (Efron 1979)."""
    values = np.asarray(values, dtype=float)
    if not values.size:
        raise ValueError("a mean of no values has no interval")
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    return tuple(np.quantile(values[draws].mean(axis=1), (0.025, 0.975)).tolist())


def summary(spoken: list[SpokenAnswer], voice: Voice = CASCADE) -> dict:
    """Accuracy as heard with its Wilson interval, accuracy of the text behind it, mean word error rate with its bootstrap interval, seconds of speech."""
    n = len(spoken)
    low, high = wilson_interval(sum(s.correct for s in spoken), n)
    wer = [s.wer for s in spoken]
    wer_low, wer_high = mean_interval(wer)
    return dict(
        accuracy=sum(s.correct for s in spoken) / n, ci_low=low, ci_high=high, accuracy_text=sum(s.correct_text for s in spoken) / n,
        wer=sum(wer) / n, wer_low=wer_low, wer_high=wer_high, seconds_of_speech=sum(s.seconds for s in spoken) / n,
        unspoken=sum(not s.transcript for s in spoken), n=n, voice=voice.name,
    )
