"""The shared prefix changes the time of a step and nothing else, whatever TRL is told to do.

For each setting two trainers, with the shared prefix and without it, take two steps on the same
completions by plain gradient descent. Adapters agree to a thousandth of how far they moved.
"""

import gc
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from trl import GRPOConfig

from soundmind_lite import grpo, models, profiles
from soundmind_lite.fast import grouping, shared_prefix
from soundmind_lite.runs.algorithms import CONFIGS
from soundmind_lite.runs.guards import GuardedTrainer

# Six completions a step in micro-batches of two, which part the groups of three
SMALL = replace(
    profiles.get("tiny"),
    num_generations=3,
    prompts_per_step=2,
    per_device_train_batch_size=2,
    max_completion_length=12,
    learning_rate=0.1,
    beta=0.1,
)
AGREE = 1e-3  # of the largest movement of a parameter

ANY_ORDER = {name: fields for name, fields in CONFIGS.items() if name not in ("bnpo", "grpo")} | {
    "the course's": CONFIGS["grpo"],
    "no reference": dict(beta=0.0),
    "plain KL": dict(use_bias_correction_kl=False),
    "three iterations": dict(num_iterations=3, max_steps=4),
    "iterations of cispo": dict(num_iterations=2, loss_type="cispo", max_steps=3),
    "iterations of vespo": dict(num_iterations=2, loss_type="vespo", max_steps=3),
    "two-sided clipping": dict(num_iterations=2, delta=1.5, epsilon_high=0.28, max_steps=3),
    "off-policy mask": dict(num_iterations=2, off_policy_mask_threshold=0.001, max_steps=3),
    "no scale": dict(scale_rewards="none"),
    "scale of the batch": dict(scale_rewards="batch"),
    "normalized first": dict(multi_objective_aggregation="normalize_then_sum"),
    "truncated left out": dict(mask_truncated_completions=True),
    "truncated left out, grpo": dict(mask_truncated_completions=True, loss_type="grpo"),
    "padded": dict(pad_to_multiple_of=8),
    "warm": dict(temperature=0.7),
    "one row a batch": dict(per_device_train_batch_size=1),
    "one batch": dict(per_device_train_batch_size=6, gradient_accumulation_steps=1),
    "sampled twice a step": dict(gradient_accumulation_steps=6, steps_per_generation=3),
    "sampled twice, used twice": dict(
        gradient_accumulation_steps=6, steps_per_generation=3, num_iterations=2, max_steps=1
    ),
    "checkpointing": dict(gradient_checkpointing=True),
}
ORDER_KEPT = {
    "bnpo": CONFIGS["bnpo"],
    "bnpo, iterations": dict(loss_type="bnpo", num_iterations=2),
    "top entropy": dict(top_entropy_quantile=0.5),
    "top entropy, grpo": dict(top_entropy_quantile=0.2, loss_type="grpo"),
    "entropy bonus": dict(entropy_coef=0.5),
    "adaptive entropy": dict(
        use_adaptive_entropy=True, entropy_coef=0.5, entropy_target=20.0, max_steps=3
    ),
    "sampled for two steps": dict(gradient_accumulation_steps=3, steps_per_generation=6),
    "sampled once and a half": dict(gradient_accumulation_steps=6, steps_per_generation=9),
}
SETTINGS = ANY_ORDER | ORDER_KEPT
SAMPLING = {
    "few tokens": dict(top_k=5, min_p=0.05, temperature=1.5),
    "no repetition": dict(repetition_penalty=1.3, generation_kwargs={"no_repeat_ngram_size": 2}),
    "greedy": dict(generation_kwargs={"do_sample": False}),
    "static cache": dict(cache_implementation="static"),
    "no cache": dict(generation_kwargs={"use_cache": False}),
    "padded": dict(pad_to_multiple_of=8),
}


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Each training collects garbage, which takes longer than the training if it looks at all that
    was imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory):
    """`rows_of(kind)`: six questions, with a tone of their own each ("audio"), every second with
    one ("mixed"), or none ("text")."""
    folder = tmp_path_factory.mktemp("tones")
    for number in range(6):
        tone = np.sin(np.arange(4000 + 800 * number) * (0.05 + 0.01 * number)) / 10
        soundfile.write(folder / f"{number}.wav", tone, 16_000)

    def make(kind: str) -> Dataset:
        rows = []
        for number in range(6):
            heard = kind == "audio" or (kind == "mixed" and number % 2)
            question = [{"role": "user", "content": "Is it so? " * (1 + number)}]
            clip = str(folder / f"{number}.wav") if heard else None
            rows.append({"prompt": question, "audio": clip})
        return Dataset.from_list(rows)

    return make


def variety(completions, **_):
    """A reward that differs within every group."""
    return [float(len(set(completion[0]["content"]))) for completion in completions]


def evens(completions, **_):
    return [float(len(completion[0]["content"]) % 2) for completion in completions]


def trainer_of(cls, rows, out, reward_funcs, algorithm="grpo", **overrides):
    model, processor = models.load(SMALL)
    options = {"max_steps": 2, "warmup_steps": 0, "optim": "sgd", "save_strategy": "no"}
    return cls(
        model=model,
        processing_class=processor,
        reward_funcs=reward_funcs,
        train_dataset=rows,
        peft_config=grpo.lora_config(SMALL),
        args=grpo.grpo_config(SMALL, out, **{**options, **overrides}),
        algorithm=algorithm,
    )


