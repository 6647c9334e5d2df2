"""Runs under fire: two in one folder, a full disk, a full memory, a folder that can't be written, rows and clips that are bad or change. The error says what
is whole, and the run can go on from it. Killed runs are in test_processes.py.
"""
import json
import os
import shutil
import sys
from dataclasses import replace

import pytest
import soundfile
import torch
from conftest import FEW, again

from soundmind_lite import data, profiles, train as runs
from soundmind_lite.runs import folder as run_folder
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.trainer import TrainingError

SMALL = replace(profiles.get("tiny"), **FEW)


def again_with_log_at(out, file, place, words):
    """Goes on with a run whose log lies at `place` from now on, where nothing more can be written; it stops with these words, and goes on when the log is back."""
    log, kept = out / file, out / "kept"

    def once(completions, **_):
        if not kept.exists():
            log.rename(kept)
            log.symlink_to(place)
        return [1.0] * len(completions)

    with pytest.raises(runs.RunError, match=words + r"\. checkpoint-1 is whole: go on with --resume"):
        runs.train("small", out, steps=3, rewards=[once], resume=True)
    log.unlink()
    kept.rename(log)
    assert again(out)["steps"] == 3


@pytest.mark.tried("two runs in one folder", "the second is refused, the first goes on")
def test_two_runs_in_one_folder(stopped):
    with run_folder.claimed(stopped), pytest.raises(runs.RunError, match="is being written by another process"):
        again(stopped)
    assert again(stopped)["steps"] == 3  # the claim went with its owner


@pytest.mark.tried("two runs in one folder", "the second is refused, the first goes on")
def test_a_claim_alone_does_not_fill_a_folder(small, tmp_path):
    (tmp_path / "new").mkdir()
    with run_folder.claimed(tmp_path / "new"), pytest.raises(runs.RunError, match="is being written by another process"):
        runs.train("small", tmp_path / "new", steps=1)
    assert runs.train("small", tmp_path / "new", steps=1)["steps"] == 1


@pytest.mark.tried("full disks in the middle of a run", "the error says which checkpoint is whole; the run goes on from it")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full, a device whose disk is always full")
@pytest.mark.parametrize("file", ["completions.jsonl", "metrics.jsonl"])
def test_a_full_disk(stopped, file):
    again_with_log_at(stopped, file, "/dev/full", r"the disk of .* is full; free some space")


@pytest.mark.tried("full disks while torch writes a file", "the same error, not torch's words")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full, a device whose disk is always full")
@pytest.mark.parametrize("size", [1, 10**4, 10**6])
def test_a_full_disk_in_the_words_of_torch(size, tmp_path):
    """Its writer has other errors than a file of text."""
    with pytest.raises(runs.RunError, match=r"the disk of .* is full; free some space\."), run_folder.told_what_to_do(tmp_path):
        torch.save({"optimizer": torch.zeros(size)}, "/dev/full")


@pytest.mark.tried("full memories, of CPU and GPU", "the error says what to lower and what is whole")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "the GPU's memory is full; lower micro_batch"), (MemoryError(), "the memory is full; lower evaluation_batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "the memory is full; lower evaluation_batch"),
    ],
)
def test_a_full_memory_says_what_to_lower(error, words, small, tmp_path):
    def hungry(completions, **_):
        raise error

    with pytest.raises(runs.RunError, match=words + r".* No checkpoint was complete yet: --resume starts from the beginning"):
        runs.train("small", tmp_path / "run", steps=1, rewards=[hungry])


@pytest.fixture
def own_rows(eight_rows, tmp_path, monkeypatch):
    """A copy of eight rows that a test may spoil; the profile "small" trains on it."""
    folder = shutil.copytree(eight_rows, tmp_path / "data")
    monkeypatch.setitem(profiles.PROFILES, "small", replace(SMALL, data=str(folder)))
    return folder


