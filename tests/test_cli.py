"""The command line as a newcomer meets it."""

import json
import subprocess
import sys
import warnings

import pytest
from conftest import ROOT


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "soundmind_lite", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["doctor"],
        ["train"],
        ["evaluate"],
        ["build-tiny"],
        ["merge"],
        ["plan"],
        ["bench"],
        ["site"],
    ],
)
def test_help(command):
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "usage: python -m soundmind_lite" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--profile", "nope"], "invalid choice: 'nope'"),
        (["train", "--steps", "0"], "must be at least 1"),
        (["train", "--seed", "-1"], "must lie between"),
        ([], "COMMAND"),
        (["evaluate", "--audio", "loud"], "invalid choice: 'loud'"),
        (["build-tiny"], "--out"),
        (["fly"], "invalid choice: 'fly'"),
        (["plan", "--price", "-5"], "must be a positive number"),
        (["bench", "step", "--seconds-of-audio", "nan"], "must be a positive number"),
    ],
)
def test_bad_arguments_exit_with_2(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_failure_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run("train", "--out", tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path} is not empty")
    assert "Traceback" not in done.stderr
    done = run("build-tiny", "--out", tmp_path)
    assert (done.returncode, "not an empty folder" in done.stderr) == (1, True)


def test_the_doctor_sees_what_is_here_and_what_is_not(monkeypatch, capsys):
    from soundmind_lite import profiles
    from soundmind_lite.scale import doctor

    assert doctor.report()
    printed = capsys.readouterr().out
    assert "OK   profile tiny" in printed
    assert "OK   torch" in printed
    card = [("A card", 24.0)]
    assert doctor.profile_finding(profiles.get("l4"), card).ok
    assert "the largest card here has 23 GB" in str(
        doctor.profile_finding(profiles.get("80gb"), card)
    )
    assert doctor.profile_finding(profiles.get("80gb"), [("A card", 80.0)]).ok
    monkeypatch.setattr(doctor, "installed", lambda package: None if package == "trl" else "1.0")
    assert not doctor.report()
    monkeypatch.setattr(
        doctor, "installed", lambda package: None if package in ("trl", "bitsandbytes") else "1.0"
    )
    assert "4-bit weights need bitsandbytes" in str(
        doctor.profile_finding(profiles.get("l4"), card)
    )
    assert "--   trl missing: expected 1.16.0; pip install trl==1.16.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "--profile", "l4", "--out", "nowhere"],
            "wants a GPU of 22 GB, there is none here; what runs here: tiny",
        ),
        (
            ["evaluate", "--profile", "80gb"],
            "wants a GPU of 79 GB, there is none here; what runs here: tiny",
        ),
        (["plan", "--profile", "80gb", "--gpu", "T4"], "the profile 80gb will not fit on T4"),
        (["merge", "--run", "nowhere", "--out", "x"], "holds no finished run"),
        (
            ["evaluate", "--run", "nowhere", "--model", "elsewhere"],
            "--run evaluates its own model; leave out --model",
        ),
        (["evaluate", "--out", "tests"], "tests is a folder; give --out the name of a file"),
        pytest.param(
            ["evaluate", "--out", "/sys/x.json"],
            "nothing can be written to /sys",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs /sys"),
        ),
    ],
)
def test_a_refusal_is_one_line(arguments, message):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (ROOT / "nowhere").exists()


def test_evaluate_prints_figures(tmp_path):
    file = tmp_path / "out.json"
    done = run("evaluate", "--split", "dev", "--setting", "text-text", "--out", file)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["n"] == 60
    assert printed["ci_low"] <= printed["accuracy"] <= printed["ci_high"]
    assert len(json.loads(file.read_text())["answers"]) == 60


