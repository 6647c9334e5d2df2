"""ALR in each of its layouts and places, on trees of our own: the rows are the same, and only what is wanted is fetched."""
import contextlib
import json
import os
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from soundmind_lite import data
from soundmind_lite.alr import sources
from soundmind_lite.audio import AudioError, load_audio

QUESTION = 'Major premise is "{}". Minor premise is "b". Conclusion is "c".'
ROWS = {split: [(f"{i:04}", i % 2) for i in range(1, count + 1)] for split, count in (("train", 5), ("dev", 3), ("test", 2))}
PLACES = ("folder", "hub folder", "zip", "zip with a folder inside", "hub zip", "remote", "remote hub")


def texts(identifier, label):
    return QUESTION.format(f"a{identifier}"), f"Because.\n\nAnswer: {('not entailed', 'entailed')[label]}."


def published(root: Path) -> Path:
    for split, rows in ROWS.items():
        lines = [dict(zip(("id", "user_content", "answer", "label"), (i, *texts(i, y), y))) for i, y in rows]
        (root / split).mkdir(parents=True)
        (root / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return with_sound(root)


def hub(root: Path) -> Path:
    for split, rows in ROWS.items():
        lines = [
            dict(id=i, question_file_name=f"{i}/question.wav", answer_file_name=f"{i}/answer_{y}.wav", label=y, annotation_question=texts(i, y)[0],
                 annotation_answer=texts(i, y)[1])
            for i, y in rows
        ]
        (root / split).mkdir(parents=True)
        (root / split / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return with_sound(root)


def with_sound(root: Path) -> Path:
    for split, rows in ROWS.items():
        for number, (identifier, label) in enumerate(rows):
            folder = root / split / identifier
            folder.mkdir()
            soundfile.write(folder / "question.wav", np.full(1600 + number, 0.1), 16_000)
            soundfile.write(folder / f"answer_{label}.wav", np.full(3200 + number, 0.1), 16_000)
    return root


def zipped(root: Path, top: str = "") -> Path:
    archive = root.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, Path(top) / path.relative_to(root))
    return archive


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def place(tmp_path):
    """`place(kind)` builds a tree of that kind and returns what `load_alr` gets."""

    def build(kind):
        root = (hub if "hub" in kind else published)(tmp_path / "alr")
        if "zip" in kind:
            return zipped(root, "ALR" if "inside" in kind else "")
        if "remote" in kind:
            fsspec.filesystem("memory").put(str(root), f"/{tmp_path.name}", recursive=True)
            return f"memory://{tmp_path.name}"
        return root

    return build


pytestmark = pytest.mark.filterwarnings("ignore:.*rows in .* ALR has:UserWarning")


def fetched(cache):
    return sorted(path.relative_to(next(cache.iterdir())).as_posix() for path in cache.rglob("*.wav"))


@pytest.mark.parametrize("kind", PLACES)
def test_every_place_gives_the_same_rows(place, kind):
    source = place(kind)
    for split, expected in ROWS.items():
        rows = data.load_alr(source, split, audio="both")
        assert [(r["id"], r["label"], r["question"], r["reasoning"]) for r in rows] == [(i, y, *texts(i, y)) for i, y in expected]
        assert [len(load_audio(r["question_audio"])) for r in rows] == [1600 + n for n in range(len(expected))]
        assert [len(load_audio(r["answer_audio"])) for r in rows] == [3200 + n for n in range(len(expected))]


@pytest.mark.parametrize("kind", ["zip", "hub zip", "remote", "remote hub"])
def test_only_what_is_wanted_is_fetched(place, kind, cache):
    source = place(kind)
    data.load_alr(source, "dev", audio=None)
    assert not cache.exists() or not list(cache.rglob("*.wav"))
    rows = iter(data.load_alr(source, "dev", streaming=True))
    assert len(load_audio(next(rows)["question_audio"])) == 1600
    assert "dev/0003/question.wav" not in fetched(cache)  # a stream fetches what it has reached, not all
    data.load_alr(source, "dev")
    assert fetched(cache) == [f"dev/{i}/question.wav" for i, _ in ROWS["dev"]]


def test_a_stopped_fetch_goes_on_with_what_is_missing(place, cache, monkeypatch):
    source = place("remote")
    rows = data.load_alr(source, "dev")
    Path(rows[1]["question_audio"]).unlink()
    Path(rows[2]["question_audio"]).write_bytes(b"half")
    seen = []
    truth = sources.fetch
    monkeypatch.setattr(sources, "fetch", lambda s, name: seen.append(name) or truth(s, name))
    data.load_alr(source, "dev")
    assert sorted(seen[:2]) == ["dev/0002/question.wav", "dev/0003/question.wav"]  # then each row's path, from what is here
    assert len(load_audio(rows[2]["question_audio"])) == 1602


def test_a_fetch_that_breaks_leaves_no_half_file(place, cache, monkeypatch):
    source = sources.open_source(place("remote"))

    def breaks(remote, local):
        Path(local).write_bytes(b"half")
        raise ConnectionError("gone")

    monkeypatch.setattr(source.fs, "get_file", breaks)
    with pytest.raises(data.SourceError, match=r"question\.wav: ConnectionError: gone; what is here already stays"):
        sources.fetch(source, "dev/0001/question.wav")
    assert fetched(cache) == []


def test_a_full_disk_is_told_before_the_first_byte(place, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "total used free")(1, 1, 10**9))
    with pytest.raises(data.SourceError, match=r"in 3 files are still to be fetched and .* has 1\.0 GB free; use streaming=True"):
        data.load_alr(place("remote"), "dev")
    assert not list(cache.rglob("*.wav"))


