"""Checkpoints, processors and answers of each family, and how long its clips may be."""

import json

import numpy as np
import pytest
import tiny_families
import torch
from safetensors.torch import load_file, save_file
from tiny_training import RATE, clips_for, trainer_of
from transformers import GPT2Config
from transformers.utils import is_mistral_common_available

from soundmind_lite import AudioGRPOTrainer, evaluation, families, models
from soundmind_lite.audio import AudioError
from soundmind_lite.course.audio_check import used_seconds
from soundmind_lite.prompts import prompt, with_audio


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_answers_are_the_same_alone_and_in_a_batch(name):
    model, processor = tiny_families.FAMILIES[name]()
    asked = [with_audio(prompt(), own) for own in clips_for(name)] + [prompt("Is it?")]
    options = dict(processing_class=processor, max_new_tokens=6)
    alone = [evaluation.complete(model, [one], **options)[0] for one in asked]
    assert evaluation.complete(model, asked, **options) == alone
    with torch.no_grad():
        next_token = [
            model(**models.encoded(processor, some, device="cpu")).logits[:, -1].log_softmax(-1)
            for some in (asked, *([one] for one in asked))
        ]
    together, *each = next_token
    assert (together - torch.cat(each)).abs().max() < 2e-5
    assert (each[0] - each[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["Qwen2-Audio", "Audio Flamingo 3", "Gemma 4", "Qwen3-Omni"])
def test_a_checkpoint_of_a_folder_is_loaded_by_its_type(name, tmp_path):
    """Model and processor come back as they were saved; Voxtral's tokenizer needs its own file."""
    model, processor = tiny_families.FAMILIES[name]()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded, own = models.load_thinker(tmp_path), models.load_processor(tmp_path, 60)
    family = families.of(loaded.config)
    assert type(loaded) is type(model)
    assert type(families.of_processor(own)) is type(family)
    conversation = with_audio(prompt(), clips_for(name)[1])
    expected, found = (family.batch(each, [conversation]) for each in (processor, own))
    assert expected.keys() == found.keys()
    with torch.no_grad():
        logits = [each(**batch).logits for each, batch in ((model, expected), (loaded, found))]
    assert (logits[0] - logits[1]).abs().max() < 1e-5
    assert models.max_audio_seconds(own) == (60 if family.any_length else family.max_seconds(own))
    assert models.placeholder_ids(loaded.config)


def test_a_full_checkpoint_s_thinker_is_loaded(tmp_path):
    """Qwen3-Omni's published layout: the thinker's names begin with "thinker." beside others."""
    model, _ = tiny_families.qwen3_omni()
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = {f"thinker.{name}": values for name, values in load_file(file).items()}
    save_file(weights | {"talker.x": torch.zeros(3)}, file, metadata={"format": "pt"})
    config = tmp_path / "config.json"
    inner = json.loads(config.read_text())
    full = {"model_type": "qwen3_omni_moe", "thinker_config": inner, "enable_audio_output": False}
    config.write_text(json.dumps(full))
    found = dict(models.load_thinker(tmp_path).named_parameters())
    assert all(torch.equal(values, found[name]) for name, values in model.named_parameters())


LIMITS = {"Qwen2-Audio": 2, "Audio Flamingo 3": 600, "Gemma 4": 30, "Qwen3-Omni": 12}


@pytest.mark.parametrize("name", LIMITS)
def test_a_clip_that_the_processor_would_cut_is_an_error(name, tmp_path):
    seconds = LIMITS[name]
    row = dict(id="0042", prompt=prompt(), audio=np.zeros(int((seconds + 1) * RATE), np.float32))
    trainer = trainer_of(AudioGRPOTrainer, name, tmp_path)
    with pytest.raises(AudioError, match=f"row 0042: .*limit is {seconds}"):
        trainer._generate_and_score_completions([row] * 2)


@pytest.mark.parametrize("name", LIMITS)
def test_seconds_that_are_used(name):
    """Of a clip that is a second too long the features cover the limit, and no more."""
    limit = LIMITS[name]
    _, processor = tiny_families.FAMILIES[name]()
    found = used_seconds(processor, np.zeros((limit + 1) * RATE, np.float32))
    assert found == (limit + 1, limit)


def test_gemma_cuts_silently_at_its_limit():
    _, processor = tiny_families.gemma4()
    seconds = int(families.of_processor(processor).max_seconds(processor))
    found = [
        processor.feature_extractor([np.zeros(each * RATE, np.float32)], sampling_rate=RATE)
        for each in (seconds - 1, seconds, seconds + 1)
    ]
    frames = [int(np.sum(each["input_features_mask"])) for each in found]
    assert frames[0] < frames[1] == frames[2]


def test_a_model_of_no_known_family_is_named(tiny):
    _, processor = tiny
    config = GPT2Config()
    with pytest.raises(families.FamilyError, match=r"'gpt2'; known: Qwen2\.5-Omni, Qwen2-Audio"):
        families.of(config)
    with pytest.raises(families.FamilyError, match=r"no family of models has a Tok"):
        families.of_processor(processor.tokenizer)


@pytest.mark.skipif(is_mistral_common_available(), reason="it is installed")
def test_voxtral_says_what_it_needs(tmp_path):
    model, _ = tiny_families.voxtral()
    model.save_pretrained(tmp_path)
    with pytest.raises(families.FamilyError, match="pip install 'mistral-common"):
        models.load_processor(tmp_path)
