"""The small world's sound: a bank of spoken sentences for the warm start, and mini_alr, a data set in ALR's row format."""
import io
import itertools
import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from .. import speech
from . import syllogisms
from ..audio import SAMPLE_RATE as RATE
from ..audio import resampled
from ..prompts import VERDICTS

BANK_VOICES = ((1.15, 0), (1.25, 1))  # (speed, seed) pairs of the warm start; above 1.3 the voice swallows syllables
SPLITS = {"train": 240, "dev": 60, "test": 240}
VOICE_SEEDS = {"train": 1_000, "dev": 50_000, "test": 90_000}  # no clip of mini_alr shares a seed with the bank or another split


def utterance(sentence: str, speed: float, seed: int) -> np.ndarray:
    """One spoken sentence at 16 kHz without the silence around it, at twice the voice's level."""
    audio, rate = speech.speak(sentence, seed=seed, speed=speed)
    return np.clip(2 * resampled(speech.trimmed(audio, rate), rate, RATE), -1, 1)


def joined(sentences: list[np.ndarray], pauses: list[float]) -> np.ndarray:
    """The sentences one after the other, each followed by a pause (seconds)."""
    return np.concatenate([part for s, p in zip(sentences, pauses) for part in (s, np.zeros(int(p * RATE), np.float32))])


def opus_bytes(audio: np.ndarray) -> bytes:
    """The clip as a mono OGG/Opus file at 16 kHz, about 3.4 kB a second."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio, RATE, format="OGG", subtype="OPUS")
    return buffer.getvalue()


def _spoken_sentence(sentence: str) -> list[np.ndarray]:
    import soundfile

    clips = []
    for speed, seed in BANK_VOICES:
        audio, _ = soundfile.read(io.BytesIO(opus_bytes(utterance(sentence, speed, seed))), dtype="float32")
        clips.append(np.int16(np.clip(audio, -1, 1) * 32767))
    return clips


class SentenceBank:
    """The sentences of the warm start, each spoken once per voice setting (16 kHz, int16), through Opus and back like the shipped clips."""

    def __init__(self):
        self.clips: dict[str, list[np.ndarray]] = {}

    def speak_all(self, workers: int = 2) -> None:
        """Speaks every sentence there is: 3 roles × 3 quantifiers × 552 ordered pairs of nouns. What is missing is spoken when drawn."""
        statements = itertools.product(syllogisms.ROLES, syllogisms.QUANTIFIERS, itertools.permutations(syllogisms.NOUNS, 2))
        sentences = [syllogisms.spoken_sentence(role, syllogisms.in_words(quantifier, *nouns)) for role, quantifier, nouns in statements]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            self.clips = dict(zip(sentences, pool.map(_spoken_sentence, sentences, chunksize=50)))

    def _variants(self, sentence: str) -> list[np.ndarray]:
        if sentence not in self.clips:
            self.clips[sentence] = _spoken_sentence(sentence)
        return self.clips[sentence]

    def say(self, problem: syllogisms.Problem, rng: random.Random, roles: tuple[int, ...] = (0, 1, 2)) -> np.ndarray:
        """The spoken sentences of a problem with random voice settings, pauses, loudness and a little noise."""
        clips = [rng.choice(self._variants(problem.spoken[i])).astype(np.float32) / 32767 for i in roles]
        audio = joined(clips, [rng.uniform(0.1, 0.3) for _ in clips]) * rng.uniform(0.6, 1.2)
        noise = rng.choice((0, 0.0005, 0.002))
        return audio + np.random.default_rng(rng.randrange(1 << 30)).normal(0, noise, len(audio)).astype(np.float32)


def problems(split: str, count: int, seed: int = 0) -> list[syllogisms.Problem]:
    """Distinct problems of a split, as many of each mood and, within it, half entailed."""
    rng = random.Random(f"{split} {seed}")
    cells = itertools.cycle(itertools.product(syllogisms.MOODS, (True, False)))
    chosen: dict[syllogisms.Problem, None] = {}
    for mood, label in itertools.islice(cells, count):
        problem = syllogisms.draw(rng, split, mood, label)
        while problem in chosen:
            problem = syllogisms.draw(rng, split, mood, label)
        chosen[problem] = None
    shuffled = list(chosen)
    rng.shuffle(shuffled)
    return shuffled


def row(identifier: str, problem: syllogisms.Problem) -> dict:
    """A row of the annotation file, with ALR's four fields."""
    return dict(
        id=identifier, user_content=problem.question, answer=f"{problem.reasoning}\n\nAnswer: {VERDICTS[problem.label]}.", label=problem.label,
    )


def _spoken_question(job: tuple[syllogisms.Problem, int]) -> bytes:
    problem, seed = job
    rng = random.Random(seed)
    sentences = [utterance(s, rng.uniform(1.12, 1.28), seed) for s in problem.spoken]
    return opus_bytes(joined(sentences, [rng.uniform(0.15, 0.25) for _ in sentences]))


def build_mini_alr(out: Path, splits: dict[str, int] = SPLITS, seed: int = 0, workers: int = 2) -> None:
    """Writes `{split}.jsonl` and `{split}/{id}/question.ogg` under `out`, the published folder layout with Opus instead of WAV."""
    for split, count in splits.items():
        chosen = problems(split, count, seed)
        jobs = [(problem, VOICE_SEEDS[split] + i) for i, problem in enumerate(chosen)]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            clips = list(pool.map(_spoken_question, jobs, chunksize=10))
        rows = [row(f"{i:04}", problem) for i, problem in enumerate(chosen, 1)]
        for record, clip in zip(rows, clips):
            folder = out / split / record["id"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "question.ogg").write_bytes(clip)
        (out / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
