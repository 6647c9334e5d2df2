"""What TRL and PEFT do with these families by themselves: why a family has the methods it has."""

import pytest
import tiny_families
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tiny_training import PROFILE, rows_of, trainer_of, variety
from trl import GRPOTrainer

from soundmind_lite import AudioGRPOTrainer, families, grpo
from soundmind_lite.course.audio_check import AudioCheck, AudioCheckWarning
from soundmind_lite.fast import one_token
from soundmind_lite.prompts import prompt, with_audio


@pytest.mark.parametrize("name", ["Qwen2-Audio", "Voxtral", "Audio Flamingo 3"])
def test_trl_itself_asks_for_a_picture_token(name, tmp_path):
    """What `Family.with_pictures` is for; ours leaves the configuration as it was."""
    model, processor = tiny_families.FAMILIES[name]()
    with pytest.raises(AttributeError, match="image_token_id"):
        GRPOTrainer(
            model,
            [variety],
            grpo.grpo_config(PROFILE, tmp_path),
            rows_of(name),
            processing_class=processor,
            peft_config=grpo.lora_config(PROFILE),
        )
    trainer = trainer_of(AudioGRPOTrainer, name, tmp_path)
    assert not hasattr(trainer.model.config, "image_token_id")
    assert trainer.generation_config.suppress_tokens == trainer._family.placeholders


def test_trl_itself_takes_padding_for_a_part_of_the_prompt(tmp_path):
    """What `Family.tokenized` is for: Gemma 4's processor pads prompts, and TRL keeps that."""
    model, processor = tiny_families.gemma4()
    rows = rows_of("Gemma 4").remove_columns("audio")
    longer = prompt("Is every robin a bird, and every bird a robin?")
    rows = Dataset.from_list([*rows, {**rows[0], "prompt": longer}])
    settings = grpo.grpo_config(PROFILE, tmp_path)
    lora = grpo.lora_config(PROFILE)
    options = dict(processing_class=processor, peft_config=lora)
    theirs = GRPOTrainer(model, [variety], settings, rows, **options)
    ids, _, _ = theirs._tokenize_prompts([row["prompt"] for row in rows])
    assert ids[0][0] == processor.tokenizer.pad_token_id
    ours = trainer_of(AudioGRPOTrainer, "Gemma 4", tmp_path, rows)
    own, _, fields = ours._tokenize_prompts([row["prompt"] for row in rows])
    assert [[i for i in row if i != processor.tokenizer.pad_token_id] for row in ids] == own
    assert fields == {}


def test_peft_itself_takes_a_pattern_to_the_encoders():
    """What `Family.lora` is for."""
    model, _ = tiny_families.qwen3_omni()
    pattern = grpo.lora_config(PROFILE)
    adapted = get_peft_model(model, pattern)
    trained = [name for name, values in adapted.named_parameters() if values.requires_grad]
    assert any("audio_tower" in name for name in trained)
    own = grpo.lora_config(PROFILE)
    assert families.of(model.config).lora(own).exclude_modules
    assert own.exclude_modules is None
    chosen = LoraConfig(target_modules=["q_proj"])
    assert families.of(model.config).lora(chosen).exclude_modules is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [("Gemma 4", "a placeholder was sampled"), ("Qwen3-Omni", "it scores without")],
)
def test_plain_trl_is_found_in_its_first_step(name, fault, tone, tmp_path):
    """It suppresses the token for pictures alone, so that placeholders may be sampled."""
    model, processor = tiny_families.FAMILIES[name]()
    clips = [str(tone(f"{i}.wav", seconds=1 + i)) for i in range(2)]
    rows = [{"prompt": with_audio(prompt(), path)} for path in clips]
    trainer = GRPOTrainer(
        model,
        [variety],
        grpo.grpo_config(PROFILE, tmp_path, save_strategy="no", generation_batch_size=4),
        Dataset.from_list(rows),
        processing_class=processor,
        peft_config=families.of(model.config).lora(grpo.lora_config(PROFILE)),
    )
    trainer.add_callback(AudioCheck(trainer))
    with pytest.warns(AudioCheckWarning, match=f"step 1: .* {fault}"):
        trainer.train()


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_their_layers_are_passed_by_transformers(name):
    assert not one_token.knows(tiny_families.FAMILIES[name]()[0])
