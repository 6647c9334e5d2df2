"""The figures of notebook 01: a clip as samples and as frequency bands, and four versions of it."""

import numpy as np
from matplotlib.figure import Figure

from ...audio import SAMPLE_RATE
from ...runs.report import BLUE, WIDTH
from .. import show

TICKS = (250, 1_000, 4_000, 8_000)  # Hz
DARKEST = -80  # dB below the loudest; what is weaker looks like silence
STEP = 5  # dB; levels in steps make a file of half the size


def _bands(axes, audio: np.ndarray, *, bottom: str = "frequency (Hz)"):
    """Draws the mel spectrogram of a clip; its vertical axis counts bands and says their Hz."""
    import librosa

    levels = np.round(show.mel(audio) / STEP) * STEP
    # Band k rises from edge k to its centre at edge k + 1
    centres = librosa.mel_frequencies(len(levels) + 2, fmax=SAMPLE_RATE / 2)[1:-1]
    extent = (0, len(audio) / SAMPLE_RATE, 0, len(levels))
    drawn = axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        cmap="cividis",
        interpolation="nearest",
        extent=extent,
        vmin=DARKEST,
    )
    where = np.interp(TICKS, centres, np.arange(len(centres)) + 0.5)
    axes.set_yticks(where, [f"{hertz:,}" for hertz in TICKS])
    axes.set_ylabel(bottom)
    return drawn


def spectrogram(audio: np.ndarray) -> show.Picture:
    """The waveform of test question 0003 above its mel spectrogram; mono, 16 kHz."""
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    wave, bands = figure.subplots(2, 1, sharex=True)
    seconds = np.arange(len(audio)) / SAMPLE_RATE
    wave.plot(seconds, audio, color=BLUE, linewidth=0.5)
    wave.set(ylabel="sample", xlim=(0, seconds[-1]))
    drawn = _bands(bands, audio)
    bands.set_xlabel("seconds")
    figure.colorbar(drawn, ax=bands, location="bottom", label="dB, the loudest being 0")
    return show.picture(
        figure,
        "Above, the samples of a question of 6.5 seconds: three bursts, one for each sentence, "
        "with short pauses between them. Below, the strength of 128 frequency bands over the same "
        "time, from low to high. Speech shows as stacked bright stripes, strongest below 1,000 "
        "hertz; hissing sounds such as s reach up to 8,000 hertz; pauses are dark columns.",
    )


def versions(clips: dict[str, np.ndarray]) -> show.Picture:
    """The mel spectrograms of the clips of `faulty.versions`, one below the other."""
    figure = Figure(figsize=(WIDTH, 1.5 * len(clips)), layout="constrained")
    panels = figure.subplots(len(clips), 1, sharex=True)
    for axes, (letter, clip) in zip(panels, clips.items(), strict=True):
        _bands(axes, clip, bottom="Hz")
        axes.set_title(letter, loc="left", fontweight="bold")
    longest = max(len(clip) for clip in clips.values()) / SAMPLE_RATE
    panels[-1].set(xlabel="seconds", xlim=(0, longest))
    return show.picture(
        figure,
        "Spectrograms of four versions of one question on one time axis. A lasts 8.7 seconds: "
        "three stretched sentences, dark above 6,000 hertz. B lasts 6.5 seconds: three sentences, "
        "dark above 4,000 hertz from beginning to end. C lasts 6.5 seconds: three sentences that "
        "reach up to 8,000 hertz. D looks like C up to 4.0 seconds, where it ends at full "
        "strength, near the end of the second sentence.",
    )
