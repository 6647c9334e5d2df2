"""The trainer hears what it scores: log-probs against single forwards, with the controls that show what plain TRL does."""
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from soundmind_lite import data, grpo, profiles
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.models import AUDIO_FIELDS
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.rewards import TEXT_REWARDS

SMALL = replace(
    profiles.get("tiny"), group_size=4, prompts_per_step=2, micro_batch=2, steps=3, max_completion_tokens=24, learning_rate=5e-3, beta=0.05
)


def single_log_probs(model, processor, clip, input_ids, attention_mask, keep, heard=True):
    """Log-probs of one row's completion tokens from a forward pass of its own, without any padding."""
    real = attention_mask.bool()
    ids = input_ids[real][None]
    sound = processor.feature_extractor(clip, sampling_rate=16_000, return_attention_mask=True, return_tensors="pt") if heard else {}
    sound = dict(zip(AUDIO_FIELDS, (sound["input_features"], sound["attention_mask"]))) if heard else {}
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **sound).logits
    scored = torch.log_softmax(logits[0, :-1].float(), -1).gather(1, ids[0, 1:, None])[:, 0]
    count = int(real[-keep:].sum())
    return scored[-count:] if count else scored[:0], real[-keep:]


class Witness(grpo.AudioGRPOTrainer):
    """Compares every log-prob pass with single forwards of the same model at the same moment."""

    def _get_per_token_logps_and_entropies(self, model, input_ids, attention_mask, logits_to_keep, **kwargs):
        result = super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, logits_to_keep, **kwargs)
        for heard, gaps in ((True, self.gaps), (False, self.deaf_gaps)):
            for ids, mask, log_probs in zip(input_ids, attention_mask, result[0]):
                clip = self.clips[int((ids == self._audio_token).sum())]
                expected, kept = single_log_probs(model, self.processing_class, clip, ids, mask, logits_to_keep, heard)
                gaps.append((log_probs.detach()[kept] - expected).abs().max().item())
        self.passes.add((len(input_ids), torch.is_grad_enabled()))
        return result


def variety(completions, **_):
    """A reward that differs within every group, so that the weights move."""
    return [float(len(set(c[0]["content"]))) for c in completions]


def trainer_of(cls, tiny, rows, out, profile=SMALL, rewards=TEXT_REWARDS, **overrides):
    model, processor = tiny
    options = {"rollout_file": Path(out) / "completions.jsonl"} if issubclass(cls, grpo.AudioGRPOTrainer) else {}
    return cls(
        model=model, processing_class=processor, reward_funcs=list(rewards), train_dataset=rows, peft_config=grpo.lora(profile),
        args=grpo.config(profile, out, save_strategy="no", **overrides), **options,
    )


