"""The log-probs of sampling are held against those of scoring, in every step and precision."""

import math
import warnings
from dataclasses import replace

import pytest
import torch

from soundmind_lite import data, grpo, models, profiles
from soundmind_lite.fast import kv_cache
from soundmind_lite.runs import sampling
from soundmind_lite.runs.sampling import METRIC, NOISE, SamplingWarning, TrainingError

SMALL = replace(
    profiles.get("tiny"),
    num_generations=4,
    prompts_per_step=2,
    per_device_train_batch_size=4,
    max_completion_length=40,
    max_steps=3,
)
DTYPES = ["float32", "bfloat16", "float16"]


def variety(completions, **_):
    """A reward that differs within every group, so that the weights move."""
    return [float(len(set(c[0]["content"]))) for c in completions]


@pytest.fixture
def steps(eight_rows, tmp_path_factory):
    """`steps(profile, …)` trains and returns the log, a dict for each step."""

    def train(profile=SMALL, *, change=None, share=True, setting="audio-text", **overrides):
        model, processor = models.load(profile)
        if change:
            change(model)
        trainer = grpo.trainer_for(
            profile,
            model,
            processing_class=processor,
            train_dataset=data.training_rows(data.load_alr(eight_rows), setting),
            output_dir=tmp_path_factory.mktemp("run"),
            reward_funcs=variety,
            save_strategy="no",
            **overrides,
        )
        trainer.share(share)
        trainer.train()
        return [line for line in trainer.state.log_history if "reward" in line]

    return train


@torch.no_grad()
def like_qwen2(model):
    """Keys with a large part in common, q·k about 1,800 of 32 values: biases on the two channels
    that rotate least."""
    text = model.config.text_config
    heads = {"q_proj": text.num_attention_heads, "k_proj": text.num_key_value_heads}
    for name, values in model.model.language_model.named_parameters():
        projection = name.split(".")[-2]
        if projection in heads and name.endswith("bias"):
            by_head = values.view(heads[projection], -1)
            width = by_head.shape[1]
            by_head[:, [width // 2 - 1, width - 1]] = 30.0


@pytest.mark.parametrize("share", [True, False], ids=["shared prefix", "plain"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_healthy_run_is_logged_and_not_warned_of(dtype, share, steps):
    """Of two steps, the second has parameters that the first moved."""
    how = {"share": share, "max_steps": 2, "warmup_steps": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error", SamplingWarning)
        log = steps(replace(SMALL, dtype=dtype), **how)
        log += steps(replace(SMALL, dtype=dtype), **how, change=like_qwen2)
    assert len(log) == 4
    for line in log:
        assert 0 < line[f"{METRIC}/mean"] <= line[f"{METRIC}/max"]
        assert line[NOISE] < sampling.EXPLAINED[getattr(torch, dtype)]
        assert "sampling/steps_beyond_precision" not in line


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_attention_scores_in_16_bits_are_warned_of_once(dtype, steps, monkeypatch):
    monkeypatch.setattr(kv_cache, "float32_product", lambda query, key: query @ key.mT)
    words = rf"step 1: .* {dtype} explains .* another policy samples"
    with pytest.warns(SamplingWarning, match=words) as caught:
        log = steps(replace(SMALL, dtype=dtype), change=like_qwen2)
    assert [w.category for w in caught].count(SamplingWarning) == 1
    assert [line["sampling/steps_beyond_precision"] for line in log] == [1, 2, 3]


@pytest.mark.parametrize(
    "changed",
    [
        {"temperature": 0.7},
        {"gradient_checkpointing": True},
        {"num_iterations": 2, "max_steps": 4},
        {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "max_steps": 4},
        {"setting": "text-text"},
        {"share": False, "setting": "text-text", "mask_truncated_completions": True},
    ],
    ids=lambda changed: " ".join(changed),
)
def test_only_tokens_of_the_same_policy_are_compared(changed, steps):
    """At a large learning rate a step's own update would be seen: 1e-4 holds before it alone."""
    log = steps(learning_rate=1e-2, warmup_steps=0, **changed)
    found = [line[f"{METRIC}/max"] for line in log if f"{METRIC}/max" in line]
    assert found
    assert max(found) < 1e-4


def test_sampling_without_the_audio_is_seen(steps, monkeypatch):
    """Plain TRL's fault the other way round: samples computed without what scoring is given."""
    truth = sampling.SamplingIsThePolicy._generate_single_turn

    def deaf(self, *args, **kwargs):
        self._embeds = [torch.zeros_like(embeds) for embeds in self._embeds]
        return truth(self, *args, **kwargs)

    monkeypatch.setattr(sampling.SamplingIsThePolicy, "_generate_single_turn", deaf)
    with pytest.warns(SamplingWarning, match="float32 explains 0.001"):
        steps()


@pytest.mark.parametrize(
    ("dtype", "remedy"), [("float16", "bfloat16 or float32"), ("float32", "lower learning_rate")]
)
def test_logits_that_are_no_numbers_stop_the_run(dtype, remedy, steps):
    @torch.no_grad()
    def overflow(model):
        model.lm_head.weight[5] = math.inf

    words = rf"step 1: sampling in {dtype}, logits are NaN or infinite; .*{remedy}"
    with pytest.raises(TrainingError, match=words):
        steps(replace(SMALL, dtype=dtype), change=overflow)


def test_a_difference_of_logits_is_found_however_sure_the_model_is():
    torch.manual_seed(0)
    for scale in (1.0, 12.0):
        logits = scale * torch.randn(8, 50, 100)
        tokens = torch.distributions.Categorical(logits=logits).sample()[..., None]
        noisy = logits + 0.2 * torch.randn_like(logits)
        pair = [x.log_softmax(-1).gather(-1, tokens)[..., 0] for x in (logits, noisy)]
        mask = torch.ones(8, 50)
        mask[:, 40:] = 0
        pair[0][:, 40:] = -1e9
        total, doubt, number, largest = sampling.difference(*pair, mask).tolist()
        assert number == 8 * 40
        assert total / number < largest < 2
        assert 0.1 < total / doubt < 0.4
