"""Sampling with the adapter merged: the same completions, and the weights as they were."""

from dataclasses import replace

import pytest
import torch

from soundmind_lite import data, grpo, profiles
from soundmind_lite.fast import merged_sampling
from soundmind_lite.rewards import TEXT_REWARDS
from soundmind_lite.runs.guards import GuardedTrainer

SMALL = replace(
    profiles.get("tiny"),
    num_generations=4,
    prompts_per_step=2,
    per_device_train_batch_size=4,
    max_completion_length=24,
    learning_rate=1e-2,
)


@pytest.fixture
def trainer(fresh_tiny, tmp_path):
    def make(**changes):
        model, processor = fresh_tiny
        config = grpo.lora_config(SMALL)
        config.lora_dropout = changes.pop("lora_dropout", 0.0)
        return GuardedTrainer(
            model=model,
            reward_funcs=list(TEXT_REWARDS),
            args=grpo.grpo_config(SMALL, tmp_path, save_strategy="no", max_steps=3, **changes),
            train_dataset=data.training_rows(data.load_alr("mini", "dev")),
            processing_class=processor,
            peft_config=config,
            rollout_file=tmp_path / "completions.jsonl",
        )

    return make


def moved(trainer):
    """The trainer's model with an adapter that changes its logits."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.add_(0.05 * torch.randn_like(weight))
    return trainer.model


def test_merged_the_logits_are_the_same_and_after_it_every_weight(trainer):
    model = moved(trainer(warmup_steps=0)).eval()
    before = {name: values.clone() for name, values in model.named_parameters()}
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        beside = model(input_ids=ids).logits
        with model.disable_adapter():
            base = model(input_ids=ids).logits
        with merged_sampling.adapter_merged(model):
            merged = model(input_ids=ids).logits
            changed = [n for n, v in model.named_parameters() if not torch.equal(v, before[n])]
    assert (beside - base).abs().max() > 0.1
    assert (merged - beside).abs().max() < 1e-4
    assert len(changed) == len([name for name in before if "lora_B" in name])
    for name, values in model.named_parameters():
        assert torch.equal(values, before[name]), name


def test_an_error_inside_leaves_the_weights_as_they_were(trainer):
    model = moved(trainer())
    before = {name: values.clone() for name, values in model.named_parameters()}
    with pytest.raises(KeyboardInterrupt), merged_sampling.adapter_merged(model):
        raise KeyboardInterrupt
    assert all(torch.equal(values, before[name]) for name, values in model.named_parameters())


def test_a_run_samples_merged_and_its_completions_are_those_without(trainer, tmp_path, monkeypatch):
    texts = {}
    for merge in (True, False):
        if not merge:
            monkeypatch.setattr(merged_sampling, "changes_nothing", lambda model: False)
        one = trainer(warmup_steps=0, seed=1)
        start = {name: values.clone() for name, values in one.model.named_parameters()}
        one.train()
        texts[merge] = (tmp_path / "completions.jsonl").read_text()
        with torch.no_grad():  # the next trainer starts where this one did
            for name, values in one.model.named_parameters():
                values.copy_(start[name])
        one.model.unload()
        (tmp_path / "completions.jsonl").unlink()
    assert len(texts[True].splitlines()) == 24
    assert texts[True] == texts[False]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_not_merged_where_it_would_round(dtype, trainer):
    model = trainer().model
    assert merged_sampling.changes_nothing(model)
    assert not merged_sampling.changes_nothing(model.get_base_model())
    assert not merged_sampling.changes_nothing(model.to(dtype))


def test_not_merged_with_dropout(trainer):
    assert not merged_sampling.changes_nothing(trainer(lora_dropout=0.1).model)
