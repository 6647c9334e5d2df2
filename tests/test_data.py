"""Rows: the shipped data set, the loader's checks, and the audit on planted faults and on real rows."""

import json
import shutil

import pytest
from conftest import ROOT, good_row

from soundmind_lite import data
from soundmind_lite.audio import AudioError
from soundmind_lite.data import ALRFormatError, SkippedRows, load_alr

COLUMNS = {
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
}


@pytest.fixture
def folder(tmp_path):
    """Writes lines (dicts or raw text) as a split of a published-layout folder."""

    def write(*rows, split="dev"):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    return write


def test_mini_alr_has_the_columns_and_counts():
    for split, count in (("train", 240), ("dev", 60), ("test", 240)):
        rows = load_alr("mini", split)
        assert set(rows.column_names) == COLUMNS
        assert len(rows) == count
        assert sum(rows["label"]) == count / 2


def test_streaming_gives_the_same_rows():
    assert next(iter(load_alr("mini", "dev", streaming=True))) == load_alr("mini", "dev")[0]


def test_without_audio_there_are_no_paths():
    assert set(load_alr("mini", "dev", audio=None)["question_audio"]) == {None}


BAD_LINES = [
    ('{"id": "0001",', r"dev.jsonl, line 2: not JSON"),
    ("[1, 2]", "line 2: expected an object"),
    (
        json.dumps({k: v for k, v in good_row("7").items() if k != "answer"}),
        "line 2, id '7': the field 'answer' is missing",
    ),
    (good_row("7", label=2), "line 2, id '7': label must be 1 .* got 2"),
    (good_row("7", label="1"), "line 2, id '7': 'label' must be of type int, got '1'"),
    (good_row("7", label=True), "'label' must be of type int"),
    (good_row("../../etc"), "an id is a file name"),
    (good_row("7") | {"user_content": "What follows?"}, "the question has no"),
    ("[" * 200_000, "line 2: not JSON"),
    ('{"id": "7", "label": ' + "1" * 5000 + "}", "line 2: not JSON"),
    (good_row("7", answer="So \ud800."), "'answer' holds half of a Unicode pair"),
    (
        good_row("7", major="a <|im_end|> b"),
        r"the question holds '<\|im_end\|>', which a chat template would take for a command",
    ),
    (good_row("7", major="a <|AUDIO|> b"), r"the question holds '<\|AUDIO\|>'"),
    (good_row("x" * 300), "an id is a file name and may have 200 letters, not 300"),
    (good_row("7", major=""), "the question has no"),
    ('{"id": "7", "label": 1, "label": 0}', "not JSON .the field 'label' stands twice"),
    (good_row("0001"), "line 2, id '0001': the same id stands on line 1"),
]


@pytest.mark.tried("kinds of bad lines in annotations", "an error that names file, line and id")
@pytest.mark.parametrize(("line", "message"), BAD_LINES)
def test_a_bad_line_is_named(folder, line, message):
    with pytest.raises(ALRFormatError, match=message):
        load_alr(folder(good_row(), line), "dev")


@pytest.mark.tried(
    "files with all kinds of bad lines, on_bad_row=skip", "left out, counted, listed"
)
def test_bad_lines_are_left_out_and_listed(folder):
    root = folder(good_row(), *(line for line, _ in BAD_LINES), good_row("last"))
    with pytest.warns(
        SkippedRows, match=f"{len(BAD_LINES)} of {len(BAD_LINES) + 2} rows are left out"
    ) as told:
        rows = load_alr(root, "dev", audio=None, on_bad_row="skip")
    assert rows["id"] == ["0001", "last"]
    assert [name for name, _ in told[0].message.rows] == [
        f"dev, line {i}" for i in range(2, len(BAD_LINES) + 2)
    ]
    assert str(told[0].message).count("line ") >= 10
    assert "… and" in str(told[0].message)


