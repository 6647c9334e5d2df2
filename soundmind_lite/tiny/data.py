"""The audio of the small world: spoken sentences for the warm start, and mini_alr.

mini_alr is a data set in ALR's row format; its questions are spoken and its answers are not.
"""

import io
import itertools
import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ..audio import SAMPLE_RATE
from ..prompts import VERDICTS
from ..speech import joined, speak_question, utterance
from . import syllogisms

# (speed, seed) pairs of the warm start. Above a speed of 1.3 the voice swallows syllables.
BANK_VOICES = ((1.15, 0), (1.25, 1))
SPLITS = {"train": 240, "dev": 60, "test": 240}
# No clip of mini_alr shares a seed with the sentence bank or with another split.
VOICE_SEEDS = {"train": 1_000, "dev": 50_000, "test": 90_000}


def opus_bytes(audio: np.ndarray) -> bytes:
    """The clip as a mono OGG/Opus file at 16 kHz, about 3.4 kB a second."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="OGG", subtype="OPUS")
    return buffer.getvalue()


def _spoken_sentence(sentence: str) -> list[np.ndarray]:
    import soundfile

    clips = []
    for speed, seed in BANK_VOICES:
        encoded = opus_bytes(utterance(sentence, speed=speed, seed=seed))
        audio, _ = soundfile.read(io.BytesIO(encoded), dtype="float32")
        clips.append(np.int16(np.clip(audio, -1, 1) * 32767))
    return clips


class SentenceBank:
    """The sentences of the warm start, each spoken once in every voice setting.

    The clips (16 kHz, int16) are encoded as Opus and decoded again, like the shipped clips.
    """

    def __init__(self):
        self.clips: dict[str, list[np.ndarray]] = {}  # by sentence, one clip for each voice setting

    def speak_all(self, workers: int = 2) -> None:
        """Speaks every sentence: 3 roles × 3 quantifiers × 552 ordered pairs of nouns.

        Without it a sentence is spoken when a problem first needs it.
        """
        pairs = list(itertools.permutations(syllogisms.NOUNS, 2))
        sentences = []
        for role in syllogisms.ROLES:
            for quantifier, nouns in itertools.product(syllogisms.QUANTIFIERS, pairs):
                words = syllogisms.in_words((quantifier, *nouns))
                sentences.append(syllogisms.spoken_sentence(role, words))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            self.clips = dict(zip(sentences, pool.map(_spoken_sentence, sentences, chunksize=50)))

    def _variants(self, sentence: str) -> list[np.ndarray]:
        if sentence not in self.clips:
            self.clips[sentence] = _spoken_sentence(sentence)
        return self.clips[sentence]

    def say(
        self, problem: syllogisms.Problem, rng: random.Random, *, roles: tuple[int, ...] = (0, 1, 2)
    ) -> np.ndarray:
        """Spoken sentences of a problem as a float32 clip at 16 kHz.

        `roles` are indices of the sentences. Voice settings, pauses, loudness and a little noise
        are random.
        """
        variants = [rng.choice(self._variants(problem.spoken[role])) for role in roles]
        clips = [variant.astype(np.float32) / 32767 for variant in variants]
        pauses = [rng.uniform(0.1, 0.3) for _ in clips]
        audio = joined(clips, pauses) * rng.uniform(0.6, 1.2)
        level = rng.choice((0, 0.0005, 0.002))
        noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, level, len(audio))
        return audio + noise.astype(np.float32)


def problems(split: str, count: int, *, seed: int = 0) -> list[syllogisms.Problem]:
    """Distinct problems of a split: as many of each mood, and within a mood half entailed."""
    rng = random.Random(f"{split} {seed}")
    cells = itertools.cycle(itertools.product(syllogisms.MOODS, (True, False)))
    chosen: dict[syllogisms.Problem, None] = {}
    for mood, label in itertools.islice(cells, count):
        problem = syllogisms.draw(rng, split, mood=mood, label=label)
        while problem in chosen:
            problem = syllogisms.draw(rng, split, mood=mood, label=label)
        chosen[problem] = None
    shuffled = list(chosen)
    rng.shuffle(shuffled)
    return shuffled


def row(identifier: str, problem: syllogisms.Problem) -> dict:
    """A row of the annotation file, with ALR's four fields."""
    return {
        "id": identifier,
        "user_content": problem.question,
        "answer": f"{problem.reasoning}\n\nAnswer: {VERDICTS[problem.label]}.",
        "label": problem.label,
    }


def _spoken_question(job: tuple[syllogisms.Problem, int]) -> bytes:
    problem, seed = job
    audio, _ = speak_question(problem.question, seed)
    return opus_bytes(audio)


def build_mini_alr(
    out: Path, splits: dict[str, int] = SPLITS, *, seed: int = 0, workers: int = 2
) -> None:
    """Writes `{split}.jsonl` and `{split}/{id}/question.ogg` under `out`.

    This is the published folder layout with Opus instead of WAV. `splits` gives the number of rows
    of each split.
    """
    for split, count in splits.items():
        chosen = problems(split, count, seed=seed)
        jobs = [(problem, VOICE_SEEDS[split] + i) for i, problem in enumerate(chosen)]
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            clips = list(pool.map(_spoken_question, jobs, chunksize=10))
        rows = [row(f"{i:04}", problem) for i, problem in enumerate(chosen, 1)]
        for record, clip in zip(rows, clips):
            folder = out / split / record["id"]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "question.ogg").write_bytes(clip)
        lines = [json.dumps(record) + "\n" for record in rows]
        (out / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
