"""The probe of Qwen2.5-Omni in notebook 02, on a narrow checkpoint in the published layout."""

from dataclasses import replace

import pytest
import torch

from soundmind_lite import models, profiles
from soundmind_lite.audio import load_audio
from soundmind_lite.course import language_input, real_probe
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.scale import doctor

SMALL = {"data": "mini", "max_completion_length": 12}


@pytest.fixture
def with_a_card(monkeypatch):
    """As on a machine with a GPU that a profile of this name and these fields fits."""

    def fitting(name: str, **fields):
        profile = replace(profiles.get(name), **fields)
        monkeypatch.setitem(profiles.PROFILES, name, profile)
        monkeypatch.setattr(doctor, "best_profile", lambda: name)

    return fitting


def test_without_a_gpu_it_says_not_run(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "gpus", list)
    assert real_probe.here(profiles.get("tiny"), *tiny, folder=tmp_path).startswith("Not run here")
    assert not list(tmp_path.iterdir())
    assert real_probe.table(tmp_path).data.count("not run") == 2


def test_nothing_is_shipped_that_was_not_run():
    """Remove this with the first file of answers of Qwen2.5-Omni."""
    assert real_probe.saved() == []


def test_the_published_layout_is_asked_saved_and_shown(
    published_checkpoint, tiny, tmp_path, with_a_card
):
    with_a_card("a100", model=str(published_checkpoint), **SMALL)
    said = real_probe.here(profiles.get("tiny"), *tiny, questions=3, folder=tmp_path)
    assert said == "Run here with profile a100; the answers are in a100.json."
    (probe,) = real_probe.saved(tmp_path)
    assert len(probe["answers"]) == 3
    assert probe["model"] == str(published_checkpoint)
    shown = real_probe.table(tmp_path).data
    assert all(line["id"] in shown for line in probe["answers"])
    again = real_probe.here(profiles.get("tiny"), *tiny, folder=tmp_path)
    assert again.startswith("Not run again")


def test_a_lesson_that_has_loaded_it_does_not_load_it_twice(
    published_checkpoint, tmp_path, monkeypatch
):
    profile = replace(profiles.get("a100"), model=str(published_checkpoint), **SMALL)
    loaded = models.load(profile)
    monkeypatch.setattr(models, "load", None)
    assert real_probe.here(profile, *loaded, questions=2, folder=tmp_path).startswith("Run here")


def test_without_a_network_it_says_so_in_a_line(tiny, tmp_path, with_a_card):
    with_a_card("a100", model="nobody/has-this-model")
    said = real_probe.here(profiles.get("tiny"), *tiny, folder=tmp_path)
    assert said.startswith("Not run here: nobody/has-this-model")
    assert "\n" not in said
    assert not list(tmp_path.iterdir())


def test_the_audio_vectors_stand_where_the_placeholders_were(tiny, test_rows):
    model, processor = tiny
    clip = load_audio(test_rows[2]["question_audio"])
    batch = models.encoded(processor, [with_audio(prompt(), clip)], device=model.device)
    after = language_input.language_model_input(model, batch)
    is_placeholder = batch["input_ids"][0] == processor.audio_token_id
    features = [batch[name] for name in models.AUDIO_FIELDS]
    with torch.no_grad():
        vectors = model.get_audio_features(*features).last_hidden_state
    assert torch.equal(after[is_placeholder], vectors)
    assert not model.model.language_model._forward_pre_hooks
    lines = language_input.merging_lines(model).splitlines()
    assert lines[0].startswith("audio_features = self.get_audio_features(")
    assert lines[-1].endswith("inputs_embeds.masked_scatter(audio_mask, audio_features)")
