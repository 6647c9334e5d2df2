"""A question of one's own is spoken so that the shipped tiny model understands it."""

import numpy as np
import pytest

from soundmind_lite import data, evaluation, speech
from soundmind_lite.audio import SAMPLE_RATE, load_audio
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs import adapter
from soundmind_lite.tiny import data as tiny_data

QUESTION = 'Major premise is "all dragons are teachers". Minor premise is "all poets are dragons".'


def test_a_question_has_the_pace_the_pauses_and_the_level_of_mini_alr():
    """Spoken anew with their own seeds, the dev clips come out sample by sample."""
    for i, row in enumerate(data.load_alr("mini", "dev").select(range(3))):
        audio, rate = speech.speak_question(row["question"], tiny_data.VOICE_SEEDS["dev"] + i)
        shipped = load_audio(row["question_audio"])
        assert rate == SAMPLE_RATE
        assert len(audio) == len(shipped)
        assert np.corrcoef(audio, shipped)[0, 1] > 0.95  # but for the Opus encoding


def test_the_same_seed_gives_the_same_samples():
    first, again, other = (speech.speak_question(QUESTION, seed)[0] for seed in (0, 0, 1))
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert len(first) != len(other)
    assert np.array_equal(first, speech.speak_question(QUESTION.replace('"', ""))[0])
    assert np.abs(first).max() <= 1


def test_a_question_that_cannot_be_read_is_an_error():
    with pytest.raises(speech.Unreadable, match="reads nothing in '龙'"):
        speech.speak_question(QUESTION.replace("dragons", "龙"))


def test_the_trained_model_hears_questions_that_are_spoken_anew():
    """Twenty dev rows, with seeds that no clip of mini_alr has."""
    model, processor, profile = adapter.load_trained(ASSETS / "runs" / "all_seed0")
    rows = []
    for i, row in enumerate(data.load_alr("mini", "dev").select(range(20))):
        audio, _ = speech.speak_question(row["question"], 200_000 + i)
        rows.append(row | {"question_audio": audio})
    answers = evaluation.answer_rows(model, rows, processing_class=processor, profile=profile)
    assert sum(answer.correct for answer in answers) >= 18
    assert sum(answer.premises_exact for answer in answers) >= 17
