"""The merged model of a run loads back and answers the same; its card has the run's own facts."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from soundmind_lite import data, evaluation, models, profiles
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs import adapter, files
from soundmind_lite.scale import merging

RUN = ASSETS / "runs" / "all_seed0"


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    return merging.merge(RUN, tmp_path_factory.mktemp("merged") / "thinker")


def test_it_loads_back_and_answers_the_same(merged):
    model, processor = models.load(replace(profiles.get("tiny"), model=str(merged)))
    trained, _, _ = adapter.load_trained(RUN)
    pairs = zip(model.state_dict().values(), trained.state_dict().values())
    assert all(torch.equal(a, b) for a, b in pairs)
    rows = data.load_alr("mini", "dev").select(range(6))
    answers, expected = (
        evaluation.answer_rows(thinker, rows, processing_class=processor, profile="tiny")
        for thinker in (model, trained)
    )
    assert answers == expected


def test_the_card_holds_the_run_s_own_facts(merged):
    card = (merged / "README.md").read_text(encoding="utf-8")
    result = json.loads((RUN / "result.json").read_text(encoding="utf-8"))
    assert f"{result['after']['accuracy']:.1%}" in card
    assert "answer_reward, text_format_reward, text_length_reward" in card
    assert "40 steps of 4 questions × 8 completions, seed 0" in card
    assert "nothing here says anything about ALR" in card
    assert str(ASSETS) not in card


def test_the_code_on_the_card_answers_as_the_course_does(merged, tmp_path):
    """Run as it is printed, in the folder of the model, without this package."""
    card = (merged / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    folder = shutil.copytree(merged, tmp_path / "elsewhere")
    clip = ASSETS / "mini_alr" / "dev" / "0003" / "question.ogg"
    shutil.copy(clip, folder / "question.wav")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    model, processor, profile = adapter.load_trained(str(RUN))
    expected = evaluation.ask(model, processor, clip, profile=profile)
    assert done.stdout.strip() == expected.strip()
    assert "Answer:" in expected


def test_auto_processor_never_leaves_out_the_audio(merged):
    """It refuses the folder, whether torchvision is here or not, or it hears."""
    from transformers import AutoProcessor

    for name in ("processor_config.json", "tokenizer_config.json"):
        settings = json.loads((merged / name).read_text(encoding="utf-8"))
        assert settings["processor_class"] == "Qwen2_5OmniProcessor"
    with pytest.raises((OSError, ImportError, ValueError)):
        AutoProcessor.from_pretrained(merged)


def test_a_run_that_measured_little_has_a_card_too():
    result = json.loads((RUN / "result.json").read_text(encoding="utf-8"))
    profile = profiles.get("tiny")
    unheard = merging.card(profile, result | {"swapped_audio": None}, rewards=["a"])
    assert "| after | 93.8%" in unheard
    assert "another question's audio" not in unheard
    nothing = dict.fromkeys(("before", "after", "swapped_audio", "paired_p"))
    assert "The run measured nothing." in merging.card(profile, result | nothing, rewards=["a"])


def test_an_existing_folder_and_an_unfinished_run_are_refused(merged, tmp_path):
    with pytest.raises(files.RunError, match="exists already"):
        merging.merge(RUN, merged)
    with pytest.raises(files.RunError, match="holds no finished run"):
        merging.merge(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