def clips_of(folder, split="train"):
    return sorted(folder.glob(f"{split}/*/question.*"))


@pytest.mark.tried("clips deleted or changed during training", "stopped with the row's id; goes on with the clip put back, and not without")
@pytest.mark.parametrize(
    ("spoil", "words"), [(lambda clip, other: clip.unlink(), "no such file"), (lambda clip, other: shutil.copyfile(other, clip), "was changed since this run began")]
)
def test_a_clip_deleted_or_changed_during_training_stops_it(spoil, words, own_rows, tmp_path):
    """The last checkpoint is whole; with the clip put back the run goes on, with other rows it doesn't."""
    kept, calls = shutil.copytree(own_rows, tmp_path / "kept"), []

    def once(completions, **_):
        calls.append(1)
        if len(calls) == 2:
            for clip in clips_of(own_rows):
                spoil(clip, clips_of(kept, "test")[0])
        return [1.0] * len(completions)

    with pytest.raises(AudioError, match=rf"row 000\d: .*{words}"):
        runs.train("small", tmp_path / "run", steps=3, rewards=[once])
    assert {p.name for p in runs.complete_checkpoints(tmp_path / "run")} == {"checkpoint-1", "checkpoint-2"}
    with pytest.raises((AudioError, runs.RunError), match=r"no such file|the rows or clips aren't those that the run began with; put them back"):
        again(tmp_path / "run")
    shutil.copytree(kept, own_rows, dirs_exist_ok=True)
    assert again(tmp_path / "run")["steps"] == 3


