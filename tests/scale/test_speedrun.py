"""The speedrun counts honestly, and its task is the same for all."""

import json
import os
import subprocess
import sys

import pytest
from conftest import FEW, ROOT

from soundmind_lite import data
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs.algorithms import CONFIGS
from soundmind_lite.runs.report import read_lines
from soundmind_lite.scale import speedrun

LATE_START = """
import time
time.sleep(3)
open({file!r}, "w").write(str(time.time()))
"""
SHORT = {**FEW, "max_steps": 2, "max_completion_length": 3, "learning_rate": 1e-4}
SHORT.pop("save_steps")


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A short race by the command, in a Python that sleeps before its first import: what it wrote
    and printed, and the time when it had slept."""
    folder = tmp_path_factory.mktemp("race")
    slept, entry, out = (folder / name for name in ("slept", "entry.json", "race.json"))
    (folder / "sitecustomize.py").write_text(LATE_START.format(file=str(slept)))
    entry.write_text(json.dumps(SHORT))
    command = [sys.executable, "-m", "soundmind_lite", "speedrun", "--every", "2"]
    command += ["--entry", str(entry), "--json", str(out)]
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text()) | {"written": out.stat().st_mtime}
    return found, done.stdout, float(slept.read_text())


def test_the_clock_starts_with_the_process_before_any_import(raced):
    found, _, slept = raced
    assert found["started"] < slept - 2
    assert found["trace"][0]["seconds"] > 3


def test_measuring_is_not_counted_and_said(raced):
    found, printed, _ = raced
    (point,) = found["trace"]
    whole = found["written"] - found["started"]
    assert point["seconds"] + found["measuring_seconds"] < whole + 0.2  # both are rounded
    assert found["measuring_seconds"] > 1
    assert f"not counted: {found['measuring_seconds']:.1f} s of measuring" in printed


def test_all_unseen_questions_are_asked_and_a_goal_that_is_not_reached_says_so(raced):
    found, printed, _ = raced
    assert [(p["step"], p["n"]) for p in found["trace"]] == [(2, 240)]
    assert found["arrived"] is None
    assert "90% of greedy and sampled answers: not reached" in printed


def test_test_questions_are_unseen():
    train, test = (data.load_alr("mini", split) for split in ("train", "test"))
    speedrun.check_unseen(train, test)
    with pytest.raises(ValueError, match=f"test questions {train[5]['id']} are among the training"):
        speedrun.check_unseen(train, [*test, train[5]])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"model": "mine"}, "an entry can't change model: every race has the same task"),
        ({"data": "mine", "test_rows": 5}, "an entry can't change data, test_rows"),
        ({"speed": 2}, "the entry names speed, which is no field of the profile or of GRPOConfig"),
        ({"algorithm": "ppo"}, "there is no algorithm 'ppo'"),
    ],
)
def test_an_entry_that_is_none_is_refused(entry, words):
    with pytest.raises(ValueError, match=words):
        speedrun.settings_of(entry)


def test_an_entry_changes_the_profile_and_the_configuration():
    entry = {"num_generations": 4, "temperature": 0.9, "algorithm": "gspo", "epsilon": 0.1}
    profile, options = speedrun.settings_of(entry)
    assert profile.num_generations == 4
    assert options == {**CONFIGS["gspo"], "algorithm": "grpo", "temperature": 0.9, "epsilon": 0.1}


def test_races_that_are_there_are_kept(raced, tmp_path):
    found, *_ = raced
    file = tmp_path / "races.jsonl"
    file.write_text(json.dumps({"algorithm": "grpo", **found}) + "\n")
    races = speedrun.race_algorithms(file, names=["grpo"])
    assert races == [{"algorithm": "grpo", **found}]
    (line,) = speedrun.table(races).splitlines()[2:]
    assert line.startswith("| `grpo` | not reached | not reached | ")


def test_the_page_shows_the_shipped_races():
    runs = ASSETS / "runs" / "speedrun"
    page = (ASSETS / "site" / "speedrun.md").read_text(encoding="utf-8")
    assert speedrun.table(read_lines(runs / "algorithms.jsonl")) in page
    entries = {}
    for file in sorted(runs.glob("*_seed*.json")):
        race = json.loads(file.read_text(encoding="utf-8"))
        entries.setdefault(file.stem.rpartition("_seed")[0], []).append(race)
    assert all([race["seed"] for race in races] == [0, 1, 2] for races in entries.values())
    assert speedrun.board(entries) in page


def test_an_entry_that_does_not_arrive_with_every_seed_does_not_count():
    point = {"step": 8, "seconds": 20.4}
    races = [{"seed": s, "entry": {}, "arrived": a} for s, a in enumerate([point, None, point])]
    (line,) = speedrun.board({"mine": races}).splitlines()[2:]
    assert line == "| mine | `nothing` | 8, not reached, 8 | 20, –, 20 | doesn't count |"