def test_importing_loads_nothing_heavy():
    """Under half a second, too: whatever isn't loaded costs no time."""
    modules = "soundmind_lite, soundmind_lite.rewards, soundmind_lite.profiles, soundmind_lite.data"
    heavy = ("torch", "transformers", "trl", "datasets", "librosa", "numpy")
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_names_of_the_package_can_be_imported_from_it():
    """Those of the README, each from the module that defines it."""
    import soundmind_lite

    assert set(soundmind_lite.__all__) <= set(dir(soundmind_lite))
    for name in soundmind_lite.__all__:
        assert getattr(soundmind_lite, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'GRPOTrainer'"):
        getattr(soundmind_lite, "GRPOTrainer")  # noqa: B009


def test_the_command_line_speaks_of_its_own_flags(stopped):
    """The library's errors name arguments; here they become flags."""
    done = run("train", "--out", stopped)
    assert "already holds a run; resume it with --resume, or choose another --out" in done.stderr


def test_evaluate_reads_what_it_needs_and_lists_what_it_leaves_out(
    eight_rows, tmp_path, monkeypatch, capsys
):
    """Questions that are text need no audio; where they are audio, rows without it stop the command
    or are left out."""
    import shutil
    from dataclasses import replace

    from soundmind_lite import __main__, profiles
    from soundmind_lite.alr.bad_rows import SkippedRows

    monkeypatch.setattr(
        warnings, "formatwarning", warnings.formatwarning
    )  # the command sets its own
    folder = shutil.copytree(eight_rows, tmp_path / "data")
    for clip in sorted(folder.glob("test/*/question.*"))[:2]:
        clip.unlink()
    monkeypatch.setitem(
        profiles.PROFILES,
        "small",
        replace(profiles.get("tiny"), data=str(folder), max_completion_length=5),
    )

    def evaluate(*options):
        monkeypatch.setattr(
            sys, "argv", ["soundmind_lite", "evaluate", "--profile", "small", *map(str, options)]
        )
        return __main__.main()

    assert evaluate("--setting", "text-text", "--out", tmp_path / "read.json") == 0
    assert json.loads((tmp_path / "read.json").read_text())["n"] == 8
    assert evaluate() == 1
    assert "error: row test/0001: " in capsys.readouterr().err
    with pytest.warns(SkippedRows, match="2 of 8 rows are left out:"):
        assert evaluate("--on-bad-row", "skip", "--out", tmp_path / "heard.json") == 0
    heard = json.loads((tmp_path / "heard.json").read_text())
    assert (heard["n"], heard["skipped_rows"], [s["row"] for s in heard["skipped"]]) == (
        6,
        2,
        ["test/0001", "test/0002"],
    )


def test_a_run_of_ones_own_from_the_command_line(eight_rows, tmp_path, monkeypatch, capsys):
    """Own data, model and sizes, without an edit of the profiles; `evaluate` finds them again."""
    from soundmind_lite import __main__, profiles

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    own = ["--data", eight_rows, "--model", profiles.get("tiny").model]

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["soundmind_lite", *map(str, arguments)])
        return __main__.main()

    out = tmp_path / "run"
    sizes = ["--num-generations", 4, "--max-completion-length", 8, "--steps", 1]
    assert command("train", *own, *sizes, "--out", out) == 0
    lines = (out / "completions.jsonl").read_text().splitlines()
    assert len(lines) == 4 * 4
    result = json.loads((out / "result.json").read_text())
    assert result["after"]["n"] == 8
    assert (result["sizes"]["num_generations"], result["sizes"]["max_completion_length"]) == (4, 8)
    capsys.readouterr()
    assert command("evaluate", "--run", out) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == result["after"]["accuracy"]
    assert command("evaluate", "--run", out, "--data", "mini", "--test-rows", 5) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 5
    assert command("evaluate", *own) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 8


def test_every_name_that_a_command_uses_is_there():
    """Commands import inside themselves, so that a name that is gone would show late."""
    import ast
    import importlib

    from soundmind_lite import __main__

    tree = ast.parse((ROOT / "soundmind_lite" / "__main__.py").read_text(encoding="utf-8"))
    checked = 0
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        modules = {}
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = ".".join(filter(None, ["soundmind_lite", node.module]))
                home = importlib.import_module(base)
                for alias in node.names:
                    if not hasattr(home, alias.name):
                        importlib.import_module(f"{base}.{alias.name}")
                    modules[alias.name] = getattr(home, alias.name)
        for node in ast.walk(function):
            named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if named and node.value.id in modules:
                assert hasattr(modules[node.value.id], node.attr), ast.unparse(node)
                checked += 1
    assert checked > 10
    assert __main__.main
