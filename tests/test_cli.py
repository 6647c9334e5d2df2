"""The command line as a newcomer meets it."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from conftest import ROOT

from soundmind_lite import profiles


def run(*arguments, **options):
    """The command in a process of its own, which costs it the imports: five seconds for most."""
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
        ["speedrun"],
        ["site"],
    ],
)
def test_help(command):
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "usage: python -m soundmind_lite" in done.stdout


def test_every_command_has_a_description_an_example_that_parses_and_its_defaults():
    import argparse
    import shlex

    from soundmind_lite import __main__

    parser = __main__.parser()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    assert len(commands.choices) == 9
    for name, command in commands.choices.items():
        assert len(command.description) > 40
        example = shlex.split(command.epilog.removeprefix("example: "))
        assert example[:4] == ["python", "-m", "soundmind_lite", name]
        assert parser.parse_args(example[3:]).call
        for action in command._actions:
            has_default = action.default not in (None, False, argparse.SUPPRESS)
            shown = command.format_help()
            if has_default and action.dest != "call":
                assert f"(default: {action.default})" in " ".join(shown.split()), action.dest


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


def test_a_failure_is_one_clear_line(tmp_path, command):
    """Of the whole process: nothing that it imports says a word."""
    (tmp_path / "file").write_text("mine")
    done = run("train", "--out", tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path} is not empty")
    done = command("build-tiny", "--out", tmp_path)
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
        (["merge", "--run", "nowhere", "--out", "x"], "nowhere: there is no such folder"),
        (["evaluate", "--run", "nowhere"], "nowhere: there is no such folder; give the folder of"),
        (["merge", "--run", "tests", "--out", "x"], "tests holds no finished run (no result.json)"),
        (
            ["evaluate", "--run", "assets/tiny_omni"],
            "holds a model, and no run; give it as --model 'assets/tiny_omni'",
        ),
        (
            ["evaluate", "--run", "assets/runs/all_seed0", "--model", "elsewhere"],
            "--run evaluates its own model; leave out --model",
        ),
        (
            ["evaluate", "--setting", "text-text", "--audio", "swapped"],
            "--audio 'swapped' changes the audio, and 'text-text' has none",
        ),
        (["evaluate", "--out", "tests"], "tests is a folder; give --out the name of a file"),
        pytest.param(
            ["evaluate", "--out", "/sys/x.json"],
            "nothing can be written to /sys",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs /sys"),
        ),
    ],
)
def test_a_refusal_is_one_line(arguments, message, command):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = command(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (ROOT / "nowhere").exists()


def test_evaluate_prints_figures(tmp_path):
    file = tmp_path / "out.json"
    asked = ["evaluate", "--split", "dev", "--setting", "text-text", "--out", file]
    done = run(*asked, "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["n"] == 60
    assert printed["ci_low"] <= printed["accuracy"] <= printed["ci_high"]
    assert len(json.loads(file.read_text())["answers"]) == 60
    assert not {"answers", "skipped"} & set(printed)


def test_evaluate_says_the_accuracy_first(eight_rows, capsys):
    from soundmind_lite.runs.evaluating import evaluate, in_words

    own = replace(profiles.get("tiny"), data=str(eight_rows), max_completion_length=4)
    first, second = in_words(evaluate(own)).splitlines()
    assert first == "0.0% (0%–32%), n = 8, format 0%, premises restated 0%"
    asked = "split test, setting audio-text, audio true"
    assert second == f"untrained (profile tiny), {asked}"
    asked = {"run": "runs/a", "profile": "tiny", "split": "dev", "setting": "audio-audio"}
    found = {"accuracy": 0.5, "ci_low": 0.25, "ci_high": 0.75, "n": 8, "accuracy_text": 0.625}
    found |= {"wer": 0.02, "wer_low": 0.01, "wer_high": 0.03, "seconds_of_speech": 4.25}
    spoken = asked | found | {"voice": "hibari-tts", "skipped_rows": 2, "audio": "true"}
    first, second = in_words(spoken).splitlines()
    assert first.startswith("50.0% (25%–75%), n = 8, by transcript; by text 62.5%, WER 2.0% (1.0%")
    assert second.endswith("audio true, 2 rows left out")


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


def test_the_command_line_speaks_of_its_own_flags(stopped, command):
    """The library's errors name arguments; here they become flags."""
    done = command("train", "--out", stopped)
    assert "already holds a run; resume it with --resume, or choose another --out" in done.stderr


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("lower num_generations", "lower --num-generations"),
        ("raise max_completion_length, or …", "raise --max-completion-length, or …"),
        ("max_steps must be 1", "--steps must be 1"),
        ("raise max_audio_seconds or …", "raise the profile's max_audio_seconds or …"),
        ("the profile's max_audio_seconds", "the profile's max_audio_seconds"),
        ("lower prompts_per_step", "lower the profile's prompts_per_step"),
        ("in runs/max_steps/x and a-model=3", "in runs/max_steps/x and a-model=3"),
        ("resume=True continues from it", "--resume continues from it"),
    ],
)
def test_advice_names_a_flag_or_the_profile(said, shown):
    from soundmind_lite.runs import console

    assert console.one_line(ValueError(said)) == shown


