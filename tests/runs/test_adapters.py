"""An adapter is found in whatever wrote it: a run, its checkpoints, a trainer of a notebook; its
card and its settings are the course's own."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from conftest import FEW

from soundmind_lite import data, grpo, models, profiles
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs import adapter, folder
from soundmind_lite.runs.evaluating import evaluate
from soundmind_lite.runs.files import RunError

CLIP = ASSETS / "mini_alr" / "dev" / "0003" / "question.ogg"
END = "--- the end of this code ---"


@pytest.fixture(scope="module")
def of_a_notebook(eight_rows, tmp_path_factory):
    """What the trainer of notebook 05 writes: checkpoints, and no run.json."""
    out = tmp_path_factory.mktemp("notebook") / "05_train"
    profile = replace(profiles.get("tiny"), **FEW)
    rows = data.training_rows(data.load_alr(eight_rows, "train"))
    model, processor = models.load(profile)
    trainer = grpo.trainer_for(
        profile, model, processing_class=processor, train_dataset=rows, output_dir=out, max_steps=2
    )
    trainer.train()
    return out


def small(eight_rows, **changes):
    return replace(profiles.get("tiny"), data=str(eight_rows), max_completion_length=4, **changes)


def test_the_trainer_of_a_notebook_can_be_evaluated(of_a_notebook, eight_rows, monkeypatch, capsys):
    from soundmind_lite import __main__

    given = ["--data", eight_rows, "--max-completion-length", 4, "--json"]
    words = ["soundmind_lite", "evaluate", "--run", of_a_notebook, *given]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    assert __main__.main() == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["n"], figures["profile"]) == (8, "tiny")
    assert figures["run"] == str(of_a_notebook / "checkpoint-2")


def test_a_checkpoint_of_a_notebook_names_its_base_without_a_path_of_this_machine(of_a_notebook):
    settings = json.loads((of_a_notebook / "checkpoint-2" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "assets/tiny_omni"


@pytest.mark.filterwarnings("error::UserWarning")
def test_each_checkpoint_by_its_name(of_a_notebook, eight_rows):
    for name in ("checkpoint-1", "checkpoint-2"):
        run = str(of_a_notebook / name)  # a string, too
        assert evaluate(small(eight_rows), run)["run"] == run
        weights = adapter.load_trained(run)[0].state_dict()
        assert len(weights) > 100
        assert adapter.profile_of(run) is None


def test_what_a_folder_is_when_it_is_no_run(of_a_notebook, tmp_path):
    with pytest.raises(
        RunError, match=r"holds no finished run \(no result.json\); give the folder"
    ):
        folder.read_result(of_a_notebook)
    with pytest.raises(RunError, match="there is no such folder"):
        adapter.load_trained(tmp_path / "nowhere")
    with pytest.raises(RunError, match="holds a model, and no run; give it as model="):
        adapter.load_trained(ASSETS / "tiny_omni")


def test_another_base_than_the_adapter_s_is_reported(of_a_notebook, eight_rows, tmp_path):
    other = shutil.copytree(ASSETS / "tiny_omni", tmp_path / "other_omni")
    with pytest.warns(UserWarning, match=r"was trained on .*tiny_omni, and is put on .*other_omni"):
        evaluate(small(eight_rows, model=str(other)), of_a_notebook)


def test_the_checkpoints_of_a_run(stopped, eight_rows):
    """They know the profile of their run; the run itself isn't finished."""
    checkpoint = stopped / "checkpoint-1"
    assert adapter.profile_of(checkpoint).name == "small"
    assert evaluate(run=checkpoint)["profile"] == "small"
    with pytest.raises(RunError, match=rf"resume=True, or evaluate {re.escape(str(checkpoint))}"):
        evaluate(run=stopped)


@pytest.fixture(scope="module")
def finished(eight_rows, tmp_path_factory):
    from soundmind_lite import train

    out = tmp_path_factory.mktemp("runs") / "run"
    profile = replace(profiles.get("tiny"), data=str(eight_rows), eval="none", **FEW)
    train.train(profile, str(out), max_steps=2)
    return out


def test_the_cards_are_the_course_s_own(finished):
    assert len(list(finished.rglob("README.md"))) == 4
    for card in finished.rglob("README.md"):
        text = card.read_text(encoding="utf-8")
        assert "More Information Needed" not in text
        assert "TRL" not in text
        assert str(ASSETS.parent) not in text
        assert str(finished.parent) not in text
        assert "grpo" in text
    assert "step 1 of 2" in (finished / "checkpoint-1" / "README.md").read_text(encoding="utf-8")
    assert "step 2 of 2" in (finished / "adapter" / "README.md").read_text(encoding="utf-8")


def test_the_settings_of_an_adapter_hold_no_path_of_the_machine(finished):
    configs = list(finished.rglob("adapter_config.json"))
    assert len(configs) == 3
    for config in configs:
        settings = json.loads(config.read_text(encoding="utf-8"))
        assert settings["base_model_name_or_path"] == "assets/tiny_omni"


@pytest.fixture(scope="module")
def printed(finished, published_checkpoint):
    """What the code on the run's card prints, and what that for a full checkpoint does; in the
    folder that their paths start in, by a process without this package."""
    from soundmind_lite.runs.usage import plain_code

    card = (finished / "adapter" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 24
    processor = models.load_processor(published_checkpoint)
    full = plain_code(str(published_checkpoint), processor=processor, tokens=12)
    top = finished.parent
    (top / "assets").symlink_to(ASSETS, target_is_directory=True)
    shutil.copy(CLIP, top / "question.wav")
    each = f"import sys\nfor code in sys.argv[1:]:\n    exec(code, {{}})\n    print({END!r})"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", each, code, full]
    done = subprocess.run(command, cwd=top, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    of_card, of_full, rest = done.stdout.split(END)
    assert not rest.strip()
    return of_card.strip(), of_full.strip()


def test_the_code_on_the_card_answers_as_the_course_does(finished, printed):
    from soundmind_lite import evaluation

    model, processor, profile = adapter.load_trained(finished)
    expected = evaluation.ask(model, processor, CLIP, profile=profile)
    assert printed[0] == expected.strip()
    assert len(expected) > 10


@pytest.mark.parametrize("form", ["path", "string", "bytes", "array"])
def test_one_clip_is_asked_in_any_form(form, tiny):
    from soundmind_lite import evaluation
    from soundmind_lite.audio import load_audio

    model, processor = tiny
    row = data.load_alr("mini", "dev")[2]
    clip = ASSETS / "mini_alr" / "dev" / row["id"] / "question.ogg"
    given = {"path": clip, "string": str(clip), "array": load_audio(clip)}
    given["bytes"] = {"path": None, "bytes": clip.read_bytes()}
    answer = evaluation.ask(model, processor, given[form])
    asked = {"processing_class": processor, "profile": "tiny"}
    assert answer == evaluation.answer_rows(model, [row], **asked)[0].completion


def test_the_code_reads_a_full_checkpoint_s_thinker(printed, published_checkpoint):
    """As the hub has it, with a talker beside it: the base of the runs on ALR."""
    from soundmind_lite import evaluation

    profile = replace(
        profiles.get("tiny"),
        model=str(published_checkpoint),
        dtype="bfloat16",
        max_completion_length=12,
    )
    model, processor = models.load(profile)
    expected = evaluation.ask(model, processor, CLIP, profile=profile)
    assert printed[1] == expected.strip()
