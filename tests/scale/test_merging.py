"""The merged model of a run: a thinker folder that loads back and answers the same, and a card from the run's own facts."""
import json
from dataclasses import replace

import pytest
import torch

from soundmind_lite import data, evaluation, models, profiles, train as runs
from soundmind_lite.scale import merging
from soundmind_lite.profiles import ASSETS

RUN = ASSETS / "runs" / "all_seed0"


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    return merging.merge(RUN, tmp_path_factory.mktemp("merged") / "thinker")


def test_it_loads_back_and_answers_the_same(merged):
    model, processor = models.load(replace(profiles.get("tiny"), model=str(merged)))
    trained, _, _ = runs.trained(RUN)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), trained.state_dict().values()))
    rows = data.load_alr("mini", "dev").select(range(6))
    assert evaluation.answer_rows(model, processor, rows) == evaluation.answer_rows(trained, processor, rows)


def test_the_card_holds_the_run_s_own_facts(merged):
    card, result = (merged / "README.md").read_text(encoding="utf-8"), json.loads((RUN / "result.json").read_text())
    assert f"{result['after']['accuracy']:.1%}" in card
    assert "answer_reward, text_format_reward, text_length_reward" in card
    assert "40 steps of 4 questions × 8 completions, seed 0" in card
    assert "nothing here says anything about ALR" in card
    assert str(ASSETS) not in card


def test_an_existing_folder_and_an_unfinished_run_are_refused(merged, tmp_path):
    with pytest.raises(runs.RunError, match="exists already"):
        merging.merge(RUN, merged)
    with pytest.raises(runs.RunError, match="holds no finished run"):
        merging.merge(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
