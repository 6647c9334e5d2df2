"""The merged model of a run loads back and answers the same; its card has the run's own facts."""

import json
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


def test_an_existing_folder_and_an_unfinished_run_are_refused(merged, tmp_path):
    with pytest.raises(files.RunError, match="exists already"):
        merging.merge(RUN, merged)
    with pytest.raises(files.RunError, match="holds no finished run"):
        merging.merge(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
