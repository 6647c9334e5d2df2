"""What distortion does to transcripts, and what it does to the trained model's accuracy.

`python -m soundmind_lite.course.distorted FILE` measures all of it, in about a minute and a half
on one core, and writes the file that notebook 08 shows.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from .. import data, evaluation, speech
from ..audio import load_audio
from ..profiles import ASSETS
from ..prompts import VERDICTS
from ..runs import adapter
from ..speech import distortions

SHIPPED = ASSETS / "runs" / "spoken" / "distorted.json"
SPEEDS = (0.7, 1.0, 1.3, 1.6, 2.0)
NOISE = (20, 10, 5, 0)  # signal-to-noise ratios in dB
VERDICT_NOISE = (20, 5, 0, -3)
ANSWERS, SEEDS = 12, 8
CHANGES = {
    "unchanged": partial(np.array),
    "noise, 40 dB": partial(distortions.with_noise, snr_db=40),
    "noise, 30 dB": partial(distortions.with_noise, snr_db=30),
    "noise, 20 dB": partial(distortions.with_noise, snr_db=20),
    "a quarter faster": partial(distortions.faster, speed=1.25),
    "2 semitones up": partial(distortions.other_voice, semitones=2),
    "up to 6,000 Hz": partial(distortions.band_limited, highest_hz=6000),
    "telephone, 3,400 Hz": partial(distortions.band_limited, highest_hz=3400),
}


def short_answers(rows: Iterable[dict]) -> list[str]:
    """An answer of three sentences for each row: its premises and its verdict."""
    texts = []
    for row in rows:
        verdict = VERDICTS[row["label"]].replace("-", " ")
        texts.append(f"{row['major_premise']}. {row['minor_premise']}. Answer: {verdict}.")
    return texts


def mean_wer(texts: list[str], *, speed: float = 1.0, snr_db: float | None = None) -> float:
    """Mean word error rate of texts spoken at a speed, with noise at a signal-to-noise ratio."""
    errors = []
    for text in texts:
        audio, rate = speech.speak(text, speed=speed)
        if snr_db is not None:
            audio = distortions.with_noise(audio, snr_db)
        errors.append(speech.word_error_rate(text, speech.transcribe(audio, rate)))
    return float(np.mean(errors))


def verdict_clips(seeds: int = SEEDS) -> list[tuple[np.ndarray, int]]:
    """A short answer with each verdict, spoken with each seed: arrays and their rate in Hz."""
    texts = [f"So all poets are robins. Answer: {v}." for v in ("entailed", "not entailed")]
    return [speech.speak(text, seed=seed) for text in texts for seed in range(seeds)]


def endings(clips: list[tuple[np.ndarray, int]], snr_db: float) -> Counter:
    """What the transcripts of the clips, in noise, say after "answer", and how often."""
    found = Counter()
    for audio, rate in clips:
        transcript = speech.transcribe(distortions.with_noise(audio, snr_db), rate)
        found[speech.normalised(transcript).partition("answer")[2].strip()] += 1
    return found


def accuracy(trained, rows: Iterable[dict], change: Callable, **asked) -> dict:
    """`evaluation.summary` of the answers to questions whose audio went through `change`.

    `asked` are the keyword arguments of `evaluation.answer_rows`.
    """
    changed = []
    for row in rows:
        changed.append(row | {"question_audio": change(load_audio(row["question_audio"]))})
    return evaluation.summary(evaluation.answer_rows(trained, changed, **asked))


def measure() -> dict:
    """The contents of the file: each kind of measurement by what was changed, to four digits."""
    texts = short_answers(data.load_alr("mini", "dev", max_rows=ANSWERS))
    clips = verdict_clips()
    trained, processor, profile = adapter.load_trained(ASSETS / "runs" / "all_seed0")
    rows = data.load_alr(profile.data, "dev")
    asked = {"processing_class": processor, "profile": profile}
    by_change = {}
    for name, change in CHANGES.items():
        found = accuracy(trained, rows, change, **asked)
        kept = ("accuracy", "ci_low", "ci_high", "premises_exact", "n")
        by_change[name] = {key: round(found[key], 4) for key in kept}
    return {
        "wer_by_speed": {str(v): round(mean_wer(texts, speed=v), 4) for v in SPEEDS},
        "wer_by_noise": {str(v): round(mean_wer(texts, snr_db=v), 4) for v in NOISE},
        "endings_by_noise": {str(v): dict(endings(clips, v).most_common()) for v in VERDICT_NOISE},
        "accuracy_by_change": by_change,
    }


def shipped() -> dict:
    """What the shipped file holds."""
    return json.loads(SHIPPED.read_text(encoding="utf-8"))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(measure(), indent=2) + "\n", encoding="utf-8")
