"""Clips that work, and the clear error of each that does not."""

import numpy as np
import pytest

from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.evaluation import answer_rows


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("plain.wav", {}),
        ("stereo.wav", {"channels": 2}),
        ("cd.wav", {"rate": 44_100}),
        ("phone.wav", {"rate": 8_000}),
        ("opus.ogg", {"format": "OGG", "subtype": "OPUS"}),
        ("flac.flac", {}),
        ("float.wav", {"subtype": "FLOAT"}),
        ("old.wav", {"subtype": "PCM_U8"}),
    ],
)
def test_every_usual_clip_becomes_16_khz_mono(tone, name, how):
    audio = load_audio(tone(name, **how))
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert len(audio) == pytest.approx(16_000, abs=200)
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.1 / np.sqrt(2), rel=0.1)
    assert np.argmax(np.abs(np.fft.rfft(audio))) == pytest.approx(220, abs=3)


def test_a_stereo_clip_is_averaged(tmp_path):
    import soundfile

    soundfile.write(
        tmp_path / "s.wav",
        np.stack([np.full(8000, 0.4), np.full(8000, 0.2)], 1),
        16_000,
        subtype="FLOAT",
    )
    np.testing.assert_allclose(load_audio(tmp_path / "s.wav"), 0.3, atol=1e-6)


def broken(tmp_path, kind, tone):
    path = tmp_path / f"{kind}.wav"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "corrupt":
        path.write_bytes(b"RIFF" + bytes(range(256)) * 8)
    elif kind == "text":
        path.write_text("this is not audio")
    elif kind == "header only":
        path.write_bytes(tone().read_bytes()[:44])
    elif kind == "short":
        tone(path.name, seconds=0.01)
    elif kind == "nan":
        tone(path.name, samples=np.full(16_000, np.nan), subtype="FLOAT")
    elif kind == "infinite":
        tone(path.name, samples=np.r_[np.zeros(16_000), np.inf], subtype="FLOAT")
    elif kind == "huge":
        tone(path.name, samples=np.full(16_000, 3e38), rate=44_100, subtype="FLOAT")
    elif kind == "raw":
        path = path.with_suffix(".raw")
        path.write_bytes(bytes(32_000))
    elif kind == "long":
        tone(path.name, seconds=13)
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "No such file"),
        ("empty", "not a readable sound"),
        ("corrupt", "not a readable sound"),
        ("text", "not a readable sound"),
        ("header only", r"cut or damaged: its header promises 1\.00 s and 0\.00 s are there"),
        ("short", "0.010 s long"),
        ("nan", "16000 of 16000 samples are NaN"),
        ("infinite", "1 of 16001 samples"),
        ("huge", "full scale is 1"),
        ("raw", "not a readable"),
        ("long", "13.0 s long, the profile's limit is 12.0 s"),
        ("folder", "not a file"),
    ],
)
def test_an_unusable_clip_says_why(tmp_path, tone, kind, message):
    path = broken(tmp_path, kind, tone)
    with pytest.raises(AudioError, match=message) as error:
        load_audio(path, max_seconds=12)
    assert path.name in str(error.value)


def test_the_evaluation_names_the_row(tiny, test_rows, tone):
    model, processor = tiny
    row = test_rows[0] | {"question_audio": str(tone("long.wav", seconds=13))}
    with pytest.raises(AudioError, match=f"row test/{row['id']}: .*long.wav: 13.0 s"):
        answer_rows(model, [row], processing_class=processor, profile="tiny")


FORMS = {
    "a path": lambda path: path,
    "a string": str,
    "a path of datasets.Audio": lambda path: {"path": str(path), "bytes": None},
    "bytes": lambda path: {"path": None, "bytes": path.read_bytes()},
    "an array": load_audio,
    "a list": lambda path: load_audio(path).tolist(),
    "an array with its rate": lambda path: {"array": load_audio(path), "sampling_rate": 16_000},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_clip_in_every_form_is_the_same_array(form, tone):
    path = tone(seconds=0.5)
    np.testing.assert_array_equal(load_audio(FORMS[form](path)), load_audio(path))


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (np.zeros(16_000 * 13), "the array: 13.0 s long, the profile's limit is 12.0 s"),
        (np.full(16_000, np.nan), "the array: 16000 of 16000 samples are NaN"),
        (np.zeros((2, 16_000)), "the array: expected a mono array"),
        ([], "the array: expected a mono array"),
        ({"path": "a.wav", "bytes": b"RIFF"}, "a.wav: not a readable sound file"),
        ({"path": None, "bytes": b"RIFF"}, "a clip of 4 bytes: not a readable sound file"),
        ({"path": None, "bytes": None}, "None: No such file"),
    ],
)
def test_an_unusable_clip_in_every_form_says_why(clip, words):
    with pytest.raises(AudioError, match=words):
        load_audio(clip, max_seconds=12)
