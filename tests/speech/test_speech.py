"""Speech synthesis, transcription and voice activity detection, on real speech."""

import os
import re

import numpy as np
import pytest

from soundmind_lite import data, speech
from soundmind_lite.audio import SAMPLE_RATE, load_audio


def test_the_voice_gives_the_same_samples_for_the_same_seed():
    text = "All cats are dogs. No dogs are birds."
    first, rate = speech.speak(text)
    again, _ = speech.speak(text, seed=0)
    other, _ = speech.speak(text, seed=1)
    assert rate == 24_000
    assert first.dtype == np.float32
    assert 2 < len(first) / rate < 8
    assert np.array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


@pytest.mark.parametrize("text", ["", "  ", "你好。", "Fine. 你好。"])
def test_text_that_the_voice_cannot_read_is_an_error(text):
    with pytest.raises(ValueError, match="the voice reads nothing"):
        speech.speak(text)


@pytest.mark.parametrize(
    "audio", [np.zeros(0), np.full(1600, np.nan), np.zeros((2, 1600)), np.r_[np.zeros(10), np.inf]]
)
@pytest.mark.parametrize("function", [speech.transcribe, speech.speech_seconds])
def test_arrays_that_are_no_clip_are_errors(function, audio):
    with pytest.raises(ValueError, match="sample"):
        function(audio.astype(np.float32), 16_000)


def test_speech_is_distinguished_from_silence_and_noise():
    clip = load_audio(data.load_alr("mini", "dev")[0]["question_audio"])
    silence = np.zeros(5 * SAMPLE_RATE, np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE).astype(np.float32)
    assert speech.speech_seconds(silence, SAMPLE_RATE) == 0
    assert speech.speech_seconds(noise, SAMPLE_RATE) <= 0.1
    duration = len(clip) / SAMPLE_RATE
    assert speech.speech_seconds(clip, SAMPLE_RATE) == pytest.approx(duration, rel=0.15)


def test_continuous_speech_is_detected_almost_completely():
    questions = " ".join(row["question"] for row in data.load_alr("mini", "dev").select(range(6)))
    audio, rate = speech.speak(questions.replace(".", ","))  # one breathless sentence
    assert len(audio) > 20 * rate
    assert 18 <= speech.speech_seconds(audio[: 20 * rate], rate) <= 20


def test_speech_of_a_text_is_the_sum_over_its_sentences():
    for row in data.load_alr("mini", "dev").select(range(20)):
        sentences = speech.SENTENCE_END.split(row["question"])
        assert len(sentences) == 3
        parts = [speech.speech_seconds(*speech.speak(sentence)) for sentence in sentences]
        seconds = speech.speech_seconds(*speech.speak(row["question"]))
        assert seconds == pytest.approx(sum(parts), rel=0.1)


def test_word_error_rate_counts_words():
    assert speech.word_error_rate("All cats are dogs.", "all cats are dogs") == 0
    assert speech.word_error_rate("all cats are dogs", "all cats or dogs") == 0.25
    with pytest.raises(ValueError, match="no word"):
        speech.word_error_rate(" . ", "cats")


def words(text):
    """The words of a text but for the unstressed "are", for which Whisper mostly writes "or"."""
    return [word for word in re.findall(r"[a-z']+", text.lower()) if word not in ("are", "or")]


def test_the_shipped_clips_say_what_their_rows_say():
    """Six clips, or all 540 with SOUNDMIND_ALL_CLIPS=1."""
    rows = [row for split in data.SPLITS for row in data.load_alr("mini", split)]
    rows = rows if os.environ.get("SOUNDMIND_ALL_CLIPS") else rows[::100]
    exact, errors = 0, []
    for row in rows:
        transcript = speech.transcribe(load_audio(row["question_audio"]), SAMPLE_RATE)
        exact += words(row["question"]) == words(transcript)
        errors.append(speech.word_error_rate(row["question"], transcript))
    print(
        f"\n{exact} of {len(rows)} transcripts exact but for are/or; "
        f"word error rate {np.mean(errors):.1%}"
    )
    assert exact >= 0.8 * len(rows)
