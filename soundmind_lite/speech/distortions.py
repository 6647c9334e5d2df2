"""Degrades good speech, to measure how much of it a listener tolerates.

Arrays are float32 mono; each function returns a new array of the same sample rate.
"""

import numpy as np

from ..audio import SAMPLE_RATE, checked


def with_noise(audio: np.ndarray, snr_db: float, *, seed: int = 0) -> np.ndarray:
    """The audio with white noise at a signal-to-noise ratio in dB (0 dB: as loud as the speech)."""
    audio = checked(audio)
    power = float(np.mean(audio**2)) / 10 ** (snr_db / 10)
    noise = np.random.default_rng(seed).normal(0, np.sqrt(power), len(audio))
    return audio + noise.astype(np.float32)


def faster(audio: np.ndarray, speed: float) -> np.ndarray:
    """The same pitch at another speed; 2.0 takes half the time."""
    import librosa

    return librosa.effects.time_stretch(checked(audio), rate=speed).astype(np.float32)


def other_voice(
    audio: np.ndarray, semitones: float, *, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """The voice raised (or lowered) by semitones: a stand-in for another speaker, equally long."""
    import librosa

    shifted = librosa.effects.pitch_shift(checked(audio), sr=sample_rate, n_steps=semitones)
    return shifted.astype(np.float32)


def band_limited(
    audio: np.ndarray, highest_hz: float, *, sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """The audio without frequencies above `highest_hz`; a telephone's limit is about 3,400 Hz."""
    from scipy.signal import butter, sosfiltfilt

    if not 0 < highest_hz < sample_rate / 2:
        raise ValueError(
            f"highest_hz must lie between 0 and half the sample rate, {sample_rate / 2:g}; "
            f"got {highest_hz:g}"
        )
    low_pass = butter(8, highest_hz, "low", fs=sample_rate, output="sos")
    return sosfiltfilt(low_pass, checked(audio)).astype(np.float32)