@pytest.mark.tried("test clips changed between before and after", "stopped with the row's id, no result written")
def test_a_test_clip_changed_during_the_run_spoils_no_comparison(own_rows, tmp_path):
    def once(completions, **_):
        shutil.copyfile(clips_of(own_rows)[0], clips_of(own_rows, "test")[0])
        return [1.0] * len(completions)

    with pytest.raises(AudioError, match=r"row test/0001: .*was changed since this run began"):
        runs.train("small", tmp_path / "run", steps=1, rewards=[once])
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.tried("bad clips in training data", "stopped before the first step, by the row's id")
def test_a_bad_clip_stops_a_run_before_it_begins(own_rows, tmp_path):
    clips_of(own_rows)[5].write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"row train/0006: .*not a readable sound file"):
        runs.train("small", tmp_path / "run", steps=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.tried("bad rows in training data, on_bad_row=skip", "left out, counted in the result, listed in skipped.json", each=3)
def test_bad_rows_are_left_out_counted_and_listed(own_rows, tmp_path, capsys):
    clips_of(own_rows)[5].write_bytes(b"RIFF")
    clips_of(own_rows, "test")[0].unlink()
    lines = (own_rows / "train.jsonl").read_text(encoding="utf-8").splitlines()
    (own_rows / "train.jsonl").write_text("\n".join(["{", *lines[1:]]), encoding="utf-8")
    with pytest.warns(data.SkippedRows):
        result = runs.train("small", tmp_path / "run", steps=1, on_bad_row="skip")
    assert result["skipped_rows"] == 3
    assert result["after"]["n"] == 7
    listed = json.loads((tmp_path / "run" / "skipped.json").read_text())
    assert [entry["row"] for entry in listed] == ["train, line 1", "train/0006", "test/0001"]
    assert "3 rows left out" in capsys.readouterr().out


@pytest.mark.tried("folders that can't be written", "refused before any work", each=3)
def test_a_folder_that_cannot_be_written(small, open_folder, nobody, tmp_path):
    (closed := open_folder / "closed").mkdir()
    closed.chmod(0o555)
    with nobody(), pytest.raises(runs.RunError, match=r"nothing can be written to .*closed/run: .*closed: Permission denied; choose another folder"):
        run_folder.check_folder(closed / "run", False, {})
    (tmp_path / "file").touch()
    (closed / "inner").mkdir()
    closed.chmod(0)
    with nobody(), pytest.raises(runs.RunError, match=r"nothing can be written to .*closed/inner/run: .*Permission denied"):
        run_folder.check_folder(closed / "inner" / "run", False, {})
    closed.chmod(0o755)
    with pytest.raises(runs.RunError, match=r"nothing can be written to .*: Not a directory"):
        runs.train("small", tmp_path / "file" / "run", steps=1)


@pytest.mark.tried("folders that become read-only in the middle of a run", "the error says which checkpoint is whole; the run goes on from it")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /sys, where nobody can make a file")
def test_a_folder_that_becomes_read_only(stopped):
    again_with_log_at(stopped, "metrics.jsonl", "/sys/metrics.jsonl", r"metrics\.jsonl can't be written \(.*\); make it writable")


@pytest.mark.tried("log lines cut in the middle", "dropped, and their step is run again", each=2)
@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_line_that_was_cut_is_dropped(cut, stopped):
    """A log is written line by line; a kill may leave the beginning of one, even one that ends in a brace."""
    for name in ("metrics.jsonl", "completions.jsonl"):
        with (stopped / name).open("a") as file:
            file.write(json.dumps({"step": 2, "completion": "{a}" * 30})[:cut])
    assert again(stopped)["steps"] == 3
    assert [json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert len((stopped / "completions.jsonl").read_text().splitlines()) == 3 * 4


def test_what_is_denied_elsewhere_is_not_blamed_on_the_folder(small, tmp_path):
    def once(completions, **_):
        raise PermissionError(13, "Permission denied", "/home/me/dictionary.txt")

    with pytest.raises(PermissionError, match=r"dictionary\.txt"):
        runs.train("small", tmp_path / "run", steps=1, rewards=[once])


@pytest.mark.tried("log lines damaged in the middle of the log", "refused with file and line")
def test_a_damaged_line_is_named(stopped):
    log = stopped / "metrics.jsonl"
    log.write_bytes(b'{"step": \xff\n' + log.read_bytes())
    with pytest.raises(runs.RunError, match=r"metrics\.jsonl, line 1 is damaged \(.*\); mend or delete it"):
        again(stopped)
    log.write_bytes(log.read_bytes().partition(b"\n")[2])
    assert again(stopped)["steps"] == 3


@pytest.mark.tried("two starts in one folder, the second while the first gets ready", "the one that comes too late is refused")
def test_a_run_that_began_and_ended_while_another_got_ready(small, tmp_path, monkeypatch):
    truth = runs.talker.load_with_voice

    def meanwhile(*given):
        monkeypatch.setattr(runs.talker, "load_with_voice", truth)
        runs.train("small", tmp_path / "run", steps=1, seed=5)
        return truth(*given)

    monkeypatch.setattr(runs.talker, "load_with_voice", meanwhile)
    with pytest.raises(runs.RunError, match="holds a finished run; choose another --out"):
        runs.train("small", tmp_path / "run", steps=1)
    assert runs.facts_of(tmp_path / "run")["seed"] == 5


@pytest.mark.tried("training clips changed before the first step", "stopped with the row's id")
def test_a_clip_changed_while_the_base_is_measured(own_rows, tmp_path, monkeypatch):
    truth = runs.before_training

    def changed(*given, **how):
        shutil.copyfile(clips_of(own_rows, "test")[0], clips_of(own_rows)[0])
        return truth(*given, **how)

    monkeypatch.setattr(runs, "before_training", changed)
    with pytest.raises(AudioError, match=r"row 0001: .*was changed since this run began"):
        runs.train("small", tmp_path / "run", steps=1)


@pytest.mark.tried("clips changed between a stop and --resume, to the byte as long", "refused, and the run goes on with them put back")
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
        runs.train("small", tmp_path / "run", steps=3, rewards=[once])
    soundfile.write(other, sound / 2, 16_000)
    with pytest.raises(runs.RunError, match="the rows or clips aren't those that the run began with"):
        again(tmp_path / "run")
    soundfile.write(other, sound, 16_000)
    assert again(tmp_path / "run")["steps"] == 3


@pytest.mark.tried("starts killed before the run had a name", "the folder can be started in")
def test_a_start_that_was_killed_leaves_a_folder_to_start_in(small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json.part").write_text("{")
    assert runs.train("small", tmp_path / "run", steps=1)["steps"] == 1


@pytest.mark.tried("run folders with a damaged file", "refused with the file's name")
@pytest.mark.parametrize("content", [b'{"steps": \xff', b"[]", b"{}"])
@pytest.mark.parametrize("name", ["before.json", "checkpoint-1/clock.json"])
def test_a_damaged_file_is_named(name, content, stopped):
    (stopped / name).write_bytes(content)
    with pytest.raises(runs.RunError, match=rf"{name} is damaged \(.*\); put it back, or choose another run"):
        again(stopped)


@pytest.mark.tried("files of a checkpoint damaged or removed", "refused with the file's name; the run goes on from what was before")
@pytest.mark.parametrize("spoil", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:-1]), lambda file: file.write_bytes(b"")])
@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "adapter_model.safetensors"])
def test_a_checkpoint_that_is_not_what_was_written(name, spoil, stopped):
    spoil(stopped / "checkpoint-1" / name)
    with pytest.raises(runs.RunError, match=rf"checkpoint-1/{name} is damaged or gone; put it back, or remove .*checkpoint-1 and go on from what was before it"):
        again(stopped)


