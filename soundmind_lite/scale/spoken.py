"""Questions to measure with: real speech of any length."""

from pathlib import Path

import numpy as np

from .. import data
from ..audio import SAMPLE_RATE, load_audio


def spoken_questions(count: int, seconds: float, folder: Path) -> list[dict]:
    """`count` training rows, each with a clip of its own of exactly `seconds`, written to `folder`.

    The clips are the pieces of mini_alr's questions, said one after another; all else is that of
    its first row.
    """
    import soundfile

    rows = data.training_rows(data.load_alr("mini", "train"))
    length = int(seconds * SAMPLE_RATE)  # samples of a clip
    speech, have = [], 0
    while have < count * length:
        speech.append(load_audio(rows[len(speech) % len(rows)]["audio"]))
        have += len(speech[-1])
    clips = np.concatenate(speech)[: count * length].reshape(count, length)
    questions = []
    for number, clip in enumerate(clips):
        file = folder / f"{number}.wav"
        soundfile.write(file, clip, SAMPLE_RATE)
        questions.append(rows[0] | {"audio": str(file)})
    return questions
