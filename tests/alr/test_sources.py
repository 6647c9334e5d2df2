"""ALR in each layout from each source: the same rows, and no file fetched that isn't wanted."""

import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import trees
from conftest import ROOT, good_row
from local_hub import NAME, serving

from soundmind_lite.alr.archive import Zip
from soundmind_lite.alr.bad_rows import SkippedRows
from soundmind_lite.alr.sources import SourceError
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.data import load_alr

SOURCES = (
    "folder",
    "hub folder",
    "zip",
    "zip with a folder inside",
    "hub zip",
    "remote",
    "remote hub",
)
FETCHED = ("zip", "hub zip", "remote", "remote hub")
pytestmark = pytest.mark.filterwarnings("ignore:.*rows in .* ALR has:UserWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path, monkeypatch):
    """`source(kind)` is a context with a source of that kind, as `load_alr` takes it."""

    @contextmanager
    def build(kind):
        layout = "hub" if "hub" in kind else "published"
        if "zip" in kind:
            top = "ALR" if "inside" in kind else ""
            yield trees.archive(tmp_path / "alr.zip", layout, top)
        elif "remote" in kind:
            with serving(monkeypatch, tmp_path / "unused") as hub:
                hub.commit(trees.files(layout))
                yield NAME
        else:
            yield trees.folder(tmp_path / "alr", layout)

    return build


@pytest.fixture
def archive(tmp_path):
    return trees.archive(tmp_path / "alr.zip", "published")


def fetched(cache: Path) -> list[str]:
    return sorted("/".join(path.parts[-3:]) for path in cache.rglob("*.wav"))


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_rows(source, kind):
    with source(kind) as given:
        for split, expected in trees.ROWS.items():
            rows = load_alr(given, split, audio="both")
            found = [(row["id"], row["label"], row["question"], row["reasoning"]) for row in rows]
            assert found == [(i, label, *trees.texts(i, label)) for i, label in expected]
            for column, samples in (("question_audio", 1600), ("answer_audio", 3200)):
                lengths = [len(load_audio(path)) for path in rows[column]]
                assert lengths == [samples + number for number in range(len(expected))]


@pytest.mark.parametrize("kind", FETCHED)
def test_only_what_is_wanted_is_fetched(source, kind, cache):
    with source(kind) as given:
        load_alr(given, "dev", audio=None)
        assert fetched(cache) == []
        rows = iter(load_alr(given, "dev", streaming=True))
        assert len(load_audio(next(rows)["question_audio"])) == 1600
        assert "dev/0003/question.wav" not in fetched(cache)  # a stream fetches what it reaches
        load_alr(given, "dev")
        assert fetched(cache) == [f"dev/{i}/question.wav" for i, _ in trees.ROWS["dev"]]


@pytest.mark.parametrize("kind", ["zip", "remote"])
def test_other_suffixes_are_found(source, kind, tmp_path, monkeypatch):
    published = trees.files
    renamed = {"dev/0002/question.wav": "dev/0002/question.ogg"}

    def files(*arguments):
        return {renamed.get(name, name): text for name, text in published(*arguments).items()}

    monkeypatch.setattr(trees, "files", files)
    with source(kind) as given:
        names = [Path(path).name for path in load_alr(given, "dev")["question_audio"]]
    assert names == ["question.wav", "question.ogg", "question.wav"]


def test_a_stopped_fetch_continues_with_what_is_missing(archive, monkeypatch):
    rows = load_alr(archive, "dev")
    Path(rows[1]["question_audio"]).unlink()
    Path(rows[2]["question_audio"]).write_bytes(b"half")
    seen, fetch_one = [], Zip.fetch_one

    def spy(files, name):
        seen.append(name)
        return fetch_one(files, name)

    monkeypatch.setattr(Zip, "fetch_one", spy)
    load_alr(archive, "dev")
    assert seen == ["dev/0002/question.wav", "dev/0003/question.wav"]
    assert len(load_audio(rows[2]["question_audio"])) == 1602


def test_a_fetch_that_breaks_leaves_no_half_file(archive, cache, monkeypatch):
    def breaks(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", breaks)
    with pytest.raises(SourceError, match=r"question\.wav: .*No space left.*already stays"):
        load_alr(archive, "dev")
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_full_disk_is_reported_before_the_first_byte(archive, cache, monkeypatch):
    trees.nearly_full_disk(monkeypatch)
    message = r"in 3 files are still to be fetched and .* has 1\.0 GB free; use streaming=True"
    with pytest.raises(SourceError, match=message):
        load_alr(archive, "dev")
    assert fetched(cache) == []


def test_a_cache_that_cannot_be_made(archive, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SOUNDMIND_CACHE", str(tmp_path / "file"))
    with pytest.raises(SourceError, match="set SOUNDMIND_CACHE to a folder that can be written"):
        load_alr(archive, "dev")


def test_a_hub_id_without_a_network_says_so():
    remedy = "is it a folder that isn't there, or a hub id without a network"
    with pytest.raises(SourceError, match=remedy):
        load_alr("soundmind-test/no-such-data-set", "dev")


@pytest.mark.tried("URLs as a source", "refused, without user, password and query")
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/alr", "s3://bucket/alr"),
        ("https://{login}@host/a.zip?sig={key}", "https://host/a.zip"),
        ("zip://x::https://{odd}@host/a.zip?sig={key}", "zip://x::https://host/a.zip"),
    ],
)
def test_a_url_is_no_source(url, shown):
    url = url.format(login="anna:geheim", odd="anna:ge@heim", key="geheim")
    with pytest.raises(ValueError, match="URL, which isn't supported; download it") as error:
        load_alr(url, "dev")
    assert str(error.value).startswith(f"{shown} is a URL")
    assert "heim" not in str(error.value)


def test_a_file_that_is_no_zip(tmp_path):
    (tmp_path / "alr.tar").touch()
    with pytest.raises(ValueError, match="is a file, but no zip"):
        load_alr(tmp_path / "alr.tar")


def test_a_zip_without_rows(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(SourceError, match=r"x\.zip: the zip holds no train"):
        load_alr(tmp_path / "x.zip")


def test_a_zip_made_by_an_older_windows_tool(tmp_path):
    with zipfile.ZipFile(tmp_path / "alr.zip", "w") as file:
        for name, content in trees.files("published").items():
            file.writestr(zipfile.ZipInfo("ALR\\" + name.replace("/", "\\")), content)
    rows = load_alr(tmp_path / "alr.zip", "dev")
    assert [len(load_audio(path)) for path in rows["question_audio"]] == [1600, 1601, 1602]


ODD_NAMES = {  # how the archive names `dev/0002/question.wav` and its like
    "backslashes": lambda name: name.replace("/", "\\"),
    "two folders above": lambda name: f"Downloads/ALR/{name}",
    "two folders above, with backslashes": lambda name: f"a\\b\\{name}".replace("/", "\\"),
    "suffixes in capitals": lambda name: name.replace(".wav", ".WAV").replace(".jsonl", ".JSONL"),
    "all in capitals": str.upper,
    "mixed": lambda name: "Alr/" + "/".join(part.capitalize() for part in name.split("/")),
}


@pytest.mark.tried("zips of Windows and of Macs, with odd names", "every row and clip is found")
@pytest.mark.parametrize("layout", trees.LAYOUTS)
@pytest.mark.parametrize("how", ODD_NAMES)
def test_a_zip_with_odd_names(how, layout, tmp_path):
    named = ODD_NAMES[how]
    with zipfile.ZipFile(tmp_path / "alr.zip", "w") as file:
        for name, content in trees.files(layout).items():
            file.writestr(zipfile.ZipInfo(named(name)), content)
            notes, last = named(name).replace("\\", "/").rpartition("/")[::2]
            file.writestr(f"__MACOSX/{notes}/._{last}", b"notes of a Mac")
        file.writestr("__MACOSX/old/dev.jsonl", b"not these")  # deeper than the data
    for split, expected in trees.ROWS.items():
        rows = load_alr(tmp_path / "alr.zip", split, audio="both")
        assert [row["id"] for row in rows] == [name for name, _ in expected]
        assert [len(load_audio(path)) for path in rows["question_audio"]] == [
            1600 + number for number in range(len(expected))
        ]
        assert len(load_audio(rows["answer_audio"][-1])) == 3200 + len(expected) - 1


def test_ids_that_differ_in_capitals_are_two_rows(tmp_path):
    """A row without its clip doesn't get that of the other."""
    rows = [good_row("a"), good_row("A", major="x")]
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as file:
        file.writestr("dev.jsonl", trees.json_lines(rows))
        file.writestr("dev/a/Question.WAV", trees.wav(1600))
    with pytest.warns(SkippedRows, match="1 of 2 rows are left out:\n  row dev/A"):
        rows = load_alr(tmp_path / "mine.zip", "dev", on_bad_row="skip")
    assert rows["id"] == ["a"]


@pytest.mark.tried(
    "zips that hold several data sets, a password or an unusual compression", "refused"
)
def test_a_zip_of_several_data_sets(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name in ("one/dev.jsonl", "two/dev.jsonl", "two/old/dev.jsonl"):
            file.writestr(name, trees.json_lines([good_row()]))
    what = r"x\.zip: the zip holds annotations in several folders, one/, two/; make a zip of one"
    with pytest.raises(SourceError, match=what):
        load_alr(tmp_path / "x.zip", "dev", audio=None)


@pytest.mark.tried(
    "zips that hold several data sets, a password or an unusual compression", "refused"
)
@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (8, 9, "compression method is not supported"),  # Deflate64, of Windows for large files
        (6, 1, "is encrypted, password required"),
    ],
)
def test_a_zip_that_python_cannot_read(offset, value, why, tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("dev.jsonl", trees.json_lines([good_row()]))
    content = bytearray(path.read_bytes())
    content[offset] = content[content.index(b"PK\1\2") + offset + 2] = value
    path.write_bytes(content)
    remedy = "make the archive again, as a plain zip without a password"
    with pytest.raises(
        SourceError, match=rf"can't be read from the archive \(.*{why}.*\); {remedy}"
    ):
        load_alr(path, "dev", audio=None)


def unwritable_home(*words, **more):
    """A process whose home, and all caches in it, can't be made, whoever runs it."""
    nowhere = {name: "/proc/nowhere" for name in ("HOME", "HF_HOME")}
    kept = {
        k: v for k, v in os.environ.items() if k not in ("HF_DATASETS_CACHE", "SOUNDMIND_CACHE")
    }
    environment = kept | nowhere | {"MPLCONFIGDIR": "/proc/nowhere", "PYTHONPATH": str(ROOT)} | more
    command = [sys.executable, "-W", "ignore", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.tried(
    "reading without a home that can be written", "works, or names the variable", each=4
)
def test_without_a_home_that_can_be_written(archive, tmp_path):
    code = "import sys; from soundmind_lite.data import load_alr; "
    code += "rows = load_alr(sys.argv[1], 'dev', streaming=sys.argv[2] == 'stream'); "
    code += "print(next(iter(rows))['question_audio'])"
    for kind in ("stream", "all"):
        done = unwritable_home("-c", code, "mini", kind)
        assert done.stdout.strip().endswith("question.ogg"), done.stderr
        done = unwritable_home("-c", code, archive, kind)
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("soundmind_lite.alr.sources.SourceError: /proc/nowhere/.cache")
        assert "set SOUNDMIND_CACHE to a folder that can be written" in last
        done = unwritable_home("-c", code, archive, kind, SOUNDMIND_CACHE=str(tmp_path / "mine"))
        assert done.stdout.strip().endswith("question.wav"), done.stderr


@pytest.mark.parametrize("streaming", [False, True])
def test_a_cache_without_rights(archive, open_folder, nobody, monkeypatch, streaming):
    """It is there, and nothing can be written to it."""
    monkeypatch.setenv("SOUNDMIND_CACHE", str(open_folder / "cache"))
    shutil.copy(archive, open_folder / "alr.zip")
    load_alr(open_folder / "alr.zip", "test")  # which makes the folders
    with nobody(), pytest.raises(SourceError, match=r"Permission denied.*; set SOUNDMIND_CACHE to"):
        list(load_alr(open_folder / "alr.zip", "dev", streaming=streaming))


@pytest.mark.tried("zips cut at the end", "refused by name")
def test_a_zip_that_was_cut(archive):
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(SourceError, match=r"alr\.zip: not a complete zip \(.*\); fetch it again"):
        load_alr(archive, "dev")


def damage(archive: Path, name: str, offset: int, content: bytes) -> None:
    """Overwrites some bytes of a member, `offset` bytes after its content begins."""
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo(name)
    start = info.header_offset + 30 + len(info.filename) + offset
    data = bytearray(archive.read_bytes())
    data[start : start + len(content)] = content
    archive.write_bytes(data)


@pytest.mark.tried(
    "clips damaged inside a zip", "refused with the row's id, or left out and listed"
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_clip_that_is_damaged_in_its_zip(archive, streaming, cache):
    damage(archive, "dev/0002/question.wav", 1600, b"damaged!")
    where = r"row dev/0002: .*alr\.zip/dev/0002/question\.wav: "
    what = r"can't be read from the archive \(Bad CRC-32.*fetch the archive again"
    with pytest.raises(AudioError, match=where + what):
        list(load_alr(archive, "dev", streaming=streaming))
    with pytest.warns(SkippedRows, match=r"1 of 3 rows are left out:\n  row dev/0002"):
        rows = list(load_alr(archive, "dev", streaming=streaming, on_bad_row="skip"))
    assert [row["id"] for row in rows] == ["0001", "0003"]
    assert not list(cache.rglob("*.part"))


@pytest.mark.tried("annotations damaged inside a zip", "refused by name")
def test_annotations_that_are_damaged_in_their_zip(archive):
    damage(archive, "dev.jsonl", 5, b"!!!!")
    what = r"can't be read from the archive \(Bad CRC-32.*fetch the archive again"
    with pytest.raises(SourceError, match=rf"alr\.zip/dev\.jsonl: {what}"):
        load_alr(archive, "dev")


@pytest.mark.tried("zips replaced by others in the same place", "read and fetched anew")
def test_another_zip_at_the_same_path_is_another_source(archive, monkeypatch):
    before = load_audio(load_alr(archive, "dev")[0]["question_audio"])
    content = trees.files("published", value=0.2)  # as long as the ones before
    with zipfile.ZipFile(archive, "w") as file:
        for name in sorted(content):
            file.writestr(name, content[name])
    os.utime(archive, ns=(1, 1))
    assert not np.array_equal(load_audio(load_alr(archive, "dev")[0]["question_audio"]), before)


@pytest.mark.tried(
    "clips damaged inside a zip", "refused with the row's id, or left out and listed"
)
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
def test_damage_in_every_compression(tmp_path, method):
    archive = trees.archive(tmp_path / "alr.zip", "published", method=method)
    with zipfile.ZipFile(archive) as file:
        size = file.getinfo("dev/0002/question.wav").compress_size
    damage(archive, "dev/0002/question.wav", 8, bytes(size - 12))
    with pytest.raises(AudioError, match=r"row dev/0002: .*can't be read from the archive"):
        load_alr(archive, "dev")
    with pytest.warns(SkippedRows, match="1 of 3 rows are left out"):
        assert load_alr(archive, "dev", on_bad_row="skip")["id"] == ["0001", "0003"]


def test_annotations_that_are_no_file(tmp_path):
    (tmp_path / "dev.jsonl").mkdir()
    with pytest.raises(SourceError, match=r"dev\.jsonl: not a file"):
        load_alr(tmp_path, "dev")
    with pytest.raises(ValueError, match="the source is empty"):
        load_alr("")
