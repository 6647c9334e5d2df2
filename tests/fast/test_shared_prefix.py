"""A shared prefix gives what plain passes give: the same log-probs, the same samples, the same
parameters, with fewer forward passes of the audio encoder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig

from soundmind_lite import data, families, grpo, models, profiles
from soundmind_lite.audio import load_audio
from soundmind_lite.fast import grouping, kv_cache, shared_prefix
from soundmind_lite.models import AUDIO_FIELDS, encoded
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.runs.guards import GuardedTrainer, Guards
from soundmind_lite.trainer import AudioGRPOTrainer

TRAINED_ENCODER = LoraConfig(
    r=4, target_modules=r".*(language_model|audio_tower).*\.(q_proj|v_proj)", task_type="CAUSAL_LM"
)
SMALL = replace(
    profiles.get("tiny"),
    num_generations=3,
    prompts_per_step=2,
    per_device_train_batch_size=6,
    max_completion_length=40,
)


class PlainTrainer(Guards, AudioGRPOTrainer):
    """The trainer of a run without its shared prefix."""


def variety(completions, **_):
    """A reward that differs within every group, so that the weights move."""
    return [float(len(set(c[0]["content"]))) for c in completions]


def trainer_of(cls, rows, out, profile=SMALL, lora=None, **overrides):
    model, processor = models.load(profile)
    out.mkdir(exist_ok=True)
    return cls(
        model=model,
        processing_class=processor,
        reward_funcs=[variety],
        train_dataset=rows,
        peft_config=lora or grpo.lora_config(profile),
        args=grpo.grpo_config(profile, out, save_strategy="no", **overrides),
        rollout_file=out / "completions.jsonl",
    )


def given(cls):
    """A trainer that samples nothing: its completions are words of the prompt, of many lengths."""

    class Given(cls):
        def _generate_single_turn(self, prompt_ids, *args, **kwargs):
            words = [i for i in prompt_ids[0] if i != self._audio_token][:30]
            end = self.processing_class.tokenizer.eos_token_id
            return [[*words[n % 5 : 8 + 3 * (n % 7)], end] for n, _ in enumerate(prompt_ids)], None

    return Given


def lora_weights(trainer):
    return {
        name: p.detach().clone() for name, p in trainer.model.named_parameters() if "lora" in name
    }


def furthest(a, b):
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.fixture(scope="module")
def rows():
    return data.training_rows(data.load_alr("mini", "train").select(range(12)))


@pytest.fixture(scope="module")
def text_rows():
    return data.training_rows(data.load_alr("mini", "train").select(range(12)), "text-text")


def test_twenty_steps_give_the_same_weights(rows, tmp_path):
    found = {}
    for cls in (PlainTrainer, GuardedTrainer):
        trainer = trainer_of(given(cls), rows, tmp_path / cls.__name__, max_steps=20)
        before = lora_weights(trainer)
        trainer.train()
        found[cls] = lora_weights(trainer)
        assert furthest(before, found[cls]) > 0.01
    assert furthest(*found.values()) < 1e-4


@pytest.mark.parametrize(
    "changed",
    [
        dict(per_device_train_batch_size=2),
        dict(per_device_train_batch_size=3),
        dict(gradient_checkpointing=True, per_device_train_batch_size=1),
        dict(prompts_per_step=1, per_device_train_batch_size=3),
    ],
    ids=["part of a group", "a group", "checkpointing", "one prompt"],
)
@pytest.mark.parametrize("kind", ["rows", "text_rows"])
def test_any_batching_gives_the_same_weights(kind, changed, request, tmp_path):
    """Micro-batches of parts of groups, of several groups, and recomputed ones; audio and text."""
    weights = []
    for cls in (PlainTrainer, GuardedTrainer):
        trainer = trainer_of(
            given(cls),
            request.getfixturevalue(kind),
            tmp_path / cls.__name__,
            replace(SMALL, **changed),
            max_steps=3,
        )
        trainer.train()
        weights.append(lora_weights(trainer))
    assert furthest(*weights) < 1e-4


@pytest.mark.parametrize("lora", [None, TRAINED_ENCODER], ids=["frozen encoder", "trained encoder"])
def test_the_same_seed_gives_the_same_samples(lora, rows, tmp_path):
    texts = []
    for cls in (PlainTrainer, GuardedTrainer):
        torch.manual_seed(0)
        trainer_of(cls, rows, tmp_path / cls.__name__, lora=lora, max_steps=3).train()
        texts.append(
            [
                json.loads(line)["completion"]
                for line in (tmp_path / cls.__name__ / "completions.jsonl").open()
            ]
        )
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 6


def test_logits_after_shared_prompts_are_those_of_whole_rows(tiny, rows):
    """Two prompts of different lengths, the second for two rows; fp32, within 1e-5."""

    model, processor = tiny
    clips = [load_audio(rows[i]["audio"]) for i in (0, 1)]
    asked = (clips[0], clips[1], clips[1])
    batch = encoded(processor, [with_audio(prompt(), clip) for clip in asked], device="cpu")
    tail = torch.arange(200, 215).view(3, 5)
    ids, mask = (
        torch.cat([batch["input_ids"], tail], 1),
        torch.cat([batch["attention_mask"], torch.ones_like(tail)], 1),
    )
    features = {name: batch[name] for name in AUDIO_FIELDS}
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask, **features).logits[:, -6:]
        found = model.get_audio_features(*features.values(), return_dict=True).last_hidden_state
        embeds = list(
            found.split((batch["input_ids"] == model.config.audio_token_id).sum(-1).tolist())
        )
        cache = shared_prefix.prefill(
            model, batch["input_ids"][:2, :-1], batch["attention_mask"][:2, :-1], embeds[:2]
        )
        positions = families.of(model.config).positions(mask)[..., -6:]
        after = model(
            input_ids=ids[:, -6:],
            attention_mask=mask,
            past_key_values=kv_cache.for_rows(cache, [0, 1, 1]),
            position_ids=positions,
        ).logits
    assert (whole - after).abs().max() < 1e-5


@pytest.mark.parametrize(("cls", "per_step"), [(PlainTrainer, 18), (GuardedTrainer, 2)])
def test_each_clip_is_encoded_once_a_step(cls, per_step, rows, tmp_path):
    """Plain passes encode six clips in sampling, in the reference and in the policy pass."""
    trainer = trainer_of(cls, rows, tmp_path / "run", max_steps=2)
    encoded_clips = []
    tower = trainer.model.get_base_model().model.audio_tower
    tower.register_forward_pre_hook(
        lambda module, args, options: encoded_clips.append(len(options["feature_lens"])),
        with_kwargs=True,
    )
    trainer.train()
    assert sum(encoded_clips) == 2 * per_step


def test_a_trained_encoder_is_shared_in_sampling_alone(rows, tmp_path):
    """Its gradients need passes of their own; the parameters come out as without sharing."""
    weights = []
    for cls in (PlainTrainer, GuardedTrainer):
        torch.manual_seed(0)
        trainer = trainer_of(
            given(cls), rows, tmp_path / cls.__name__, lora=TRAINED_ENCODER, max_steps=3
        )
        before = lora_weights(trainer)
        trainer.train()
        weights.append(lora_weights(trainer))
    assert any(
        "audio_tower" in name and not torch.equal(before[name], p) for name, p in weights[1].items()
    )
    assert furthest(*weights) < 1e-4


def test_a_roomy_layer_holds_what_a_dynamic_one_holds():
    from transformers.cache_utils import DynamicLayer

    plain, roomy = DynamicLayer(), kv_cache.RoomyLayer()
    roomy.ROOM = 5
    torch.manual_seed(0)
    for step, tokens in enumerate((7, 1, 1, 1, 1, 1, 1, 9, 1)):
        new = torch.randn(2, 3, 2, tokens, 4)
        for expected, found in zip(plain.update(*new), roomy.update(*new)):
            assert torch.equal(expected, found)
        if step == 3:
            for layer in (plain, roomy):
                layer.crop(-2)
        if step == 5:
            for layer in (plain, roomy):
                layer.batch_select_indices(torch.tensor([2, 2, 0]))
    assert roomy.get_seq_length() == plain.get_seq_length() == 21


@pytest.mark.parametrize("order", [[0, 0, 1, 1], [0, 1, 0, 0]], ids=["side by side", "mixed"])
def test_sampling_after_shared_prompts_gives_the_same_logits(order, tiny, rows):
    """Two prompts of different lengths, two rows each or mixed: eight greedy tokens, every logit
    within 1e-5."""

    model, processor = tiny
    clips = [load_audio(rows[i]["audio"]) for i in (0, 1)]
    batch = encoded(processor, [with_audio(prompt(), clips[i]) for i in order], device="cpu")
    options = dict(
        max_new_tokens=8,
        min_new_tokens=8,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    plain = model.generate(**batch, **options)
    with torch.no_grad():
        found = model.get_audio_features(
            batch.pop("input_features"), batch.pop("feature_attention_mask"), return_dict=True
        ).last_hidden_state
    counts = (batch["input_ids"] == model.config.audio_token_id).sum(-1).tolist()
    each = dict(zip(order, found.split(counts)))
    with shared_prefix.prefilled_once(model, [each[i] for i in order]), torch.no_grad():
        shared = model.generate(**batch, **options)
    assert torch.equal(plain.sequences, shared.sequences)
    assert (torch.stack(plain.logits) - torch.stack(shared.logits)).abs().max() < 1e-5
    assert model.model.language_model.config._attn_implementation == "sdpa"


def test_a_cut_prompt_is_an_error(tiny):
    embeds = [torch.zeros(3, tiny[0].config.text_config.hidden_size)]
    ids = torch.tensor([[1, tiny[0].config.audio_token_id, 2]])
    with pytest.raises(
        ValueError, match=r"hold \[1\] audio placeholders and the audio makes \[3\]"
    ):
        shared_prefix.input_embeds(tiny[0], ids, embeds)


def test_generate_is_put_back_after_an_error(tiny):
    with pytest.raises(RuntimeError, match="stop"), shared_prefix.prefilled_once(tiny[0], None):
        raise RuntimeError("stop")
    assert "generate" not in vars(tiny[0])


@pytest.mark.parametrize(("on", "per_step"), [(True, 2), (False, 18)])
def test_a_profile_can_turn_it_off(on, per_step, rows, tmp_path):
    model, processor = models.load(SMALL)
    options = dict(processing_class=processor, train_dataset=rows, output_dir=tmp_path)
    profile = replace(SMALL, shared_prefix=on, max_completion_length=5)
    trainer = grpo.trainer_for(profile, model, max_steps=1, save_strategy="no", **options)
    encoded_clips = []
    model.model.audio_tower.register_forward_pre_hook(
        lambda module, args, options: encoded_clips.append(len(options["feature_lens"])),
        with_kwargs=True,
    )
    trainer.train()
    assert sum(encoded_clips) == per_step


def test_arrays_of_one_text_but_different_samples_are_different_prompts():
    """numpy shortens long arrays when it prints them; prompts are told apart by all samples."""
    clips = [np.zeros(50_000, np.float32) for _ in range(3)]
    clips[2][25_000] = 0.5
    keys = [grouping.prompt_key(with_audio(prompt(), clip)) for clip in clips]
    assert keys[0] == keys[1] != keys[2]
    stored = [{"path": None, "bytes": clip.tobytes()} for clip in clips]
    keys = [grouping.prompt_key(with_audio(prompt(), clip)) for clip in stored]
    assert keys[0] == keys[1] != keys[2]
