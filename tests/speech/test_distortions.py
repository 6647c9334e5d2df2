"""Distortions do what they say, and a listener bears less of the stronger ones."""
import numpy as np
import pytest

from soundmind_lite import data, evaluation, train as runs
from soundmind_lite.speech import distortions
from soundmind_lite.profiles import ASSETS

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
    assert np.abs(distortions.band_limited(TONE, 2000)).max() == pytest.approx(0.3, rel=0.05)
    with pytest.raises(ValueError, match="half the sample rate, 8000; got 9000"):
        distortions.band_limited(TONE, 9000)


def test_strong_noise_is_heard_worse():
    model, processor, _ = runs.trained(ASSETS / "runs" / "all_seed0")
    rows = data.load_alr("mini", "dev").select(range(10))
    heard = lambda **how: sum(a.premises_exact for a in evaluation.answer_rows(model, processor, rows, **how))
    assert heard() >= 8
    assert heard(distort=lambda clip: distortions.with_noise(clip, -10)) <= 2
