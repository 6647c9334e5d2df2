"""Rows in, the trainer's columns out: the shipped data set, arguments, training rows."""

import json

import pytest
from conftest import ROOT, good_row

from soundmind_lite.alr.bad_rows import SkippedRows
from soundmind_lite.data import COLUMNS, SETTINGS, ALRFormatError, load_alr, training_rows


def test_mini_alr_has_the_columns_and_counts():
    assert COLUMNS == (
        "id",
        "split",
        "question",
        "major_premise",
        "minor_premise",
        "conclusion",
        "reasoning",
        "label",
        "question_audio",
        "answer_audio",
    )
    for split, count in (("train", 240), ("dev", 60), ("test", 240)):
        rows = load_alr("mini", split)
        assert tuple(rows.column_names) == COLUMNS
        assert len(rows) == count
        assert sum(rows["label"]) == count / 2


def test_streaming_gives_the_same_rows():
    assert next(iter(load_alr("mini", "dev", streaming=True))) == load_alr("mini", "dev")[0]


def test_a_part_is_random_and_always_the_same():
    part = load_alr("mini", "test", max_rows=40)
    ids = part["id"]
    assert len(ids) == 40
    assert ids == sorted(ids) != load_alr("mini", "test")["id"][:40]
    assert 10 < sum(part["label"]) < 30
    assert [row["id"] for row in load_alr("mini", "test", max_rows=40, streaming=True)] == ids
    assert len(load_alr("mini", "dev", max_rows=1000)) == 60


def test_without_audio_there_are_no_paths():
    assert set(load_alr("mini", "dev", audio=None)["question_audio"]) == {None}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "no split 'val'"),
        ({"source": "no/such/folder"}, "neither 'mini' nor a folder"),
        ({"audio": "all"}, "no choice of audio .all."),
        ({"max_seconds": 0}, "max_seconds must be a positive number, got 0"),
        ({"max_rows": -1}, "max_rows must be a positive number, got -1"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_alr(**arguments)


def test_training_rows_hold_what_the_rewards_need():
    row = training_rows(load_alr("mini", "dev"))[0]
    source = load_alr("mini", "dev")[0]
    assert isinstance(row["prompt"][0]["content"], str)
    assert row["audio"] == source["question_audio"]
    assert row["reference_length"] == len(source["reasoning"].split()) - 2  # less "Answer: …"
    written = training_rows(load_alr("mini", "dev"), "text-text")[0]
    assert written["audio"] is None
    assert source["question"] in written["prompt"][0]["content"]


def test_audio_settings_need_rows_with_audio():
    with pytest.raises(ValueError, match="loaded without audio"):
        training_rows(load_alr("mini", "dev", audio=None))
    with pytest.raises(ValueError, match="no setting 'audio-banana'"):
        training_rows(load_alr("mini", "dev"), "audio-banana")
    assert "audio-banana" not in SETTINGS


def test_a_row_without_reasoning_is_named_before_training(tmp_path):
    lines = [json.dumps(row) for row in (good_row(), good_row("7", answer="Answer: entailed."))]
    (tmp_path / "dev.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = load_alr(tmp_path, "dev")
    with pytest.raises(ALRFormatError, match="row dev/7: the answer holds no reasoning"):
        training_rows(rows)
    with pytest.warns(SkippedRows, match="1 of 2 rows are left out") as warned:
        assert training_rows(rows, on_bad_row="skip")["id"] == ["0001"]
    assert warned[0].message.rows[0][0] == "dev/7"


def test_a_stream_is_no_training_set():
    stream = load_alr("mini", "dev", streaming=True)
    remedy = r"use load_alr\(…, streaming=False\), or list\(rows\.take\(100\)\)"
    with pytest.raises(ValueError, match=f"by their index, which a stream doesn't have; {remedy}"):
        training_rows(stream)
    assert len(training_rows(list(stream.take(3)))) == 3


def test_the_assets_are_small():
    for name, limit in (("mini_alr", 16), ("tiny_omni", 10)):
        files = [file for file in (ROOT / "assets" / name).rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) / 1e6 <= limit
