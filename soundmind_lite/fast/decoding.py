"""Sound files as arrays, decoded once and remembered, or exactly why not."""

import io
from pathlib import Path

import numpy as np

from ..audio import AudioError, check_length, named, resampled
from .remember import DECODED  # decoding is slow: the clips used last stay in memory


def from_file(path: Path, max_seconds: float | None) -> np.ndarray:
    """The clip of a file, decoded once while it stays as it is."""
    state = check_file(path)  # a file that has changed since is decoded again
    key = (str(path.resolve()), state.st_mtime_ns, state.st_size)
    return DECODED.get(key, lambda: decoded(path, str(path), max_seconds)).copy()


def check_file(path: str | Path):
    """The `stat` of a clip's file; AudioError if it isn't a file that can be read."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        path.open("rb").close()
        return path.stat()
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        why = getattr(error, "strerror", None) or error
        raise AudioError(f"{path}: {why}; was the audio of this row downloaded?") from error


def decoded(source: Path | io.BytesIO, name: str, max_seconds: float | None) -> np.ndarray:
    """The clip in a sound file, as `audio.load_audio` returns it; `name` stands in its errors."""
    import soundfile

    try:
        with soundfile.SoundFile(source) as file:
            rate = file.samplerate
            check_length(name, file.frames / rate, limit=max_seconds)
            audio = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except AudioError:
        raise
    except MemoryError as error:
        raise AudioError(f"{name}: too long for this machine's memory; give max_seconds") from error
    except (RuntimeError, TypeError, ValueError) as error:  # soundfile's errors are RuntimeErrors
        why = str(getattr(error, "error_string", error)).rstrip(".")
        formats = "WAV, FLAC, OGG and MP3 are"
        raise AudioError(f"{name}: not a readable sound file ({why}); {formats}") from error
    with named(name):
        return resampled(audio, rate)
