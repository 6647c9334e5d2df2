"""Fixtures: the shipped tiny model and rows, and clips made on the spot.

One torch thread: idle threads that spin cost more than they give.
"""

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock  # torch and transformers bring it

QUESTION = 'Major premise is "{}". Minor premise is "b". Conclusion is "c".'
FEW = dict(
    num_generations=2,
    prompts_per_step=2,
    per_device_train_batch_size=4,
    max_completion_length=10,
    save_steps=1,
)
TRIED = Counter()  # (what, what happened) → how often, in the tests that passed
ROOT = Path(__file__).resolve().parent.parent
# After the name of a Python: two processes on this machine
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# Begun before all others, so that no core waits at the end for a file of minutes: one process runs
# all of a file. The site is built for the first file that reads it, and others would wait for it.
LONGEST = (
    "tests/runs/test_sharded.py",
    "tests/publish/test_web_model.py",
    "tests/publish/test_otter.py",
    "tests/publish/test_site_browser.py",
    "tests/course/test_real_run.py",
    "notebooks/07_right_for_the_wrong_reason.ipynb",
    "tests/runs/test_processes.py",
    "tests/publish/test_site.py",
    "tests/runs/test_sampling.py",
    "tests/test_trainer.py",
)


def pytest_collection_modifyitems(items):
    places = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_collection_finish():
    """What was imported stays: the collections of garbage that each training begins with needn't
    walk through it."""
    gc.collect()
    gc.freeze()


def good_row(identifier="0001", label=1, major="a", answer="So it is.\n\nAnswer: entailed."):
    """A line of annotations in ALR's published form."""
    return dict(id=identifier, user_content=QUESTION.format(major), answer=answer, label=label)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A passed test reports what it tried; properties of a report reach xdist's main process."""
    report = (yield).get_result()
    if call.when == "call" and report.passed:
        tried = [(*mark.args, mark.kwargs.get("each", 1)) for mark in item.iter_markers("tried")]
        report.user_properties += [("tried", entry) for entry in tried]


def pytest_runtest_logreport(report):
    for name, value in report.user_properties:
        if name == "tried" and report.when == "call":
            what, happened, count = value
            TRIED[what, happened] += count


def pytest_terminal_summary(terminalreporter):
    if TRIED:
        terminalreporter.section("tried, and what happened")
        for (what, happened), count in TRIED.items():
            terminalreporter.write_line(f"{count:>9,}  {what}: {happened}")


@pytest.fixture(scope="session")
def tiny():
    """`(model, processor)` of the tiny profile; tests that change the model take `fresh_tiny`."""
    from soundmind_lite import models

    return models.load("tiny")


@pytest.fixture
def fresh_tiny():
    from soundmind_lite import models

    return models.load("tiny")


@pytest.fixture(scope="session")
def test_rows():
    from soundmind_lite import data

    return list(data.load_alr("mini", "test"))


@pytest.fixture(scope="session")
def real_rows():
    """The real annotations of ALR's dev split, if they lie beside the repository, or where
    ALR_ANNOTATIONS points."""
    import json

    file = Path(os.environ.get("ALR_ANNOTATIONS", ROOT.parent / "shared" / "alr" / "dev.jsonl"))
    if not file.is_file():
        pytest.skip("the real annotations are not here; set ALR_ANNOTATIONS to ALR's dev.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def tone(tmp_path):
    """Writes a clip and returns its path: `tone("a.wav", seconds=1, rate=16000, channels=1)`."""
    import soundfile

    def write(name="clip.wav", seconds=1.0, rate=16_000, channels=1, samples=None, **how):
        if samples is None:
            samples = 0.1 * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)
        if channels > 1:
            samples = np.stack([samples] * channels, axis=1)
        soundfile.write(tmp_path / name, samples, rate, **how)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """`shared(name, make)`: a folder that is filled once, by `make(folder)`, for all processes of
    a test session. A test that changes something in it does so in a copy."""
    base = tmp_path_factory.getbasetemp()
    if worker_id != "master":  # the folder that xdist's processes have in common
        base = base.parent

    def folder(name, make):
        target, complete = base / name, base / f"{name}.complete"
        with FileLock(base / f"{name}.lock"):
            if not complete.exists():
                shutil.rmtree(target, ignore_errors=True)  # of a process that failed
                target.mkdir()
                make(target)
                complete.touch()
        return target

    return folder


