"""ALR from the hub: the real client against a hub on the loopback."""

import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
import trees
from conftest import ROOT
from huggingface_hub import constants
from local_hub import NAME, serving

from soundmind_lite.alr import hub as alr_hub
from soundmind_lite.alr.bad_rows import SkippedRows
from soundmind_lite.alr.sources import SourceError, open_source
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.data import ALRFormatError, load_alr

pytestmark = pytest.mark.filterwarnings("ignore:.*rows in .* ALR has:UserWarning")
NO_NETWORK = "is it a folder that isn't there, or a hub id without a network"
QUESTIONS = [f"dev/{identifier}/question.wav" for identifier, _ in trees.ROWS["dev"]]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch, cache):
    """A hub with the small ALR in the hub's layout."""
    monkeypatch.delenv("SOUNDMIND_CACHE", raising=False)
    with serving(monkeypatch, cache) as hub:
        hub.commit(trees.files("hub"))
        yield hub


def lengths(rows) -> list[int]:
    """Samples of each question."""
    return [len(load_audio(row["question_audio"])) for row in rows]


def values(rows) -> set[float]:
    """The value of the samples of each question."""
    return {round(float(load_audio(row["question_audio"]).max()), 2) for row in rows}


def fetched(cache: Path) -> list[str]:
    return sorted("/".join(path.parts[-3:]) for path in cache.rglob("*.wav"))


def forget(path: str) -> None:
    """Removes a clip from huggingface_hub's cache: the link of the commit, and the content."""
    Path(path).resolve().unlink()
    Path(path).unlink(missing_ok=True)


def test_the_rows_are_those_of_the_folder(hub, tmp_path):
    root = trees.folder(tmp_path / "alr", "hub")
    for split in trees.ROWS:
        rows, local = load_alr(NAME, split, audio="both"), load_alr(root, split, audio="both")
        for name in ("question_audio", "answer_audio"):
            content = [Path(path).read_bytes() for path in rows[name]]
            assert content == [Path(path).read_bytes() for path in local[name]]
        paths = ["question_audio", "answer_audio"]
        assert list(rows.remove_columns(paths)) == list(local.remove_columns(paths))


def test_the_requests_are_counted(hub):
    """A row costs two requests, the split a few; what is in the cache costs none."""
    load_alr(NAME, "dev")
    assert hub.counts() == {
        ("GET", "info"): 1,
        ("HEAD", "resolve"): 2 + 3,  # dev.jsonl, which isn't there; dev/metadata.jsonl; the clips
        ("GET", "resolve"): 1,
        ("POST", "sizes"): 1,
        ("GET", "store"): 3,
    }
    load_alr(NAME, "dev")
    assert hub.counts() == {("GET", "info"): 1}
    load_alr(NAME, "dev", audio="both")
    answers = {("HEAD", "resolve"): 3, ("GET", "store"): 3}
    assert hub.counts() == {("GET", "info"): 1, ("POST", "sizes"): 1, **answers}


def test_a_part_fetches_its_clips_alone(hub, cache):
    part = load_alr(NAME, "dev", max_rows=2)
    assert len(part) == len(fetched(cache)) == 2
    assert hub.counts()["GET", "store"] == 2


def test_sizes_are_asked_for_in_batches(hub, monkeypatch):
    monkeypatch.setattr(alr_hub, "PATHS_A_REQUEST", 2)
    load_alr(NAME, "train")
    assert hub.counts()["POST", "sizes"] == 3  # of five clips


def test_clips_are_fetched_side_by_side(hub):
    together = threading.Barrier(3)
    hub.before = dict.fromkeys(QUESTIONS, lambda: together.wait(20))
    assert lengths(load_alr(NAME, "dev")) == [1600, 1601, 1602]


def test_a_stopped_fetch_continues_with_what_is_missing(hub):
    rows = load_alr(NAME, "dev")
    hub.requests.clear()
    forget(rows[1]["question_audio"])
    assert lengths(load_alr(NAME, "dev")) == [1600, 1601, 1602]
    assert [path for _, route, path in hub.requests if route == "store"] == [QUESTIONS[1]]


def test_a_stream_fetches_what_it_has_reached(hub, cache):
    rows = iter(load_alr(NAME, "dev", streaming=True))
    next(rows)
    assert fetched(cache) == QUESTIONS[:1]
    assert hub.counts()["POST", "sizes"] == 0