class Given(GuardedTrainer):
    """A trainer that samples nothing: its completions are words of the prompt, drawn anew for each
    call, of 2 to 11 tokens; one in three has no end."""

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        generator = np.random.default_rng(self.state.global_step)
        words = [token for token in prompt_ids[0] if token != self._audio_token]
        completions = []
        for number in range(len(prompt_ids)):
            tokens = generator.choice(words, generator.integers(2, 11)).tolist()
            end = [] if number % 3 == 1 else [self.processing_class.tokenizer.eos_token_id]
            completions.append(tokens + end)
        return completions, None


@pytest.fixture(scope="module")
def adapter_after(rows_of, tmp_path_factory):
    """`adapter_after(setting, share=…, kind=…)`: the LoRA parameters before and after training."""

    @cache
    def train(setting: str, *, share: bool, kind: str = "mixed", algorithm: str = "grpo"):
        out, rows = tmp_path_factory.mktemp("run"), rows_of(kind)
        trainer = trainer_of(Given, rows, out, [variety, evens], algorithm, **SETTINGS[setting])
        trainer.share(share)
        before = adapter(trainer)
        trainer.train()
        return before, adapter(trainer)

    return train


def adapter(trainer) -> dict[str, torch.Tensor]:
    named = trainer.model.named_parameters()
    return {name: p.detach().clone() for name, p in named if p.requires_grad}


def furthest(a: dict, b: dict) -> float:
    return max((a[name] - b[name]).abs().max().item() for name in a)


def difference(shared: tuple, plain: tuple) -> float:
    """How far two trainings end from each other, as a share of how far the plain one moved."""
    assert furthest(shared[0], plain[0]) == 0
    moved = furthest(*plain)
    assert moved > 1e-3
    return furthest(shared[1], plain[1]) / moved


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_trains_the_same_adapter(setting, adapter_after):
    shared, plain = (adapter_after(setting, share=share) for share in (True, False))
    assert difference(shared, plain) < AGREE


@pytest.mark.parametrize("kind", ["text", "audio"])
@pytest.mark.parametrize("setting", ["the course's", "bnpo", "three iterations"])
def test_rows_with_or_without_audio_train_the_same_adapter(setting, kind, adapter_after):
    shared, plain = (adapter_after(setting, share=share, kind=kind) for share in (True, False))
    assert difference(shared, plain) < AGREE


def test_reinforce_trains_the_same_adapter(adapter_after):
    how = {"algorithm": "reinforce++"}
    shared, plain = (adapter_after("the course's", share=share, **how) for share in (True, False))
    assert difference(shared, plain) < AGREE


@pytest.mark.parametrize("setting", SAMPLING)
def test_a_setting_samples_the_same_completions(setting, rows_of, tmp_path):
    """From the same seed; six rows of two prompts, and again after a step."""
    sampled = {True: [], False: []}
    for share, texts in sampled.items():

        def keep(completions, **_):
            texts.extend(completion[0]["content"] for completion in completions)  # noqa: B023
            return variety(completions)

        out = tmp_path / str(share)
        trainer = trainer_of(GuardedTrainer, rows_of("mixed"), out, [keep], **SAMPLING[setting])
        trainer.share(share)
        torch.manual_seed(0)
        trainer.train()
    assert len(sampled[True]) == 12
    assert len(set(sampled[True])) > 1
    assert sampled[True] == sampled[False]


@pytest.mark.parametrize("setting", ORDER_KEPT)
def test_rows_in_other_micro_batches_would_train_another_adapter(
    setting, adapter_after, monkeypatch
):
    """Why the order is kept, and that the comparison above sees it where it isn't."""
    plain = adapter_after(setting, share=False)
    monkeypatch.setattr(shared_prefix, "order_is_free", lambda args: True)
    shared = adapter_after.__wrapped__(setting, share=True)
    assert difference(shared, plain) > 10 * AGREE


@pytest.mark.parametrize("setting", SETTINGS)
def test_rows_move_only_where_nothing_depends_on_it(setting, tmp_path):
    args = grpo.grpo_config(SMALL, tmp_path, **SETTINGS[setting])
    assert grouping.order_is_free(args) == (setting in ANY_ORDER)


@pytest.mark.parametrize("name", ["dapo", "cispo", "vespo"])
def test_losses_that_only_clip_otherwise_are_one_with_one_update(name, adapter_after):
    """As `runs.algorithms` says: the ratio is 1, so nothing is clipped."""
    names = (name, "the course's")
    assert difference(*(adapter_after(setting, share=False) for setting in names)) < AGREE


@pytest.mark.parametrize("name", ["grpo_2024", "dr_grpo", "bnpo", "gspo", "sapo", "luspo"])
def test_losses_that_weigh_tokens_otherwise_train_another_adapter(name, adapter_after):
    names = (name, "the course's")
    assert difference(*(adapter_after(setting, share=False) for setting in names)) > 10 * AGREE


def test_every_loss_of_trl_has_its_name_and_is_tried(tmp_path):
    described = GRPOConfig.__dataclass_fields__["loss_type"].metadata["help"]
    losses = re.findall(r"'(\w+)'", described.split("Supported values are")[1].split(".")[0])
    named = [grpo.grpo_config(SMALL, tmp_path, **fields) for fields in CONFIGS.values()]
    assert {args.loss_type for args in named} == set(losses)
    assert set(grouping.SUMS_OVER_ROWS) == set(losses) - {"bnpo"}


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_groups_come_together_in_every_profile(name, tmp_path):
    assert grouping.order_is_free(grpo.grpo_config(profiles.get(name), tmp_path))