def test_every_flag_that_advice_names_is_one():
    import re

    from soundmind_lite import __main__
    from soundmind_lite.runs import console

    text = run("train", "--help").stdout + run("evaluate", "--help").stdout
    assert __main__.parser()
    for words in console.FLAGS.values():
        for flag in re.findall(r"--[\w-]+", words):
            assert f" {flag} " in text, flag


def copied_alone(folder):
    """The package without its repository, as `pip install git+https://…` leaves it."""
    import shutil

    nothing = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "soundmind_lite", folder / "soundmind_lite", ignore=nothing)
    return folder


COMMANDS = """import sys
from soundmind_lite.__main__ import main

for words in {commands}:
    sys.argv = ["soundmind_lite", *words]
    print("exit", main(), flush=True)"""


@pytest.mark.tried("commands of a package without its repository", "say what to clone", each=5)
def test_the_package_alone_says_what_it_lacks(tmp_path):
    """Five commands in one process, which imports the package from where it was copied to."""
    import tomllib

    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    alone = copied_alone(tmp_path)
    lacks = {
        ("train", "--steps", "1", "--out", "run"): "assets/mini_alr",
        ("evaluate",): "assets/mini_alr",
        ("bench", "rollout"): "assets/tiny_omni",
        ("site", "--out", "pages"): "notebooks",
        ("doctor",): "",
    }
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    code = COMMANDS.format(commands=[*lacks])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=alone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    *refused, doctor, rest = done.stdout.split("exit 1\n")
    assert (len(refused), rest) == (4, "")
    for said, missing in zip(refused, lacks.values()):
        assert said.count("\n") == 1
        assert f"{alone} lacks {missing}: the package alone isn't the whole repository" in said
        assert f"git clone {urls['Repository']} and run this in its folder" in said
    named = [line for line in doctor.splitlines() if urls["Repository"] in line]
    lacking = [line.split(":")[0] for line in named]
    assert lacking == ["--   requirements.txt", "--   assets/mini_alr", "--   assets/tiny_omni"]
    assert not (alone / "run").exists()


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


def test_a_run_of_ones_own_from_the_command_line(eight_rows, tmp_path, command):
    """Own data, model and sizes, without an edit of the profiles; `evaluate` finds them again."""
    own = ["--data", eight_rows, "--model", profiles.get("tiny").model]
    out = tmp_path / "run"
    sizes = ["--num-generations", 4, "--max-completion-length", 8, "--steps", 1]
    assert command("train", *own, *sizes, "--out", out).returncode == 0
    lines = (out / "completions.jsonl").read_text().splitlines()
    assert len(lines) == 4 * 4
    result = json.loads((out / "result.json").read_text())
    assert result["after"]["n"] == 8
    assert (result["sizes"]["num_generations"], result["sizes"]["max_completion_length"]) == (4, 8)

    def evaluated(*words):
        done = command("evaluate", *words, "--json")
        assert done.returncode == 0
        return json.loads(done.stdout)

    assert evaluated("--run", out)["accuracy"] == result["after"]["accuracy"]
    assert evaluated("--run", out, "--data", "mini", "--test-rows", 5)["n"] == 5
    assert evaluated(*own)["n"] == 8


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


@pytest.mark.parametrize(
    ("started", "cards", "words", "planned"),
    [
        ("4", 8, [], "4 × "),  # the processes that were started
        (None, 8, [], "8 × "),  # all cards that are here
        (None, 0, [], "2 × A100"),  # the fewest
        (None, 8, ["--gpu", "H200"], "2 × H200"),  # cards of another machine
    ],
)
def test_a_plan_for_several_cards_counts_them(started, cards, words, planned, monkeypatch, capsys):
    from soundmind_lite import __main__
    from soundmind_lite.scale import doctor

    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if started:
        monkeypatch.setenv("WORLD_SIZE", started)
    monkeypatch.setattr(doctor, "gpus", lambda: [("NVIDIA A100-SXM4-80GB", 85.0)] * cards)
    monkeypatch.setattr(sys, "argv", ["soundmind_lite", "plan", "--profile", "multi", *words])
    assert __main__.main() == 0
    assert capsys.readouterr().out.startswith(f"profile multi on {planned}")
    assert doctor.processes_for(profiles.get("80gb")) is None
