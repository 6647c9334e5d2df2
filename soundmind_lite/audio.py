"""Sound as arrays: reads one clip as 16 kHz mono float32, or says exactly why it can't be used. Nothing is cut, padded or mended in silence."""
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .fast.remember import Memory

SAMPLE_RATE = 16_000
MIN_SECONDS = 0.05  # 0.02 s and less make no audio token at all
MEMORY = Memory(128)  # megabytes of decoded clips; a minute takes 4
MAX_AMPLITUDE = 100.0  # full scale is 1; integers stored as floats, or worse, would overflow in the features


class AudioError(ValueError):
    """A clip that must not be trained or tested on."""


def checked(audio: np.ndarray) -> np.ndarray:
    """The array as float32, or AudioError (a ValueError) if it is empty, not mono, or holds NaN or infinite samples."""
    audio = np.asarray(audio, dtype=np.float32)
    if audio.ndim != 1 or audio.size == 0:
        raise AudioError(f"expected a mono array with at least one sample, got shape {audio.shape}")
    if not np.isfinite(audio).all():
        raise AudioError(f"{int((~np.isfinite(audio)).sum())} of {audio.size} samples are NaN or infinite; record or export it again")
    if np.abs(audio).max() > MAX_AMPLITUDE:
        raise AudioError(f"the largest sample is {np.abs(audio).max():.3g} and full scale is 1; scale it when you export it")
    return audio


def resampled(audio: np.ndarray, sample_rate: int, target_rate: int = SAMPLE_RATE) -> np.ndarray:
    """The checked array at `target_rate` Hz."""
    import soxr

    audio = checked(audio)
    return audio if sample_rate == target_rate else soxr.resample(audio, sample_rate, target_rate).astype(np.float32)


def load_audio(path: str | Path, max_seconds: float | None = None) -> np.ndarray:
    """The clip at `path` as a float32 array, mono at 16 kHz; stereo is averaged and other rates are resampled.

    Raises AudioError, naming the file, if it is missing, unreadable, empty, shorter than `MIN_SECONDS`, longer than `max_seconds`,
    or holds NaN, infinite or absurdly large samples.
    """
    path = Path(path or "no path")
    state = state_of(path)  # a file that was changed since is read again
    audio = MEMORY.get((str(path.resolve()), state), lambda: _decoded(path, max_seconds))
    _check_length(path, len(audio) / SAMPLE_RATE, max_seconds)  # again: a truncated file holds less than its header says
    return audio.copy()


def state_of(path: str | Path) -> tuple[int, int]:
    """When a clip's file was last written (ns) and its bytes; AudioError if there is no such file, or none that may be read."""
    path = Path(path or "no path")
    try:
        if path.is_file():
            path.open("rb").close()
            state = path.stat()
            return state.st_mtime_ns, state.st_size
        what = "a link that leads nowhere" if path.is_symlink() else "not a file" if path.exists() else "no such file; was the audio of this row downloaded?"
    except OSError as error:  # no permission, a name that is too long
        what = error.strerror
    raise AudioError(f"{path}: {what}")


@contextmanager
def of_row(name: str):
    """Puts the name of a row into the AudioErrors of its clip."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"row {name}: {error}") from error


def load_clip(row: str, path: str | Path, max_seconds: float | None = None) -> np.ndarray:
    """`load_audio` for the clip of a row, whose name then stands in every error."""
    with of_row(row):
        return load_audio(path, max_seconds)


class Sealed:
    """Clips that must stay as they are while a run lasts: one that is written to later is an error, and never another sound for the same row."""

    def __init__(self):
        self._states = {}

    def check(self, row: str, path: str | Path) -> None:
        """Notes the state of a clip's file when it is first met; AudioError, naming the row, if it is gone or was changed since."""
        with of_row(row):
            state = state_of(path)
            if self._states.setdefault(str(path), state) != state:
                raise AudioError(f"{path} was changed since this run began; put the clip back and go on with --resume, or start a new run")

    def load(self, row: str, path: str | Path, max_seconds: float | None = None) -> np.ndarray:
        """`load_clip`, with the file checked before and after it is read."""
        self.check(row, path)
        audio = load_clip(row, path, max_seconds)
        self.check(row, path)
        return audio


def _decoded(path: Path, max_seconds: float | None) -> np.ndarray:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            _check_length(path, file.frames / rate, max_seconds)
            audio = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except AudioError:
        raise
    except MemoryError as error:
        raise AudioError(f"{path}: too long for the memory of this machine ({error}); give max_seconds, or leave the row out") from error
    except (RuntimeError, TypeError, ValueError) as error:  # soundfile's own errors are RuntimeErrors
        why = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioError(f"{path}: not a readable sound file ({why}); WAV, FLAC, OGG and MP3 are") from error
    try:
        return resampled(audio, rate)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error


def _check_length(path: Path, seconds: float, max_seconds: float | None) -> None:
    if seconds < MIN_SECONDS:
        raise AudioError(f"{path}: {seconds:.3f} s of sound, at least {MIN_SECONDS} s are needed")
    if max_seconds is not None and seconds > max_seconds:
        raise AudioError(
            f"{path}: {seconds:.1f} s of sound, the profile's limit is {max_seconds:.1f} s; raise max_audio_seconds or leave the row out"
        )
