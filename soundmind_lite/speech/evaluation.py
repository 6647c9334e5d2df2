"""Measures spoken answers by their transcripts, not by the text that was spoken.

The word error rate reports how much is lost between the two.
"""

from dataclasses import dataclass

import numpy as np

from ..alr.rows import checked
from ..data import SETTINGS
from ..evaluation import Answer, wilson_interval
from ..profiles import one_of
from ..prompts import VERDICTS, prompt, with_audio
from . import word_error_rate
from .spoken import CASCADE, Speech, Voice, spoken_verdict


@dataclass(frozen=True)
class SpokenAnswer:
    """One answer and its speech; an answer that can't be spoken has no transcript."""

    id: str
    completion: str
    transcript: str
    correct: bool  # judged by the transcript
    correct_text: bool  # judged by the completion
    wer: float  # word error rate of the transcript; 1 if the answer can't be spoken
    seconds: float  # of detected speech


def listen(
    rows,
    answers: list[Answer],
    *,
    voice: Voice = CASCADE,
    setting: str = "audio-audio",
    progress: str | None = None,
) -> list[SpokenAnswer]:
    """Has `voice` speak each answer and Whisper transcribe it.

    `rows` are those of the answers, in the same order; `setting` is the one of the answers, since a
    talker speaks with the question before it. `progress` is the label of a progress bar.
    """
    from tqdm.auto import tqdm

    has_audio = one_of(SETTINGS, setting, what="setting").startswith("audio")
    if hasattr(voice, "begin"):
        voice.begin([answer.completion for answer in answers], "whole")
    pairs = list(zip(checked(rows, "label"), answers, strict=True))
    spoken = []
    for row, answer in tqdm(pairs, desc=progress, disable=progress is None, leave=False):
        if has_audio:
            conversation = with_audio(prompt(), row["question_audio"])
        else:
            conversation = with_audio(prompt(row["question"]), None)
        speech = voice([answer.completion], "whole", prompts=[conversation])[0]
        spoken.append(_judged(row, answer, speech))
    return spoken


def _judged(row: dict, answer: Answer, speech: Speech | None) -> SpokenAnswer:
    transcript, seconds, wer = "", 0.0, 1.0
    if speech:
        transcript, seconds = speech.transcript, speech.seconds
        wer = word_error_rate(speech.said, transcript)
    return SpokenAnswer(
        id=answer.id,
        completion=answer.completion,
        transcript=transcript,
        correct=spoken_verdict(transcript) == VERDICTS[row["label"]],
        correct_text=answer.correct,
        wer=wer,
        seconds=seconds,
    )


def mean_interval(
    values: list[float], *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean (Efron 1979).

    Its ends are quantiles of the means of samples drawn with replacement. Raises ValueError for no
    values.
    """
    values = np.asarray(values, dtype=float)
    if not values.size:
        raise ValueError("a mean of no values has no interval")
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def summary(spoken: list[SpokenAnswer], voice: Voice = CASCADE) -> dict:
    """The figures of spoken answers, as `result.json` holds them.

    `accuracy` (with its Wilson interval) is judged by the transcripts and `accuracy_text` by the
    texts; `wer` is the mean word error rate with its bootstrap interval, `seconds_of_speech` a
    mean, and `unspoken` the number of answers without a transcript.
    """
    n = len(spoken)
    correct = sum(answer.correct for answer in spoken)
    ci_low, ci_high = wilson_interval(correct, n)
    wer = [answer.wer for answer in spoken]
    wer_low, wer_high = mean_interval(wer)
    return {
        "accuracy": correct / n,
        "ci_low": ci_low,
        "ci_high": ci_high,
        "accuracy_text": sum(answer.correct_text for answer in spoken) / n,
        "wer": sum(wer) / n,
        "wer_low": wer_low,
        "wer_high": wer_high,
        "seconds_of_speech": sum(answer.seconds for answer in spoken) / n,
        "unspoken": sum(not answer.transcript for answer in spoken),
        "n": n,
        "voice": voice.name,
    }
