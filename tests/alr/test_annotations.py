"""The annotation formats: what is refused and how it is named, and the real annotations."""

import contextlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import trees
from conftest import good_row

from soundmind_lite.alr.bad_rows import BadRows, SkippedRows
from soundmind_lite.alr.own_rows import add_row
from soundmind_lite.alr.text import statements
from soundmind_lite.data import ALRFormatError, audit, load_alr


@pytest.fixture
def folder(tmp_path):
    """Writes lines (dicts or raw text) as a split of a folder in the published layout."""

    def write(*rows, split="dev"):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return tmp_path

    return write


def without(row: dict, field: str) -> dict:
    return {name: value for name, value in row.items() if name != field}


BAD_LINES = [
    ('{"id": "0001",', r"dev.jsonl, line 2: not JSON"),
    ("[1, 2]", "line 2: expected an object"),
    (without(good_row("7"), "answer"), "line 2, id '7': the field 'answer' is missing"),
    (good_row("7", label=2), "line 2, id '7': label must be 1 .* got 2"),
    (good_row("7", label="1"), "line 2, id '7': 'label' must be of type int, got '1'"),
    (good_row("7", label=True), "'label' must be of type int"),
    (good_row("../../etc"), "an id is a file name"),
    ({**good_row("7"), "user_content": "What follows?"}, "the question has no"),
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
    ('{"id": "7", "label": 1, "label": 0}', "not JSON .the field 'label' is given twice"),
    (good_row("0001"), "line 2, id '0001': the same id is on line 1"),
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
    count = f"{len(BAD_LINES)} of {len(BAD_LINES) + 2} rows are left out"
    with pytest.warns(SkippedRows, match=count) as warned:
        rows = load_alr(root, "dev", audio=None, on_bad_row="skip")
    assert rows["id"] == ["0001", "last"]
    names = [name for name, _ in warned[0].message.rows]
    assert names == [f"dev, line {number}" for number in range(2, len(BAD_LINES) + 2)]
    assert str(warned[0].message).count("line ") >= 10
    assert "… and" in str(warned[0].message)


def test_a_collection_of_ones_own_grows_and_each_call_reports_its_part(folder):
    mine = BadRows("skip")
    for number in (1, 2):
        root = folder(good_row(), *["{"] * number)
        with pytest.warns(SkippedRows, match=f"{number} of {number + 1} rows are left out"):
            load_alr(root, "dev", audio=None, on_bad_row=mine)
    assert [row["row"] for row in mine.listed()] == ["dev, line 2", "dev, line 2", "dev, line 3"]


def test_rows_that_are_all_bad_are_an_error(folder):
    message = r"none of 2 rows can be used; the first: .*line 1: not JSON"
    with pytest.warns(SkippedRows), pytest.raises(ALRFormatError, match=message):
        load_alr(folder("{", "["), "dev", on_bad_row="skip")
    with pytest.raises(ValueError, match="on_bad_row must be 'raise' or 'skip', got 'ignore'"):
        load_alr("mini", on_bad_row="ignore")


def test_bad_bytes_are_named(folder):
    root = folder(good_row())
    (root / "dev.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(ALRFormatError, match="line 1: not UTF-8"):
        load_alr(root, "dev")


def test_a_byte_order_mark_is_no_fault(folder):
    root = folder(good_row())
    content = (root / "dev.jsonl").read_bytes().replace(b"\n", b"\r\n")
    (root / "dev.jsonl").write_bytes(b"\xef\xbb\xbf" + content)
    assert load_alr(root, "dev")["id"] == ["0001"]


def test_an_empty_or_missing_split_is_named(folder):
    with pytest.raises(ALRFormatError, match="holds no row"):
        load_alr(folder(""), "dev")
    with pytest.raises(ALRFormatError, match=r"test.jsonl: no such file"):
        load_alr(folder(good_row()), "test")


def test_answer_clips_are_found_by_label(folder):
    root = folder(good_row())
    clips = root / "dev" / "0001"
    clips.mkdir(parents=True)
    for name in ("question.wav", "answer_1.wav", "answer_0.wav"):
        (clips / name).write_bytes(trees.wav(1600))
    row = load_alr(root, "dev", audio="both")[0]
    assert row["question_audio"] == str(clips / "question.wav")
    assert row["answer_audio"] == str(clips / "answer_1.wav")
    assert load_alr(root, "dev")[0]["answer_audio"] is None


LEAVING = [
    "../../etc/passwd",
    "/etc/passwd",
    "0001/../../x.wav",
    "a\\..\\b",
    "",
    "0001//question.wav",
    ".hidden/x",
]


@pytest.mark.tried("rows that name files outside their folder", "refused with the row's id")
@pytest.mark.parametrize("given", LEAVING)
def test_paths_that_leave_the_folder_are_refused(tmp_path, given):
    line = {**trees.hub_row(good_row()), "question_file_name": given}
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "metadata.jsonl").write_bytes(trees.json_lines([line]))
    with pytest.raises(
        ALRFormatError, match=r"line 1, id '0001': .* is no path inside the data set"
    ):
        load_alr(tmp_path, "dev")


def test_a_published_row_cannot_name_its_own_file(tmp_path):
    line = {**good_row(), "question_file": "../../secret.wav"}
    (tmp_path / "dev.jsonl").write_bytes(trees.json_lines([line]))
    clip = tmp_path / "dev" / "0001" / "question.wav"
    assert load_alr(tmp_path, "dev")[0]["question_audio"] == str(clip)


def test_a_bad_row_of_the_hub_is_named_in_its_own_words(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "metadata.jsonl").write_text('{"id": "0001", "label": 1}\n')
    where = r"dev/metadata\.jsonl, line 1, id '0001'"
    with pytest.raises(
        ALRFormatError, match=f"{where}: the field 'annotation_question' is missing"
    ):
        load_alr(tmp_path, "dev")


@pytest.mark.filterwarnings("error")
def test_a_missing_row_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMIND_CACHE", str(tmp_path / "cache"))
    archive = trees.archive(tmp_path / "alr.zip", "published")
    message = "3 rows in dev, ALR has 606; is the download complete"
    with pytest.warns(UserWarning, match=message) as warned:
        load_alr(archive, "dev")
    assert Path(warned[0].filename).name == Path(__file__).name


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("name", "count", "reported"),
    [
        ("ALR", 605, True),
        ("alr-main", 400, True),
        ("SoundMindDataset", 60, True),
        ("SoundMindDataset", 606, False),
        ("mine", 605, False),
        ("mini_alr", 400, False),
        ("soundmind_lite", 400, False),
        ("algebra", 700, False),
        ("realrows", 700, False),
    ],
)
def test_a_local_copy_that_lacks_rows_is_reported(tmp_path, name, count, reported):
    """What is called ALR claims to be ALR; a data set of one's own doesn't."""
    tmp_path = tmp_path / name
    tmp_path.mkdir()
    rows = [good_row(f"{number:04}", major=str(number)) for number in range(count)]
    (tmp_path / "dev.jsonl").write_bytes(trees.json_lines(rows))
    expected = contextlib.nullcontext()
    if reported:
        expected = pytest.warns(UserWarning, match=f"{count} rows in dev, ALR has 606")
    with expected:
        assert len(load_alr(tmp_path, "dev", audio=None)) == count


