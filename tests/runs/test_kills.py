"""Two runs in one folder, a full disk or memory, a folder that can't be written, bad or changed
rows and clips: the error says what is complete, and the run can be resumed from it.

Killed runs are in test_processes.py.
"""

import errno
import json
import os
import shutil
import sys
from dataclasses import replace

import pytest
import soundfile
import torch
from conftest import FEW, again

from soundmind_lite import profiles, train
from soundmind_lite.alr.bad_rows import SkippedRows
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.runs import checkpoints, files, measuring, starting
from soundmind_lite.runs import folder as run_folder
from soundmind_lite.runs.guards import TrainingError
from soundmind_lite.speech import talker

SMALL = replace(profiles.get("tiny"), **FEW)


COMPLETE = "checkpoint-1 is complete: resume=True continues from it"


def resume_with_log_at(out, file, target):
    """Resumes a run whose log is a link to `target` from now on, where nothing more can be written.

    It stops with the system's own error and a note of what is complete; with the log back in its
    place it can be resumed. Returns the error.
    """
    log, kept = out / file, out / "kept"

    def once(completions, **_):
        if not kept.exists():
            log.rename(kept)
            log.symlink_to(target)
        return [1.0] * len(completions)

    with pytest.raises(OSError) as stop:
        train.train("small", out, max_steps=3, reward_funcs=[once], resume=True)
    assert stop.value.__notes__ == [COMPLETE]
    log.unlink()
    kept.rename(log)
    assert again(out)["steps"] == 3
    return stop.value


@pytest.mark.tried("two runs in one folder", "the second is refused, the first continues")
def test_two_runs_in_one_folder(stopped):
    with (
        starting.claimed(stopped),
        pytest.raises(files.RunError, match="is being written by another process"),
    ):
        again(stopped)
    assert again(stopped)["steps"] == 3  # the claim went with its owner


@pytest.mark.tried("two runs in one folder", "the second is refused, the first continues")
def test_a_claim_alone_does_not_fill_a_folder(small, tmp_path):
    (tmp_path / "new").mkdir()
    with (
        starting.claimed(tmp_path / "new"),
        pytest.raises(files.RunError, match="is being written by another process"),
    ):
        train.train("small", tmp_path / "new", max_steps=1)
    assert train.train("small", tmp_path / "new", max_steps=1)["steps"] == 1


@pytest.mark.tried(
    "full disks in the middle of a run",
    "the error says which checkpoint is complete; the run is resumed from it",
)
@pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="needs /dev/full, a device whose disk is always full",
)
@pytest.mark.parametrize("file", ["completions.jsonl", "metrics.jsonl"])
def test_a_full_disk(stopped, file):
    assert resume_with_log_at(stopped, file, "/dev/full").errno == errno.ENOSPC


@pytest.mark.tried("full memories, of CPU and GPU", "the error says what is complete")
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_full_memory(error, small, tmp_path):
    def hungry(completions, **_):
        raise error

    with pytest.raises(type(error)) as stop:
        train.train("small", tmp_path / "run", max_steps=1, reward_funcs=[hungry])
    words = "No checkpoint is complete yet: resume=True trains from the beginning"
    assert stop.value.__notes__ == [words]


@pytest.fixture
def own_rows(eight_rows, tmp_path, monkeypatch):
    """A copy of eight rows that a test may spoil; the profile "small" trains on it."""
    folder = shutil.copytree(eight_rows, tmp_path / "data")
    monkeypatch.setitem(profiles.PROFILES, "small", replace(SMALL, data=str(folder)))
    return folder


def clips_of(folder, split="train"):
    return sorted(folder.glob(f"{split}/*/question.*"))


@pytest.mark.tried(
    "clips deleted during training",
    "stopped with the row's id; resumed with the clip restored, and not without",
)
def test_a_clip_deleted_during_training_stops_it(own_rows, tmp_path):
    """The last checkpoint is complete."""
    kept, calls = shutil.copytree(own_rows, tmp_path / "kept"), []

    def once(completions, **_):
        calls.append(1)
        if len(calls) == 2:
            for clip in clips_of(own_rows):
                clip.unlink()
        return [1.0] * len(completions)

    with pytest.raises(AudioError, match=r"row 000\d: .*No such file"):
        train.train("small", tmp_path / "run", max_steps=3, reward_funcs=[once])
    complete = checkpoints.complete_checkpoints(tmp_path / "run")
    assert [path.name for path in complete] == ["checkpoint-1", "checkpoint-2"]
    with pytest.raises(AudioError, match="No such file"):
        again(tmp_path / "run")
    shutil.copytree(kept, own_rows, dirs_exist_ok=True)
    assert again(tmp_path / "run")["steps"] == 3


