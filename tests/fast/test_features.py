"""Remembered features and clips are those that would be made anew; the memory stays bounded, and a
changed file is read again."""

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor

from soundmind_lite import audio, data
from soundmind_lite.fast import features
from soundmind_lite.fast.remember import Memory


@pytest.fixture
def clips():
    noise = np.random.default_rng(0)
    spoken = [
        audio.load_audio(row["question_audio"])
        for row in data.load_alr("mini", "dev").select(range(4))
    ]
    return spoken + [
        noise.normal(0, 0.1, n).astype(np.float32)
        for n in (800, 16_000, 16_001, 16_159, 12 * 16_000)
    ]


def test_frames_are_those_of_transformers(tiny, clips):
    ours = tiny[1].feature_extractor
    theirs = WhisperFeatureExtractor(**ours.to_dict())
    theirs.n_samples, theirs.nb_max_frames = ours.n_samples, ours.nb_max_frames
    options = dict(sampling_rate=16_000, return_attention_mask=True, return_tensors="pt")
    for _ in range(2):  # made, and remembered
        found, expected = ours(clips, **options), theirs(clips, **options)
        assert torch.equal(found["attention_mask"], expected["attention_mask"])
        real = expected["attention_mask"].bool()
        assert torch.equal(found["input_features"].mT[real], expected["input_features"].mT[real])


def test_another_rate_is_refused_as_by_transformers(tiny, clips):
    with pytest.raises(ValueError, match="sampling rate of 16000"):
        tiny[1].feature_extractor(clips[:1], sampling_rate=8000)


def test_what_it_saves_loads_without_this_library(tiny, tmp_path):
    tiny[1].save_pretrained(tmp_path)
    assert type(WhisperFeatureExtractor.from_pretrained(tmp_path)) is WhisperFeatureExtractor


def test_a_clip_is_computed_once(tiny, clips, monkeypatch):
    monkeypatch.setattr(features, "MEL_FEATURES", Memory(10))
    ours, made, truth = tiny[1].feature_extractor, [], features.WhisperFeatureExtractor._of
    monkeypatch.setattr(
        features.WhisperFeatureExtractor, "_of", lambda *args: made.append(1) or truth(*args)
    )
    for _ in range(3):
        ours([clips[0], clips[1], clips[0].copy()], sampling_rate=16_000)
    assert len(made) == 2


def test_a_memory_stays_bounded_and_makes_again_what_fell_out():
    memory, made = Memory(1), []

    def array(name, size=100_000):
        return memory.get(name, lambda: made.append(name) or np.zeros(size, np.float32))

    for name in "abcabdab":  # two of 0.4 MB fit
        array(name)
    assert made == list("abcabdab")
    assert memory.size <= 2**20
    array("b")
    assert len(made) == 8
    assert array("huge", 10**6).nbytes > 2**20
    assert memory.size <= 2**20


def test_a_changed_file_is_read_again(tmp_path):
    import os

    file = tmp_path / "a.wav"
    soundfile.write(file, np.full(16_000, 0.5), 16_000)
    first = audio.load_audio(file)
    first[:] = 0  # the caller's own
    assert audio.load_audio(file).max() > 0.4
    before = file.stat()
    soundfile.write(file, np.full(16_000, 0.25), 16_000)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert audio.load_audio(file).max() < 0.3
    with pytest.raises(audio.AudioError, match=r"the profile's limit is 0\.5 s"):
        audio.load_audio(file, 0.5)