@pytest.mark.tried(
    "downloads that were cut in the middle", "resumed, or refused without half a file"
)
def test_a_connection_that_is_cut_is_resumed(hub, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.cut[QUESTIONS[1]] = 1050
    assert lengths(load_alr(NAME, "dev")) == [1600, 1601, 1602]
    assert hub.ranges == ["bytes=1000-"]


@pytest.mark.tried(
    "downloads that were cut in the middle", "resumed, or refused without half a file"
)
def test_a_fetch_that_breaks_leaves_no_half_file(hub, cache):
    hub.reset.add(QUESTIONS[1])
    with pytest.raises(
        SourceError, match=r"dev/0002/question\.wav: .*; what is here already stays"
    ):
        load_alr(NAME, "dev")
    assert QUESTIONS[1] not in fetched(cache)
    assert not list(cache.rglob("*.incomplete"))
    hub.reset.clear()
    assert lengths(load_alr(NAME, "dev")) == [1600, 1601, 1602]


@pytest.mark.tried("requests that the hub refused for their number (429)", "waited for")
@pytest.mark.parametrize(("route", "number"), [("resolve", 6), ("store", 3)])
def test_a_hub_that_asks_to_wait_is_waited_for(hub, route, number):
    source = open_source(NAME)
    hub.limited[route] = number  # so each of three files is refused twice, or once
    paths = [source.path(name) for name in QUESTIONS]
    assert source.fetch(paths) == {}
    assert lengths([{"question_audio": path} for path in paths]) == [1600, 1601, 1602]
    assert hub.limited[route] < 0


@pytest.mark.parametrize(("route", "remedy"), [("info", NO_NETWORK), ("sizes", "try again later")])
def test_a_busy_hub_is_an_error_with_a_remedy(hub, route, remedy):
    """huggingface_hub waits for files, but not for these two requests."""
    hub.limited[route] = 1
    with pytest.raises(SourceError, match=f"{NAME}: HfHubHTTPError: 429 Too Many.*; .*{remedy}"):
        load_alr(NAME, "dev")


@pytest.mark.tried("commits made while a data set was loaded", "not mixed with the one before")
def test_all_files_are_of_one_commit(hub):
    stream = load_alr(NAME, "dev", streaming=True)
    first = next(iter(stream))
    hub.commit(trees.files("hub", value=0.2))
    rows = list(stream)
    assert rows[0] == first
    assert values(rows) == {0.1}
    assert values(load_alr(NAME, "dev")) == {0.2}


@pytest.mark.tried("commits made while a data set was loaded", "not mixed with the one before")
def test_a_commit_between_annotations_and_clips(hub):
    hub.before["dev/metadata.jsonl"] = lambda: hub.commit(trees.files("hub", value=0.2))
    assert values(load_alr(NAME, "dev")) == {0.1}
    assert values(load_alr(NAME, "dev")) == {0.2}


def test_a_revision_can_be_named(hub):
    sha = hub.commit(trees.files("hub", value=0.2), tag="v2")
    hub.commit(trees.files("hub", value=0.3))
    for revision, value in (("v2", 0.2), (sha, 0.2), ("main", 0.3)):
        assert values(load_alr(f"{NAME}@{revision}", "dev")) == {value}
    with pytest.raises(SourceError, match=f"{NAME}@v3: RevisionNotFoundError"):
        load_alr(f"{NAME}@v3", "dev")


def test_a_data_set_that_is_not_there(hub):
    with pytest.raises(SourceError, match=f"owner/other: RepositoryNotFoundError.*; {NO_NETWORK}"):
        load_alr("owner/other", "dev")


def test_no_network_is_an_error_with_a_remedy(hub, monkeypatch):
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(SourceError, match=f"{NAME}: RevisionResolutionError.*; {NO_NETWORK}"):
        load_alr(NAME, "dev")


def test_without_a_network_the_cache_serves(hub, monkeypatch):
    before = list(load_alr(NAME, "dev"))
    with_answers = load_alr(NAME, "dev", audio="both", streaming=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert list(load_alr(NAME, "dev")) == before
    with pytest.raises(
        SourceError, match=r"answer_1\.wav: LocalEntry.*; what is here already stays"
    ):
        next(iter(with_answers))
    assert hub.requests == []


@pytest.mark.tried("signed URLs that fail", "not shown, in a trace neither")
def test_a_signed_url_is_not_shown(hub):
    hub.denied.add(QUESTIONS[0])
    with pytest.raises(SourceError, match=r"0001/question\.wav: HfHubHTTPError: .*403") as error:
        load_alr(NAME, "dev")
    trace = "".join(traceback.format_exception(error.value))
    assert "/store/" in str(error.value)  # the URL is shown, up to its query
    assert "geheim" not in trace
    assert "\n" not in str(error.value)


def test_a_full_disk_is_reported_before_the_first_byte(hub, monkeypatch, cache):
    trees.nearly_full_disk(monkeypatch)
    message = r"0\.0 GB in 3 files are still to be fetched and .* has 1\.0 GB free; use streaming"
    with pytest.raises(SourceError, match=message):
        load_alr(NAME, "dev")
    assert fetched(cache) == []
    assert hub.counts()["GET", "store"] == 0


def test_a_clip_that_the_hub_does_not_have(hub):
    files = trees.files("hub")
    del files[QUESTIONS[1]]
    hub.commit(files)
    rows = load_alr(NAME, "dev")
    with pytest.raises(
        AudioError, match="No such file or directory; was the audio of this row downloaded"
    ):
        load_audio(rows[1]["question_audio"])
    with pytest.warns(SkippedRows, match=r"1 of 3 rows are left out:\n  row dev/0002"):
        assert load_alr(NAME, "dev", on_bad_row="skip")["id"] == ["0001", "0003"]


@pytest.mark.tried("rows that name files outside their folder", "refused with the row's id")
def test_a_row_of_the_hub_that_leaves_the_folder(hub):
    files = trees.files("hub")
    files["dev/metadata.jsonl"] = files["dev/metadata.jsonl"].replace(b"0002/q", b"../../q")
    hub.commit(files)
    with pytest.raises(ALRFormatError, match=r"line 2, id '0002': .* is no path inside the data"):
        load_alr(NAME, "dev")


def test_another_cache_by_the_environment(hub, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("SOUNDMIND_CACHE", str(tmp_path / "mine"))
    row = load_alr(NAME, "dev")[0]
    assert Path(row["question_audio"]).is_relative_to(tmp_path / "mine")
    assert not cache.exists()


def test_a_process_of_its_own(hub, tmp_path):
    """No constant is patched here: the environment says where the hub is."""
    code = f"from soundmind_lite.data import load_alr; print(*load_alr({NAME!r}, 'test')['id'])"
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "0001 0002\n"
    assert fetched(tmp_path / "home") == ["test/0001/question.wav", "test/0002/question.wav"]
