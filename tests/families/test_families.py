"""Each family of models through the same trainer: scored with its audio, as single forward passes
score it, with adapters on the language model alone."""

import warnings

import pytest
import tiny_families
import torch
from tiny_training import clips_for, trainer_of

from soundmind_lite import AudioGRPOTrainer, families
from soundmind_lite.course.audio_check import AudioCheck, AudioCheckWarning
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.runs.guards import GuardedTrainer

SHARED = {"Qwen2-Audio", "Qwen3-Omni", "Voxtral", "Audio Flamingo 3"}
# LoRA's A matrices: seven projections in each layer; of Qwen3-Omni's, the attention's four
ADAPTED = {"Gemma 4": 7 * 3, "Qwen3-Omni": 4 * 2}


def single_log_probs(model, family, processor, name, ids):
    """Log-probs (tokens - 1,) of a sequence in one unpadded forward pass, with the audio that its
    placeholders stand for, and without it (None if it has no placeholders)."""
    ids = ids[None]
    placeholders = int((ids == family.audio_token).sum())
    features = [{}]
    for own in clips_for(name) if placeholders else ():
        asked = family.inputs(processor, [with_audio(prompt(), own)], [own])
        if int((asked["input_ids"] == family.audio_token).sum()) == placeholders:
            features.append({field: asked[field] for field in family.fields})
    found = []
    with torch.no_grad():
        for own in features:
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **own).logits
            scored = logits[0, :-1].float().log_softmax(-1)
            found.append(scored.gather(1, ids[0, 1:, None])[:, 0])
    assert len(found) == 1 + bool(placeholders)
    return found[-1], found[0] if placeholders else None


class Witness:
    """Compares every log-prob pass with single forwards of the same model at the same moment."""

    def _get_per_token_logps_and_entropies(self, model, input_ids, mask, keep, *args, **kwargs):
        scored = super()._get_per_token_logps_and_entropies(
            model, input_ids, mask, keep, *args, **kwargs
        )
        inner = self.accelerator.unwrap_model(self.model)
        for ids, used, log_probs in zip(input_ids, mask.bool(), scored[0]):
            own = (inner, self._family, self.processing_class, self.of, ids[used])
            expected, without = single_log_probs(*own)
            count = int(used[-keep:].sum())
            log_probs = log_probs.detach()[used[-keep:]]
            self.gaps.append((log_probs - expected[-count:]).abs().max().item())
            if without is not None:
                self.gaps_without.append((log_probs - without[-count:]).abs().max().item())
        return scored


class Plain(Witness, AudioGRPOTrainer):
    pass


class Guarded(Witness, GuardedTrainer):
    pass


@pytest.mark.parametrize("cls", [Plain, Guarded])
@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_a_step_is_scored_with_the_audio(name, cls, tmp_path):
    """Policy, old and reference passes of mixed rows with clips of two lengths; the adapter is on
    the language model alone, and moves; `AudioCheck` finds nothing."""
    trainer = trainer_of(cls, name, tmp_path, num_iterations=2, max_steps=2, warmup_steps=0)
    trainer.add_callback(check := AudioCheck(trainer))
    with warnings.catch_warnings():
        warnings.simplefilter("error", AudioCheckWarning)
        trainer.train()
    assert len(trainer.gaps) >= 3 * 8
    assert max(trainer.gaps) <= 1e-5
    assert min(trainer.gaps_without) > 0.1
    trained = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * ADAPTED.get(name, 7 * 2)
    assert all("language_model" in n and "lora_" in n for n in trained)
    assert min(p.abs().max().item() for n, p in trained.items() if "lora_B" in n) > 0
    checked = check.steps[0]
    assert checked.fault() == ""
    assert checked.placeholders[0] > 0
    assert checked.own_minus_swapped > 0


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_a_step_under_gradient_checkpointing(name, tmp_path):
    trainer = trainer_of(Guarded, name, tmp_path, gradient_checkpointing=True)
    trainer.train()
    assert max(trainer.gaps) <= 1e-5
    assert trainer.state.log_history[0]["grad_norm"] > 0


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_a_step_in_bfloat16(name, tmp_path, monkeypatch):
    """What the trainer scores lies nearer to the audio than to none, by a factor of ten."""
    model, processor = tiny_families.FAMILIES[name]()
    coarse = (model.to(torch.bfloat16), processor)
    monkeypatch.setitem(tiny_families.FAMILIES, name, lambda: coarse)
    trainer = trainer_of(GuardedTrainer, name, tmp_path)
    trainer.add_callback(check := AudioCheck(trainer))
    trainer.train()
    (step,) = check.steps
    assert step.scored_minus_own < 0.1 * step.own_minus_without
    assert step.own_minus_without > 0.1


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_a_prefix_is_shared_or_refused_in_words(name, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = trainer_of(Guarded, name, tmp_path)
    said = [str(warning.message) for warning in caught if "shares no prefix" in str(warning)]
    assert trainer._sharing == (name in SHARED)
    assert said == [] if name in SHARED else said[0].startswith(f"{name} shares no prefix: ")


class WithoutAudio(AudioGRPOTrainer):
    """Ours, with the fault planted: the features don't reach the log-prob pass."""

    def _score_rows(self, model, input_ids, attention_mask, logits_to_keep, audio, **kwargs):
        rows = (input_ids, attention_mask, logits_to_keep)
        return super()._score_rows(model, *rows, {}, **kwargs)


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_the_audio_check_finds_a_trainer_that_scores_without(name, tmp_path):
    trainer = trainer_of(WithoutAudio, name, tmp_path)
    trainer.add_callback(AudioCheck(trainer))
    with pytest.warns(AudioCheckWarning, match="step 1: .* it scores without"):
        trainer.train()


@pytest.mark.parametrize("name", tiny_families.FAMILIES)
def test_prompts_and_features_that_do_not_match_are_an_error(name):
    model, processor = tiny_families.FAMILIES[name]()
    family = families.of(model.config)
    asked = [with_audio(prompt(), own) for own in clips_for(name)]
    batch = family.batch(processor, [asked[0], prompt("Is it?"), asked[1]])
    features = {field: batch[field] for field in family.fields}
    ids = [row.tolist() for row in batch["input_ids"]]
    rows = family.by_prompt(features, ids)[family.fields[0]]
    counts = [len(row) for row in rows]
    assert counts[1] == 0
    assert sum(counts) == len(features[family.fields[0]])
    assert (counts[2] > counts[0]) == (name in ("Voxtral", "Audio Flamingo 3"))
    place = ids[2].index(family.audio_token)
    wrong = [ids[:2], [*ids[:2], ids[2][:place] + ids[2][place + 1 :]], [ids[2], *ids[:2]]]
    if name == "Voxtral":  # each of its windows makes as many tokens: an exchange can't be seen
        wrong = wrong[:2]
    for ids in wrong:
        with pytest.raises(ValueError, match="audio placeholders and their features make"):
            family.by_prompt(features, ids)