@pytest.mark.tried("rows that name files outside their folder", "refused with the row's id")
@pytest.mark.parametrize("given", ["../../etc/passwd", "/etc/passwd", "0001/../../x.wav", "a\\..\\b", "", "0001//question.wav", ".hidden/x"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, given):
    line = dict(id="0001", question_file_name=given, answer_file_name="0001/answer_1.wav", label=1, annotation_question=QUESTION.format("a"), annotation_answer="x")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "metadata.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(data.ALRFormatError, match=r"line 1, id '0001': .* is no path inside the data set"):
        data.load_alr(tmp_path, "dev")


def test_a_published_row_cannot_name_its_own_file(tmp_path):
    line = dict(id="0001", user_content=QUESTION.format("a"), answer="x", label=1, question_file="../../secret.wav")
    (tmp_path / "dev.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert data.load_alr(tmp_path, "dev")[0]["question_audio"] == str(tmp_path / "dev" / "0001" / "question.wav")


def test_a_bad_row_of_the_hub_is_named_in_its_own_words(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "metadata.jsonl").write_text('{"id": "0001", "label": 1}\n', encoding="utf-8")
    with pytest.raises(data.ALRFormatError, match=r"dev/metadata\.jsonl, line 1, id '0001': the field 'annotation_question' is missing"):
        data.load_alr(tmp_path, "dev")


@pytest.mark.filterwarnings("error")
def test_a_missing_row_is_told(place):
    with pytest.warns(UserWarning, match="3 rows in dev, ALR has 606; is the download complete"):
        data.load_alr(place("zip"), "dev")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("count", "told"), [(605, True), (400, True), (60, False)])
def test_a_local_copy_that_lacks_rows_is_told(tmp_path, count, told):
    rows = [dict(id=f"{i:04}", user_content=QUESTION.format(i), answer="x", label=1) for i in range(count)]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.warns(UserWarning, match=f"{count} rows in dev, ALR has 606") if told else contextlib.nullcontext():
        assert len(data.load_alr(tmp_path, "dev", audio=None)) == count


@pytest.mark.filterwarnings("error")
def test_a_single_split_of_ones_own_makes_no_claim(tmp_path):
    data.add_row(tmp_path, "dev", dict(id="a", user_content=QUESTION.format("a"), answer="So.\n\nAnswer: entailed.", label=1), np.zeros(1600), 16_000)
    assert len(data.load_alr(tmp_path, "dev")) == 1


@pytest.mark.parametrize("layout", ["published", "hub"])
@pytest.mark.filterwarnings("error")
def test_the_real_annotations_in_both_layouts(tmp_path, real_rows, layout):
    archive = tmp_path / "alr.zip"
    with zipfile.ZipFile(archive, "w") as file:
        if layout == "published":
            file.writestr("dev.jsonl", "\n".join(map(json.dumps, real_rows)))
        else:
            renamed = [
                dict(id=r["id"], label=r["label"], annotation_question=r["user_content"], annotation_answer=r["answer"],
                     question_file_name=f"{r['id']}/question.wav", answer_file_name=f"{r['id']}/answer_{r['label']}.wav")
                for r in real_rows
            ]
            file.writestr("dev/metadata.jsonl", "\n".join(map(json.dumps, renamed)))
    rows = data.load_alr(archive, "dev", audio=None)  # 606 of 606: no warning
    assert (len(rows), sum(rows["label"])) == (606, 264)
    assert len(data.audit(rows).conflicts) >= 33


def test_a_hub_id_without_a_network_says_so():
    with pytest.raises(data.SourceError, match="is it a folder that isn't there, or a hub id without a network"):
        data.load_alr("soundmind-test/no-such-data-set", "dev")


def test_a_file_that_is_no_zip(tmp_path):
    (tmp_path / "alr.tar").touch()
    with pytest.raises(ValueError, match="is a file, but no zip"):
        data.load_alr(tmp_path / "alr.tar")


def test_a_zip_without_rows(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(data.SourceError, match="holds no train"):
        data.load_alr(tmp_path / "x.zip")


@pytest.mark.tried("zips cut at the end", "refused by name")
def test_a_zip_that_was_cut(place):
    archive = place("zip")
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(data.SourceError, match=r"alr\.zip: not a whole zip \(.*\); fetch it again"):
        data.load_alr(archive, "dev")


@pytest.mark.tried("clips damaged inside a zip", "refused with the row's id, or left out and listed")
@pytest.mark.parametrize("streaming", [False, True])
def test_a_clip_that_is_damaged_in_its_zip(place, streaming, cache):
    archive = place("zip")
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("dev/0002/question.wav")
        start = info.header_offset + 30 + len(info.filename) + info.file_size // 2
    content = bytearray(archive.read_bytes())
    content[start : start + 8] = b"damaged!"
    archive.write_bytes(content)
    with pytest.raises(AudioError, match=r"row dev/0002: .*alr\.zip/dev/0002/question\.wav: can't be read from the archive \(Bad CRC-32.*fetch the archive again"):
        list(data.load_alr(archive, "dev", streaming))
    with pytest.warns(data.SkippedRows, match=r"1 of 3 rows are left out:\n  row dev/0002"):
        assert [row["id"] for row in data.load_alr(archive, "dev", streaming, on_bad_row="skip")] == ["0001", "0003"]
    assert not list(cache.rglob("*.part"))


@pytest.mark.tried("annotations damaged inside a zip", "refused by name")
def test_annotations_that_are_damaged_in_their_zip(place):
    archive = place("zip")
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("dev.jsonl")
        start = info.header_offset + 30 + len(info.filename) + 5
    content = bytearray(archive.read_bytes())
    content[start : start + 4] = b"!!!!"
    archive.write_bytes(content)
    with pytest.raises(data.SourceError, match=r"alr\.zip/dev\.jsonl: can't be read from the archive \(Bad CRC-32.*fetch the archive again"):
        data.load_alr(archive, "dev")


@pytest.mark.tried("zips replaced by others in the same place", "read and fetched anew")
def test_another_zip_in_the_same_place_is_another_source(place):
    archive = place("zip")
    before = load_audio(data.load_alr(archive, "dev")[0]["question_audio"])
    root = archive.with_suffix("")
    soundfile.write(root / "dev" / "0001" / "question.wav", np.full(1600, 0.2), 16_000)  # as long as the one before
    zipped(root)
    os.utime(archive, ns=(1, 1))
    assert not np.array_equal(load_audio(data.load_alr(archive, "dev")[0]["question_audio"]), before)


@pytest.mark.tried("clips damaged inside a zip", "refused with the row's id, or left out and listed")
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damage_in_every_compression(place, method):
    archive = place("zip")
    root = archive.with_suffix("")
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(root))
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo("dev/0002/question.wav")
    content, start = bytearray(archive.read_bytes()), info.header_offset + 30 + len(info.filename)
    content[start + 8 : start + info.compress_size - 4] = bytes(info.compress_size - 12)
    archive.write_bytes(content)
    with pytest.raises(AudioError, match=r"row dev/0002: .*can't be read from the archive"):
        data.load_alr(archive, "dev")
    with pytest.warns(data.SkippedRows, match="1 of 3 rows are left out"):
        assert data.load_alr(archive, "dev", on_bad_row="skip")["id"] == ["0001", "0003"]


def test_annotations_that_are_no_file(tmp_path):
    (tmp_path / "dev.jsonl").mkdir()
    with pytest.raises(data.SourceError, match=r"dev\.jsonl: not a file"):
        data.load_alr(tmp_path, "dev")
    with pytest.raises(ValueError, match="the source is empty"):
        data.load_alr("")