def test_without_its_checkpoint_a_run_begins_again(stopped):
    shutil.rmtree(stopped / "checkpoint-1")
    assert again(stopped)["steps"] == 3
    assert [json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]


@pytest.mark.tried("logs removed between a stop and --resume", "refused with the file's name")
@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl"])
def test_a_log_that_is_gone_is_named(name, stopped):
    (stopped / name).unlink()
    with pytest.raises(runs.RunError, match=rf"{name} is gone, with the steps up to 1; put it back"):
        again(stopped)


@pytest.mark.tried("checkpoints whose files have times that lie, and copies beside them", "the last ones by their steps are kept, and nobody's copy is touched")
def test_checkpoints_are_kept_by_their_steps(stopped):
    shutil.copytree(stopped / "checkpoint-1", stopped / "checkpoint-1.bak")
    (stopped / "checkpoint-9").mkdir()
    for folder in ("checkpoint-1", "checkpoint-9"):
        os.utime(stopped / folder, (2**32, 2**32))  # in the year 2106
    again(stopped)
    assert {path.name for path in stopped.glob("checkpoint-*")} == {"checkpoint-1.bak", "checkpoint-2", "checkpoint-3"}


@pytest.mark.tried("runs that could not end", "refused before the first step, no folder left behind")
@pytest.mark.parametrize(
    ("how", "rows", "words"),
    [
        (dict(steps=0), 8, "steps must be a whole number from 1 on, got 0"), (dict(steps=1.5), 8, "steps must be a whole number"), (dict(algorithm="ppo"), 8, "there is no algorithm 'ppo'"),
        ({}, 1, "1 training rows can be used, and a step takes 2"), ({}, 8, "the swapped control needs rows of both labels"),
    ],
)
def test_a_run_that_could_not_end_does_not_begin(how, rows, words, own_rows, tmp_path):
    for split, keep in (("train", lambda line: int(line["id"]) <= rows), ("test", lambda line: "swapped" not in words or line["label"] == 1)):
        file = own_rows / f"{split}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines()
        file.write_text("\n".join(line for line in lines if keep(json.loads(line))), encoding="utf-8")
    with pytest.raises((ValueError, runs.RunError), match=words):
        runs.train("small", tmp_path / "run", **{"steps": 1} | how)
    assert not (tmp_path / "run").exists()