@pytest.fixture
def two_lengths(tiny):
    """Four rows with clips of two lengths, and the clip for each number of audio tokens."""
    from soundmind_lite.models import audio_token_count

    rows = sorted(data.load_alr("mini", "train"), key=lambda r: len(load_audio(r["question_audio"])))
    chosen = [rows[0], rows[-1], rows[0], rows[-1]]
    clips = [load_audio(r["question_audio"]) for r in chosen[:2]]
    by_tokens = {int(audio_token_count(-(-len(c) // 160))): c for c in clips}
    assert len(by_tokens) == 2
    return data.training_rows(Dataset.from_list(chosen)), by_tokens


def test_log_probs_equal_single_forwards(fresh_tiny, two_lengths, tmp_path):
    """Policy, old and reference passes; micro-batches of 2 in groups of 4; two clip lengths; accumulation; two iterations."""
    rows, clips = two_lengths
    batches = dict(num_iterations=2, gradient_accumulation_steps=2, generation_batch_size=8)
    witness = trainer_of(Witness, fresh_tiny, rows, tmp_path, rewards=[variety], **batches)
    witness.clips, witness.gaps, witness.deaf_gaps, witness.passes = clips, [], [], set()
    witness.train()
    assert witness.passes == {(8, False), (2, True)}  # a whole generation batch in chunks (old, reference), micro-batches (policy)
    assert max(witness.gaps) <= 1e-5
    assert sorted(witness.deaf_gaps)[len(witness.deaf_gaps) // 2] > 0.1
    moved = [p.abs().max().item() for n, p in witness.model.named_parameters() if "lora_B" in n]
    assert min(moved) > 0
    assert witness.state.log_history[-2]["kl"] > 0  # the reference stayed where it was


def test_lora_is_on_the_language_model_only(fresh_tiny, tmp_path):
    trainer = trainer_of(grpo.AudioGRPOTrainer, fresh_tiny, data.training_rows(data.load_alr("mini", "dev")), tmp_path)
    trainable = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * 7 * 4  # A and B of seven projections in four layers
    assert all("language_model" in n and "lora_" in n for n in trainable)


def test_placeholders_are_never_sampled(fresh_tiny, two_lengths, tmp_path):
    """The head is bent so that the audio placeholder would win every draw; it still never comes."""
    model, _ = fresh_tiny
    trainer = trainer_of(grpo.AudioGRPOTrainer, fresh_tiny, two_lengths[0], tmp_path, max_steps=1)
    inner = trainer.accelerator.unwrap_model(trainer.model).get_base_model()
    inner.lm_head.register_forward_hook(lambda _m, _i, out: out.index_fill(-1, torch.tensor([model.config.audio_token_id]), 50.0))
    output = trainer._generate_and_score_completions([two_lengths[0][i] for i in (0, 0, 0, 0)])
    assert not (output["completion_ids"] == model.config.audio_token_id).any()


def test_a_cut_prompt_is_refused(fresh_tiny, two_lengths, tmp_path):
    trainer = trainer_of(grpo.AudioGRPOTrainer, fresh_tiny, two_lengths[0], tmp_path)
    out = trainer._generate_and_score_completions([two_lengths[0][i] for i in (0, 0, 0, 0)])
    ids = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)
    mask = torch.cat([out["prompt_mask"], out["completion_mask"]], 1)
    keep = out["completion_ids"].shape[1]
    with pytest.raises(ValueError, match="audio placeholders and the features make"):
        trainer._get_per_token_logps_and_entropies(trainer.model, ids[:, 20:], mask[:, 20:], keep)


def test_vllm_with_sound_fails_early(fresh_tiny, two_lengths, tmp_path):
    model, processor = fresh_tiny
    arguments = grpo.config(SMALL, tmp_path)
    arguments.use_vllm = True
    with pytest.raises(NotImplementedError, match="set use_vllm=False"):
        grpo.AudioGRPOTrainer(model=model, processing_class=processor, reward_funcs=list(TEXT_REWARDS), train_dataset=two_lengths[0], args=arguments)


@pytest.mark.parametrize(
    ("seconds", "message"), [(13, "13.0 s of sound, the profile's limit is 12.0 s"), (0.01, "0.010 s of sound"), (None, "no such file")]
)
def test_training_names_the_row_of_a_bad_clip(fresh_tiny, tone, tmp_path, seconds, message):
    clip = tmp_path / "none.wav" if seconds is None else tone(seconds=seconds)
    rows = Dataset.from_list([dict(id="0042", prompt=prompt(), audio=str(clip), label=1, reference_length=10)] * 4)
    with pytest.raises(AudioError, match=f"row 0042: .*{message}"):
        trainer_of(grpo.AudioGRPOTrainer, fresh_tiny, rows, tmp_path).train()


def test_text_rows_train_too(fresh_tiny, tmp_path):
    rows = data.training_rows(data.load_alr("mini", "dev"), "text-text")
    trainer = trainer_of(grpo.AudioGRPOTrainer, fresh_tiny, rows, tmp_path, max_steps=1)
    trainer.train()
    assert trainer._sound is None
    assert len((tmp_path / "completions.jsonl").read_text().splitlines()) == 8


def test_reinforce_pp_uses_the_batch_as_baseline():
    rewards = torch.tensor([4.0, 0.0, 2.0, 2.0])
    advantages = grpo.batch_advantages(rewards)
    assert advantages.tolist() == pytest.approx([1.2247, -1.2247, 0, 0], abs=1e-3)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone(fresh_tiny, two_lengths, tmp_path):
    trainer = trainer_of(grpo.AudioGRPOTrainer, fresh_tiny, Dataset.from_list([two_lengths[0][0]] * 40), tmp_path)
    sampler = trainer._get_train_sampler()
    plain = list(GRPOTrainer._get_train_sampler(trainer))
    orders = []
    for epoch in (0, 1, 0, 1):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] == plain  # the first epoch is TRL's own
    assert orders[1] == orders[3] != orders[0]


def test_an_unknown_algorithm_is_named(fresh_tiny):
    with pytest.raises(ValueError, match="no algorithm 'ppo'"):
        grpo.AudioGRPOTrainer(model=fresh_tiny[0], algorithm="ppo", reward_funcs=[], args=GRPOConfig(use_cpu=True, bf16=False))


def test_a_micro_batch_that_does_not_divide_is_named(tmp_path):
    with pytest.raises(ValueError, match="micro_batch 3 on 1 process does not divide the 8 completions"):
        grpo.config(replace(SMALL, micro_batch=3), tmp_path)


def test_plain_trl_scores_without_the_sound(fresh_tiny, tmp_path):
    """The same rows, seed and steps in TRL's own trainer: it drifts away from the reference and earns less; ours stays close and earns more."""
    from soundmind_lite import models

    profile = replace(profiles.get("tiny"), steps=10)
    rows = data.training_rows(data.load_alr("mini", "train"))
    with_parts = Dataset.from_list([{**r, "prompt": with_audio(r["prompt"], r["audio"])} for r in rows]).remove_columns("audio")
    logs = {}
    for cls, train_rows, tiny in ((GRPOTrainer, with_parts, fresh_tiny), (grpo.AudioGRPOTrainer, rows, models.load("tiny"))):
        trainer = trainer_of(cls, tiny, train_rows, tmp_path, profile)
        trainer.train()
        logs[cls] = [entry for entry in trainer.state.log_history if "reward" in entry]
    plain, ours = logs[GRPOTrainer], logs[grpo.AudioGRPOTrainer]
    assert plain[0]["reward"] == ours[0]["reward"]  # both sample with the sound, so the first completions are the same
    last = lambda log, name: sum(entry[name] for entry in log[-4:]) / 4
    assert last(ours, "reward") > last(plain, "reward") + 0.3
    assert last(plain, "kl") > 10 * last(ours, "kl")