@pytest.mark.filterwarnings("error")
def test_a_single_split_of_ones_own_makes_no_claim(tmp_path):
    add_row(tmp_path, good_row("a"), split="dev", audio=np.zeros(1600), sample_rate=16_000)
    assert len(load_alr(tmp_path, "dev")) == 1


@pytest.mark.parametrize("layout", trees.LAYOUTS)
@pytest.mark.filterwarnings("error")
def test_the_real_annotations_in_both_layouts(tmp_path, monkeypatch, real_rows, layout):
    monkeypatch.setenv("SOUNDMIND_CACHE", str(tmp_path / "cache"))
    name, rows = "dev.jsonl", real_rows
    if layout == "hub":
        name, rows = "dev/metadata.jsonl", [trees.hub_row(row) for row in real_rows]
    with zipfile.ZipFile(tmp_path / "alr.zip", "w") as file:
        file.writestr(name, trees.json_lines(rows))
    loaded = load_alr(tmp_path / "alr.zip", "dev", audio=None)  # 606 of 606: no warning
    assert (len(loaded), sum(loaded["label"])) == (606, 264)
    assert len(audit(loaded).conflicts) >= 33


def test_a_question_is_read_in_linear_time_and_as_it_is_written():
    question = 'x Major premise is "A "b" c".\nMinor premise is "d?".\nConclusion is "e..".\n y'
    assert statements(question) == ('A "b" c', "d?", "e..")
    parts = ('Major premise is "a". ' * 20_000, 'Minor premise is "b". ' * 20_000)
    assert statements("".join(parts)) is None
