"""A clip as an array, mono at 16 kHz, or exactly why it can't be used.

Nothing is cut, padded or repaired silently.
"""

import io
from contextlib import contextmanager
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000  # Hz
MIN_SECONDS = 0.05  # 0.02 s and less make no audio token at all
MAX_AMPLITUDE = 100.0  # full scale is 1; integers stored as floats would overflow in the features

Clip = str | Path | dict | np.ndarray | list[float]


class AudioError(ValueError):
    """A clip that must not be trained or tested on."""


def load_audio(clip: Clip, max_seconds: float | None = None) -> np.ndarray:
    """The clip as a float32 array at 16 kHz; stereo files are averaged, other rates resampled.

    `clip` is a path, a float array at 16 kHz, `{"path", "bytes"}` as `datasets.Audio(decode=False)`
    gives it, or `{"array", "sampling_rate"}`.

    Raises AudioError, naming the file, if the clip is missing, unreadable, cut or damaged, shorter
    than `MIN_SECONDS`, longer than `max_seconds`, or has absurd samples or cancelling channels.
    """
    from .fast import decoding  # of files, with all that can be wrong with one

    parts = clip if isinstance(clip, dict) else {}
    if parts.get("array") is not None or isinstance(clip, list) or hasattr(clip, "__array__"):
        name = "the array"
        with named(name):
            audio = resampled(parts.get("array", clip), parts.get("sampling_rate", SAMPLE_RATE))
    elif parts.get("bytes") is not None:
        name = parts.get("path") or f"a clip of {len(parts['bytes'])} bytes"
        audio = decoding.decoded(io.BytesIO(parts["bytes"]), name, max_seconds)
    else:
        name = str(parts.get("path") if parts else clip)
        audio = decoding.from_file(Path(name), max_seconds)
    check_length(name, len(audio) / SAMPLE_RATE, limit=max_seconds)
    return audio


def load_clip(row: str, clip: Clip, *, max_seconds: float | None = None) -> np.ndarray:
    """`load_audio` for the clip of a row, whose name is then part of every error."""
    with named(f"row {row}"):
        return load_audio(clip, max_seconds)


@contextmanager
def named(what: str):
    """Puts a name, of a file or a row, before the AudioErrors inside."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{what}: {error}") from error


def checked(audio: np.ndarray) -> np.ndarray:
    """The array as float32; AudioError (a ValueError) if it is empty, not mono or not finite."""
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1 or audio.size == 0:
        raise AudioError(f"expected a mono array of one sample or more, got shape {audio.shape}")
    if not np.isfinite(audio).all():
        bad = int((~np.isfinite(audio)).sum())
        raise AudioError(f"{bad} of {audio.size} samples are NaN or infinite; export it again")
    if (largest := np.abs(audio).max()) > MAX_AMPLITUDE:
        raise AudioError(f"the largest sample is {largest:.3g} and full scale is 1; scale the clip")
    return audio


def resampled(audio, sample_rate: int, *, target_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The checked array at `target_rate` Hz."""
    import soxr

    audio = checked(audio)
    same = sample_rate == target_rate
    return audio if same else soxr.resample(audio, sample_rate, target_rate).astype(np.float32)


def check_length(name: str, seconds: float, *, limit: float | None) -> None:
    """AudioError, with the name, for a clip of too few or too many seconds."""
    if seconds < MIN_SECONDS:
        raise AudioError(f"{name}: {seconds:.3f} s long, at least {MIN_SECONDS} s are needed")
    if limit is not None and seconds > limit:
        allowed = f"the profile's limit is {limit:.1f} s"
        remedy = "raise max_audio_seconds or leave the row out"
        raise AudioError(f"{name}: {seconds:.1f} s long, {allowed}; {remedy}")
