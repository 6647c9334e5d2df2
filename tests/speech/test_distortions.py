"""Distortions do what they say, and a listener tolerates less of the stronger ones."""

import numpy as np
import pytest

from soundmind_lite import data, evaluation
from soundmind_lite.audio import load_audio
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs import adapter
from soundmind_lite.speech import distortions

RATE = 16_000
TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def loudest_hz(audio):
    return np.argmax(np.abs(np.fft.rfft(audio))) * RATE / len(audio)


@pytest.mark.parametrize("snr", [20, 0, -10])
def test_noise_has_the_asked_level(snr):
    noise = distortions.with_noise(TONE, snr) - TONE
    assert 10 * np.log10(np.mean(TONE**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.3)
    assert np.array_equal(distortions.with_noise(TONE, snr), distortions.with_noise(TONE, snr))


def test_speed_changes_the_time_and_pitch_changes_the_pitch():
    fast, high = distortions.faster(TONE, 2.0), distortions.other_voice(TONE, 12)
    assert len(fast) == pytest.approx(len(TONE) / 2, rel=0.05)
    assert loudest_hz(fast) == pytest.approx(440, rel=0.03)
    assert len(high) == len(TONE)
    assert loudest_hz(high) == pytest.approx(880, rel=0.03)


def test_a_band_limit_takes_what_is_above_it():
    assert np.abs(distortions.band_limited(TONE, 200)).max() < 0.05
    passed = distortions.band_limited(TONE, 2000)
    assert np.abs(passed).max() == pytest.approx(0.3, rel=0.05)
    with pytest.raises(ValueError, match="half the sample rate, 8000; got 9000"):
        distortions.band_limited(TONE, 9000)


def test_strong_noise_spoils_the_premises():
    model, processor, _ = adapter.load_trained(ASSETS / "runs" / "all_seed0")
    rows = data.load_alr("mini", "dev").select(range(10))

    def noisy(clip):
        return distortions.with_noise(clip, -10)

    clean = evaluation.answer_rows(model, rows, processing_class=processor, profile="tiny")
    changed = [row | {"question_audio": noisy(load_audio(row["question_audio"]))} for row in rows]
    spoilt = evaluation.answer_rows(model, changed, processing_class=processor, profile="tiny")
    assert sum(answer.premises_exact for answer in clean) >= 8
    assert sum(answer.premises_exact for answer in spoilt) <= 2
