"""Speech synthesis, transcription and voice activity detection, on real speech."""

import os
import re
import unicodedata

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


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("किताब", "कुतुब", 1.0),  # Devanagari: the same consonants, other vowel signs
        ("मैं किताब पढ़ता हूँ", "मैं कुतुब पढ़ता हूँ।", 0.25),
        ("தமிழ் மொழி", "தமழ் மொழி", 0.5),
        ("বাংলা ভাষা", "বাংলা ভাষা!", 0.0),
        ("كِتَاب", "كُتُب", 1.0),
        ("كتاب جديد، هنا", "كتاب جديد هنا", 0.0),
        ("ภาษาไทย", "ภาษไทย", 1.0),
        ("がく", "かく", 1.0),
        ("我喜欢猫", "我喜欢猫。", 0.0),
        ("我喜欢猫", "我喜欢狗", 1.0),  # without spaces, one word
        ("한국 사람", "한국 사랑", 0.5),
        ("Привет, мир!", "привет мир", 0.0),
        ("x\u0304 y", "x y", 0.5),
        ("می\u200cخواهم", "میخواهم", 0.0),  # an invisible character
        ("café", "cafe", 1.0),
        ("don\u2019t stop", "Don't stop.", 0.0),
        ("well-known", "well known", 0.0),
    ],
)
def test_word_error_rate_of_other_scripts(reference, hypothesis, rate):
    assert speech.word_error_rate(reference, hypothesis) == rate


@pytest.mark.parametrize(
    "text", ["The café is in Orléans", "한국어", "がく", "Đặng Văn Hùng", "क़लम", "\u212bngström"]
)
def test_the_same_words_composed_and_decomposed_have_no_error(text):
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert speech.word_error_rate(*forms) == speech.word_error_rate(*reversed(forms)) == 0
    assert speech.normalised(forms[0]) == speech.normalised(forms[1])


def test_a_sentence_keeps_its_number_of_words():
    for text, count in (("मैं किताब पढ़ता हूँ", 4), ("தமிழ் ஒரு மொழி", 3), ("ฉัน รัก แมว", 3)):
        assert len(speech.normalised(text).split()) == count


@pytest.mark.parametrize("text", ["", " . ", "।", "\u0301", "\u200d"])
def test_a_reference_without_a_word_is_an_error(text):
    with pytest.raises(ValueError, match="holds no word"):
        speech.word_error_rate(text, "cats")


@pytest.mark.parametrize("seconds", [1, 5, 30, 60])
def test_silence_has_no_transcript(seconds):
    """Whisper alone writes "You"."""
    assert speech.transcribe(np.zeros(seconds * SAMPLE_RATE, np.float32), SAMPLE_RATE) == ""


@pytest.mark.parametrize("level", [0.001, 0.05, 0.3])
def test_a_hiss_or_a_tone_has_no_transcript(level):
    hiss = np.random.default_rng(0).normal(0, level, 24_000 * 8).astype(np.float32)
    tone = level * np.sin(np.arange(24_000 * 8) * 0.1).astype(np.float32)
    for clip in (hiss, tone):
        assert speech.speech_seconds(clip, 24_000) == 0
        assert speech.transcribe(clip, 24_000) == ""


def test_long_pauses_are_shortened_and_nothing_else_is():
    audio, rate = speech.speak("All cats are dogs. No dogs are birds.")
    spans = speech.speech_spans(audio, rate)
    assert speech.without_long_pauses(audio, rate, spans=spans) is audio
    silence = np.zeros(5 * rate, np.float32)
    padded = np.concatenate([silence, audio, silence, audio, silence])
    spans = speech.speech_spans(padded, rate)
    shorter = speech.without_long_pauses(padded, rate, spans=spans)
    assert speech.speech_seconds(shorter, rate) == pytest.approx(speech.seconds_in(spans), abs=0.2)
    # each of the three pauses is cut to a second
    assert len(shorter) / rate == pytest.approx(2 * len(audio) / rate + 3 - 4 * 0.33, abs=0.3)
    assert speech.transcribe(padded, rate).count("birds") == 2


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
