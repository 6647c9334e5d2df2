"""What has a fault in notebook 01: a loader, and three of four versions of one clip."""

from pathlib import Path
from types import MappingProxyType

import numpy as np

from ..audio import SAMPLE_RATE, resampled
from ..speech.distortions import band_limited

WRONG_RATE = 12_000  # Hz that a file claims, though its samples were taken at SAMPLE_RATE
TELEPHONE = 3_400  # Hz, the highest frequency that a telephone passes
CUT_AFTER = 4.0  # seconds

# What happened to each version; look only after the exercise
FAULTS = MappingProxyType({"A": "wrong rate", "B": "telephone", "C": "none", "D": "cut"})


def by_position(folder: Path, split: str, ids: list[str]) -> dict[str, Path]:
    """The first clip for the first id, the second for the second, and so on."""
    clips = sorted((folder / split).glob("*/question.wav"))
    return dict(zip(ids, clips))


def versions(clip: np.ndarray) -> dict[str, np.ndarray]:
    """The versions of a mono clip at 16 kHz, by the letters of `FAULTS`, at 16 kHz as well."""
    made = {
        "wrong rate": resampled(clip, WRONG_RATE),
        "telephone": band_limited(clip, TELEPHONE),
        "none": clip,
        "cut": clip[: int(CUT_AFTER * SAMPLE_RATE)],
    }
    return {letter: made[fault] for letter, fault in FAULTS.items()}
