"""A forked process beside this one: does its work, dies with its parent, hides no error."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from soundmind_lite.runs import beside
from soundmind_lite.runs.answers import AnswerLog

FORKS = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")
PARENT = """
import os, sys, time, torch
from pathlib import Path
from soundmind_lite.runs import beside

beside.core_is_free = lambda: True
def task():
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(60)
with beside.beside(task):
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def a_free_core(monkeypatch):
    monkeypatch.setattr(beside, "core_is_free", lambda: True)


@FORKS
def test_the_task_runs_in_another_process_and_is_waited_for(tmp_path):
    found = tmp_path / "pid"
    with beside.beside(lambda: (time.sleep(0.2), found.write_text(str(os.getpid())))):
        assert not found.exists()
    assert int(found.read_text()) != os.getpid()


@FORKS
def test_what_it_raises_or_prints_is_left_to_the_caller(capfd):
    def task():
        print("lost")
        raise RuntimeError("lost, too")

    with beside.beside(task):
        pass
    assert capfd.readouterr() == ("", "")


@FORKS
def test_an_error_in_the_body_ends_the_task(tmp_path):
    late = tmp_path / "late"
    with pytest.raises(KeyboardInterrupt), beside.beside(lambda: (time.sleep(2), late.touch())):
        raise KeyboardInterrupt
    time.sleep(2.5)
    assert not late.exists()


@FORKS
def test_it_dies_with_a_killed_parent(tmp_path):
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file)])
    while not (file.exists() and file.read_text()):
        time.sleep(0.1)
        assert parent.poll() is None
    child = int(file.read_text())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(50):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return  # dead, and not yet collected by whoever adopted it
        time.sleep(0.1)
    pytest.fail("the forked process outlived its parent")


def test_no_second_process_where_threads_could_hang(monkeypatch):
    monkeypatch.undo()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert not beside.core_is_free()
    finally:
        torch.set_num_threads(threads)


def test_two_logs_of_one_measurement_know_the_same_answers(tmp_path):
    from soundmind_lite.evaluation import Answer

    log = AnswerLog(tmp_path / "answers.jsonl")
    other = log.beside()
    answers = [Answer(str(i), "text", True, True, False) for i in range(2)]
    log.add("before", 0, {0: answers[0]})
    other.add("before", 0, {1: answers[1]})
    assert len(list(tmp_path.iterdir())) == 2
    assert log.known("before") == other.known("before") == dict(enumerate(answers))
    log.join()
    assert [file.name for file in tmp_path.iterdir()] == ["answers.jsonl"]
    assert log.known("before") == dict(enumerate(answers))