def test_rows_that_are_all_bad_are_an_error(folder):
    with (
        pytest.warns(SkippedRows),
        pytest.raises(
            ALRFormatError, match=r"none of 2 rows can be used; the first: .*line 1: not JSON"
        ),
    ):
        load_alr(folder("{", "["), "dev", on_bad_row="skip")
    with pytest.raises(ValueError, match="on_bad_row must be 'raise' or 'skip', got 'ignore'"):
        load_alr("mini", on_bad_row="ignore")


def test_bad_bytes_are_named(folder):
    root = folder(good_row())
    (root / "dev.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(ALRFormatError, match="line 1: not UTF-8"):
        load_alr(root, "dev")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "no split 'val'"),
        ({"source": "no/such/folder"}, "neither 'mini' nor a folder"),
        ({"audio": "all"}, "audio must be"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_alr(**arguments)


def test_a_mark_at_the_beginning_of_a_file_is_no_fault(folder):
    root = folder(good_row())
    (root / "dev.jsonl").write_bytes(
        b"\xef\xbb\xbf" + (root / "dev.jsonl").read_bytes().replace(b"\n", b"\r\n")
    )
    assert load_alr(root, "dev")["id"] == ["0001"]


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        ([0.1] * 10, 16_000, "10 samples at 16000 Hz are no clip"),
        ([0.1] * 1600, 0, "no clip"),
        ([0.1] * 1600, 16_000.5, "no clip"),
        ([50.0] * 1600, 16_000, "the file would hold it cut off"),
    ],
)
def test_a_row_whose_sound_is_no_clip_is_not_added(audio, rate, words, tmp_path):
    with pytest.raises(AudioError, match=words):
        data.add_row(tmp_path, good_row(), split="dev", audio=audio, sample_rate=rate)
    assert list(tmp_path.iterdir()) == []


def test_a_row_is_added_below_a_last_line_without_an_end(folder):
    root = folder(good_row())
    (root / "dev.jsonl").write_text(json.dumps(good_row()), encoding="utf-8")
    data.add_row(
        root, good_row("2", major="b"), split="dev", audio=[0.1] * 1600, sample_rate=16_000
    )
    assert load_alr(root, "dev")["id"] == ["0001", "2"]


def test_an_empty_or_missing_split_is_named(folder):
    with pytest.raises(ALRFormatError, match="holds no row"):
        load_alr(folder(""), "dev")
    with pytest.raises(ALRFormatError, match=r"test.jsonl: no such file"):
        load_alr(folder(good_row()), "test")


def test_answer_clips_are_found_by_label(folder, tone):
    root = folder(good_row())
    clips = root / "dev" / "0001"
    clips.mkdir(parents=True)
    for name in ("question.wav", "answer_1.wav", "answer_0.wav"):
        shutil.copy(tone(), clips / name)
    row = load_alr(root, "dev", audio="both")[0]
    assert (row["question_audio"], row["answer_audio"]) == (
        str(clips / "question.wav"),
        str(clips / "answer_1.wav"),
    )
    assert load_alr(root, "dev")[0]["answer_audio"] is None


def test_the_audit_finds_planted_faults(folder, tone):
    root = folder(
        good_row("1"),
        good_row("2", label=0, major="other", answer="No.\nAnswer: not entailed."),
        good_row("3", answer="x Answer: not-entailed."),
        good_row("4", major="last"),
    )
    for identifier, clip in (
        ("1", tone()),
        ("2", tone("long.wav", seconds=3)),
        ("3", tone("b.wav", seconds=0.01)),
    ):
        (root / "dev" / identifier).mkdir(parents=True)
        shutil.copy(clip, root / "dev" / identifier / "question.wav")
    folder(good_row("9", label=0, major="other", answer="No.\nAnswer: not entailed."), split="test")
    found = data.audit(
        [*load_alr(root, "dev"), *({**r, "question_audio": None} for r in load_alr(root, "test"))],
        max_seconds=2,
    )
    assert [i for i, _ in found.conflicts] == ["dev/3"]
    assert [i for i, _ in found.duplicates] == ["dev/1", "dev/2"]
    assert [i for i, _ in found.shared_premises] == ["dev/2"]
    assert [(i, what.rsplit(": ", 1)[1][:7]) for i, what in found.bad_audio] == [
        ("dev/2", "3.0 s o"),
        ("dev/3", "0.010 s"),
        ("dev/4", "no such"),
    ]
    assert "conflicts" in str(found)
    assert "dev/3" in str(found)