@pytest.mark.tried("bad clips in training data", "stopped before the first step, by the row's id")
def test_a_bad_clip_stops_a_run_before_it_begins(own_rows, tmp_path):
    clips_of(own_rows)[5].write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"row train/0006: .*not a readable sound file"):
        train.train("small", tmp_path / "run", max_steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.tried(
    "bad rows in training data, on_bad_row=skip",
    "left out, counted in the result, listed in skipped.json",
    each=3,
)
def test_bad_rows_are_left_out_counted_and_listed(own_rows, tmp_path, capsys):
    clips_of(own_rows)[5].write_bytes(b"RIFF")
    clips_of(own_rows, "test")[0].unlink()
    lines = (own_rows / "train.jsonl").read_text(encoding="utf-8").splitlines()
    (own_rows / "train.jsonl").write_text("\n".join(["{", *lines[1:]]), encoding="utf-8")
    with pytest.warns(SkippedRows):
        result = train.train("small", tmp_path / "run", max_steps=1, on_bad_row="skip")
    assert result["skipped_rows"] == 3
    assert result["after"]["n"] == 7
    listed = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert [entry["row"] for entry in listed] == ["train, line 1", "train/0006", "test/0001"]
    assert "3 rows left out" in capsys.readouterr().out


@pytest.mark.tried("folders that can't be written", "refused before any work", each=3)
def test_a_folder_that_cannot_be_written(small, open_folder, nobody, tmp_path):
    (closed := open_folder / "closed").mkdir()
    closed.chmod(0o555)
    words = r"nothing can be written to .*closed/run: .*closed: Permission denied; choose another"
    with nobody(), pytest.raises(files.RunError, match=words):
        starting.check_folder(closed / "run", False, {})
    (tmp_path / "file").touch()
    (closed / "inner").mkdir()
    closed.chmod(0)
    words = r"nothing can be written to .*closed/inner/run: .*Permission denied"
    with nobody(), pytest.raises(files.RunError, match=words):
        starting.check_folder(closed / "inner" / "run", False, {})
    closed.chmod(0o755)
    with pytest.raises(files.RunError, match=r"nothing can be written to .*: Not a directory"):
        train.train("small", tmp_path / "file" / "run", max_steps=1)


@pytest.mark.tried(
    "folders that become read-only in the middle of a run",
    "the error says which checkpoint is complete; the run is resumed from it",
)
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs /sys, where nobody can make a file"
)
def test_a_folder_that_becomes_read_only(stopped):
    error = resume_with_log_at(stopped, "metrics.jsonl", "/sys/metrics.jsonl")
    assert error.filename.endswith("metrics.jsonl")


@pytest.mark.tried("log lines cut in the middle", "dropped, and their step is run again", each=2)
@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_was_cut_is_dropped(cut, stopped):
    """A log is written line by line; a kill may leave the beginning of one, even one that ends in a
    brace."""
    for name in ("metrics.jsonl", "completions.jsonl"):
        with (stopped / name).open("a") as file:
            file.write(json.dumps({"step": 2, "completion": "{a}" * 30})[:cut])
    assert again(stopped)["steps"] == 3
    assert [
        json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()
    ] == [1, 2, 3]
    assert len((stopped / "completions.jsonl").read_text().splitlines()) == 3 * 4


@pytest.mark.tried("log lines damaged in the middle of the log", "refused with file and line")
def test_a_damaged_line_is_named(stopped):
    log = stopped / "metrics.jsonl"
    log.write_bytes(b'{"step": \xff\n' + log.read_bytes())
    with pytest.raises(
        files.RunError, match=r"metrics\.jsonl, line 1 is damaged \(.*\); fix or delete it"
    ):
        again(stopped)
    log.write_bytes(log.read_bytes().partition(b"\n")[2])
    assert again(stopped)["steps"] == 3


@pytest.mark.tried(
    "two starts in one folder, the second while the first gets ready",
    "the second is refused, the first ends",
)
def test_a_start_while_another_gets_ready(small, tmp_path, monkeypatch):
    truth = talker.load_with_voice

    def meanwhile(*given):
        with pytest.raises(files.RunError, match="is being written by another process"):
            train.train("small", tmp_path / "run", max_steps=1, seed=5)
        return truth(*given)

    monkeypatch.setattr(talker, "load_with_voice", meanwhile)
    train.train("small", tmp_path / "run", max_steps=1)
    assert run_folder.read_result(tmp_path / "run")["seed"] == 0