@pytest.fixture(scope="session")
def small_profile(eight_rows):
    """Two questions with two short completions each a step, on eight rows, saved at each step."""
    from soundmind_lite import profiles

    return replace(profiles.get("tiny"), name="small", data=str(eight_rows), **FEW)


@pytest.fixture
def small(small_profile, monkeypatch):
    """The small profile under its name."""
    from soundmind_lite import profiles

    monkeypatch.setitem(profiles.PROFILES, "small", small_profile)


@pytest.fixture(scope="session")
def stopped_once(small_profile, tmp_path_factory):
    """A run of three steps that stopped in the second; `stopped` is a copy of it."""
    from soundmind_lite import train
    from soundmind_lite.runs.guards import TrainingError

    out, calls = tmp_path_factory.mktemp("stopped") / "run", []

    def once(completions, **_):
        calls.append(1)
        return [float("nan") if len(calls) == 2 else 1.0] * len(completions)

    with pytest.raises(TrainingError):
        train.train(small_profile, out, max_steps=3, reward_funcs=[once])
    return out


@pytest.fixture
def stopped(small, stopped_once, tmp_path):
    """A run of three steps that stopped in the second."""
    return shutil.copytree(stopped_once, tmp_path / "run")


def again(out):
    """The run of `stopped`, resumed."""
    from soundmind_lite import train

    def once(completions, **_):
        return [1.0] * len(completions)

    return train.train("small", out, max_steps=3, reward_funcs=[once], resume=True)


@pytest.fixture
def command(monkeypatch, capsys):
    """`command(*words)`: a command run in this process, from the repository's folder, for what
    needs no process of its own, in which the imports take five seconds. Returns what
    `subprocess.run` does."""
    from soundmind_lite import __main__

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # it sets its own

    def run_here(*words):
        capsys.readouterr()
        arguments = ["soundmind_lite", *map(str, words)]
        monkeypatch.setattr(sys, "argv", arguments)
        code = __main__.main()
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run_here


@pytest.fixture
def nobody():
    """A context in which this process may read and write no more than others may; root may do
    anything."""

    @contextlib.contextmanager
    def without_rights():
        if not hasattr(os, "geteuid"):
            pytest.skip("the rights of files are others on Windows")
        user = os.geteuid()
        if not user:
            try:
                os.seteuid(65534)
            except OSError:
                pytest.skip("this container knows no other user")
        try:
            yield
        finally:
            os.seteuid(user)

    return without_rights


@pytest.fixture
def open_folder():
    """A folder that anybody may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def eight_rows(tmp_path_factory):
    """A folder in the published layout with the first eight rows of mini_alr's train and test."""
    from soundmind_lite.profiles import ASSETS

    folder = tmp_path_factory.mktemp("eight")
    for split in ("train", "test"):
        annotations = ASSETS / "mini_alr" / f"{split}.jsonl"
        lines = annotations.read_text(encoding="utf-8").splitlines()[:8]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for i in range(1, 9):
            shutil.copytree(ASSETS / "mini_alr" / split / f"{i:04}", folder / split / f"{i:04}")
    return folder


@pytest.fixture(scope="session")
def published_checkpoint(tiny, tmp_path_factory):
    """A full Qwen2.5-Omni (thinker, talker, token2wav, voices) in the layout of the published
    files; its thinker is tiny_omni, in bfloat16."""
    import published

    return published.write(tmp_path_factory.mktemp("hub") / "Qwen2.5-Omni", *tiny)