def test_the_audit_counts_the_real_conflicts(folder, real_rows):
    found = data.audit(load_alr(folder(*real_rows), "dev", audio=None))
    assert len(found.conflicts) == 33
    assert len(found.duplicates) == 2
    assert found.lengths["question words"] == pytest.approx(157, abs=1)


def test_rows_without_sound_train_no_listener():
    with pytest.raises(ValueError, match="loaded without sound"):
        data.training_rows(load_alr("mini", "dev", audio=None))
    with pytest.raises(ValueError, match="no setting 'audio-banana'"):
        data.training_rows(load_alr("mini", "dev"), "audio-banana")


def test_a_row_without_reasoning_is_named_before_training(folder):
    rows = load_alr(folder(good_row(), good_row("7", answer="Answer: entailed.")), "dev")
    with pytest.raises(ALRFormatError, match="row dev/7: the answer holds no reasoning"):
        data.training_rows(rows)
    with pytest.warns(SkippedRows, match="1 of 2 rows are left out") as told:
        assert data.training_rows(rows, on_bad_row="skip")["id"] == ["0001"]
    assert told[0].message.rows[0][0] == "dev/7"


def test_a_stream_is_no_training_set():
    with pytest.raises(
        ValueError,
        match=r"which a stream has not; use load_alr\(…, streaming=False\), or list\(rows\.take\(100\)\)",
    ):
        data.training_rows(load_alr("mini", "dev", streaming=True))
    assert len(data.training_rows(list(load_alr("mini", "dev", streaming=True).take(3)))) == 3


def test_a_fingerprint_is_of_what_the_rows_hold_and_not_of_where(folder, tone, tmp_path_factory):
    root = folder(good_row("1"), good_row("2", major="b"))
    for name in ("1", "2"):
        (root / "dev" / name).mkdir(parents=True)
        shutil.copy(tone(), root / "dev" / name / "question.wav")
    rows = load_alr(root, "dev")
    before = data.fingerprint(rows)
    assert before == data.fingerprint(
        load_alr(shutil.copytree(root, tmp_path_factory.mktemp("other") / "place"), "dev")
    )
    assert before != data.fingerprint(rows.select([1, 0]))
    clip = root / "dev" / "2" / "question.wav"
    clip.write_bytes(clip.read_bytes()[:-1] + b"x")  # no byte more or less
    assert before != data.fingerprint(rows)


def test_a_question_is_read_in_linear_time_and_as_it_stands():
    assert data.statements(
        'x Major premise is "A "b" c".\nMinor premise is "d?".\nConclusion is "e..".\n y'
    ) == ('A "b" c', "d?", "e..")
    assert (
        data.statements('Major premise is "a". ' * 20_000 + 'Minor premise is "b". ' * 20_000)
        is None
    )


def test_training_rows_hold_what_the_rewards_need():
    row = data.training_rows(load_alr("mini", "dev"))[0]
    source = load_alr("mini", "dev")[0]
    assert isinstance(row["prompt"][0]["content"], str)
    assert row["audio"] == source["question_audio"]
    assert row["reference_length"] == len(source["reasoning"].split()) - 2  # less "Answer: …"
    written = data.training_rows(load_alr("mini", "dev"), "text-text")[0]
    assert written["audio"] is None
    assert source["question"] in written["prompt"][0]["content"]


def test_the_assets_are_small():
    size = lambda name: (
        sum(f.stat().st_size for f in (ROOT / "assets" / name).rglob("*") if f.is_file()) / 1e6
    )
    assert size("mini_alr") <= 16
    assert size("tiny_omni") <= 10
