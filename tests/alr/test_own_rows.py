"""Rows of one's own: both files are written, or neither."""

import json

import numpy as np
import pytest
from conftest import good_row

from soundmind_lite.alr.own_rows import add_row
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.data import ALRFormatError, load_alr

CLIP = {"split": "dev", "audio": [0.1] * 1600, "sample_rate": 16_000}


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        ([0.1] * 10, 16_000, "10 samples at 16000 Hz are no clip"),
        ([0.1] * 1600, 0, "no clip"),
        ([0.1] * 1600, 16_000.5, "no clip"),
        ([50.0] * 1600, 16_000, "the file would hold it clipped"),
    ],
)
def test_a_row_whose_audio_is_no_clip_is_not_added(audio, rate, words, tmp_path):
    with pytest.raises(AudioError, match=words):
        add_row(tmp_path, good_row(), split="dev", audio=audio, sample_rate=rate)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": 2}, "new row, id '0001': label must be 1"),
        ({"id": "../x"}, "an id is a file name"),
        ({"user_content": "What follows?"}, "the question has no"),
    ],
)
def test_a_row_out_of_format_is_not_added(change, words, tmp_path):
    with pytest.raises(ALRFormatError, match=words):
        add_row(tmp_path, {**good_row(), **change}, **CLIP)
    with pytest.raises(ValueError, match="there is no split 'val'"):
        add_row(tmp_path, good_row(), **{**CLIP, "split": "val"})
    assert list(tmp_path.iterdir()) == []


def test_an_id_is_added_once(tmp_path):
    clip = add_row(tmp_path, good_row(), **CLIP)
    with pytest.raises(ALRFormatError, match="the id '0001' is taken; choose another"):
        add_row(tmp_path, good_row(major="b"), **{**CLIP, "audio": np.zeros(1600)})
    assert load_audio(clip).max() == pytest.approx(0.1, abs=1e-3)
    assert load_alr(tmp_path, "dev")["question_audio"] == [str(clip)]


def test_a_row_is_added_below_a_last_line_without_an_end(tmp_path):
    (tmp_path / "dev.jsonl").write_text(json.dumps(good_row()), encoding="utf-8")
    add_row(tmp_path, good_row("2", major="b"), **CLIP)
    assert load_alr(tmp_path, "dev")["id"] == ["0001", "2"]