@pytest.mark.tried(
    "clips changed during a run", "reported at its end: no result, and nothing to resume"
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_clip_changed_while_the_base_is_measured(split, own_rows, tmp_path, monkeypatch):
    truth = measuring.measure

    def changed(*given, **how):
        other = "train" if split == "test" else "test"
        shutil.copyfile(clips_of(own_rows, other)[0], clips_of(own_rows, split)[0])
        return truth(*given, **how)

    kept = shutil.copytree(own_rows, tmp_path / "kept")
    monkeypatch.setattr(measuring, "measure", changed)
    with pytest.raises(files.RunError, match="rows or clips changed during the run"):
        train.train("small", tmp_path / "run", max_steps=1)
    assert not (tmp_path / "run" / "result.json").exists()
    monkeypatch.setattr(measuring, "measure", truth)
    shutil.copytree(kept, own_rows, dirs_exist_ok=True)
    with pytest.raises(files.RunError, match="aren't those that the run began with"):
        train.train("small", tmp_path / "run", max_steps=1, resume=True)


@pytest.mark.tried(
    "clips changed between a stop and --resume, to the byte as long",
    "refused, and the run is resumed with them restored",
)
def test_a_clip_of_the_same_size_is_another_clip(own_rows, tmp_path):
    clip = clips_of(own_rows)[0]
    sound, other = load_audio(clip), clip.with_suffix(".wav")
    clip.unlink()
    calls = []

    def once(completions, **_):
        calls.append(1)
        return [float("nan") if len(calls) == 2 else 1.0] * len(completions)

    soundfile.write(other, sound, 16_000)
    with pytest.raises(TrainingError):
        train.train("small", tmp_path / "run", max_steps=3, reward_funcs=[once])
    soundfile.write(other, sound / 2, 16_000)
    with pytest.raises(
        files.RunError, match="the rows or clips aren't those that the run began with"
    ):
        again(tmp_path / "run")
    soundfile.write(other, sound, 16_000)
    assert again(tmp_path / "run")["steps"] == 3


@pytest.mark.tried("starts killed before the run had a name", "the folder can be started in")
def test_a_start_that_was_killed_leaves_a_folder_to_start_in(small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json.part").write_text("{")
    assert train.train("small", tmp_path / "run", max_steps=1)["steps"] == 1


@pytest.mark.tried("run folders with a damaged file", "refused with the file's name")
@pytest.mark.parametrize("content", [b'{"steps": \xff', b"[]", b"{}"])
@pytest.mark.parametrize("name", ["before.json", "checkpoint-1/clock.json"])
def test_a_damaged_file_is_named(name, content, stopped):
    (stopped / name).write_bytes(content)
    words = rf"{name} is damaged \(.*\); restore it, or choose another run"
    with pytest.raises(files.RunError, match=words):
        again(stopped)


@pytest.mark.tried(
    "files of a checkpoint damaged or removed",
    "refused with the file's name; the run is resumed from what was before",
)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b""),
    ],
)
@pytest.mark.parametrize(
    "name",
    [
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "adapter_model.safetensors",
    ],
)
def test_a_checkpoint_that_is_not_what_was_written(name, spoil, stopped):
    spoil(stopped / "checkpoint-1" / name)
    remedy = r"restore it, or remove .*checkpoint-1 and resume from the one before it"
    words = rf"checkpoint-1/{name} is damaged or gone; {remedy}"
    with pytest.raises(files.RunError, match=words):
        again(stopped)


def test_without_its_checkpoint_a_run_begins_again(stopped):
    shutil.rmtree(stopped / "checkpoint-1")
    assert again(stopped)["steps"] == 3
    assert [
        json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()
    ] == [1, 2, 3]


@pytest.mark.tried("logs removed between a stop and --resume", "refused with the file's name")
@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl"])
def test_a_log_that_is_gone_is_named(name, stopped):
    (stopped / name).unlink()
    with pytest.raises(
        files.RunError, match=rf"{name} is gone, with the steps up to 1; restore it"
    ):
        again(stopped)


@pytest.mark.tried(
    "checkpoints whose files have times that lie, and copies beside them",
    "the last ones by their steps are kept, and nobody's copy is touched",
)
def test_checkpoints_are_kept_by_their_steps(stopped):
    shutil.copytree(stopped / "checkpoint-1", stopped / "checkpoint-1.bak")
    (stopped / "checkpoint-9").mkdir()
    for name in ("checkpoint-1", "checkpoint-9"):
        os.utime(stopped / name, (2**32, 2**32))  # in the year 2106
    again(stopped)
    assert {path.name for path in stopped.glob("checkpoint-*")} == {
        "checkpoint-1.bak",
        "checkpoint-2",
        "checkpoint-3",
    }


@pytest.mark.tried(
    "runs that could not end", "refused before the first step, no folder left behind"
)
@pytest.mark.parametrize(
    ("how", "rows", "words"),
    [
        (dict(max_steps=0), 8, "steps must be a whole number from 1 on, got 0"),
        (dict(max_steps=1.5), 8, "steps must be a whole number"),
        (dict(algorithm="ppo"), 8, "there is no algorithm 'ppo'"),
        ({}, 1, "1 training rows can be used, and a step takes 2"),
        ({}, 8, "the swapped control needs rows of both labels"),
    ],
)
def test_a_run_that_could_not_end_does_not_begin(how, rows, words, own_rows, tmp_path):
    for split, keep in (
        ("train", lambda line: int(line["id"]) <= rows),
        ("test", lambda line: "swapped" not in words or line["label"] == 1),
    ):
        file = own_rows / f"{split}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        file.write_text(
            "\n".join(line for line in lines if keep(json.loads(line))), encoding="utf-8"
        )
    with pytest.raises((ValueError, files.RunError), match=words):
        train.train("small", tmp_path / "run", **{"max_steps": 1} | how)
    assert not (tmp_path / "run").exists()
