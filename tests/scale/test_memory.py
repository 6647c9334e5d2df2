"""Memory is counted from the model's shape, and each part is what the libraries really hold."""

from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration
from trl.kernels import chunked_logprob
from trl.trainer import utils

from soundmind_lite import data, evaluation, grpo, models, profiles, prompts
from soundmind_lite.audio import load_audio
from soundmind_lite.scale import memory
from soundmind_lite.scale.memory import memory_of

LARGE = profiles.get("80gb")


def test_the_published_sizes():
    """8.9 and 4.7 billion parameters, encoders included; 17,863,627,776 bytes of the 7B's thinker
    as published, in bf16; a vision encoder of 1.35 GB, which no lesson uses."""
    counts = memory.parameter_counts(profiles.OMNI_7B)
    assert 2 * counts["all"] == 17_863_627_776
    assert 2 * counts["vision"] / 1e9 == pytest.approx(1.35, abs=0.01)
    assert memory.parameter_counts(profiles.OMNI_3B)["all"] / 1e9 == pytest.approx(4.7, abs=0.1)


@pytest.mark.parametrize(
    ("model", "four_bit", "gb"),
    [
        (profiles.OMNI_7B, False, 17.86),
        (profiles.OMNI_7B, True, 8.2),
        (profiles.OMNI_3B, True, 5.3),
    ],
)
def test_the_weights(model, four_bit, gb):
    found = memory_of(replace(LARGE, model=model, load_in_4bit=four_bit))
    assert found.parts["weights"] == pytest.approx(gb, abs=0.1)


@pytest.mark.parametrize(
    ("model", "bytes"), [(profiles.OMNI_7B, 57_344), (profiles.OMNI_3B, 36_864)]
)
def test_a_token_in_the_kv_cache(model, bytes):
    profile = replace(LARGE, model=model, prompts_per_step=1, num_generations=1)
    longer = replace(profile, max_completion_length=profile.max_completion_length + 1000)
    more, less = (memory_of(p).phases["sampling"]["KV cache"] for p in (longer, profile))
    assert (more - less) * 1e9 == pytest.approx(1000 * bytes)


def test_the_tiny_model_is_counted_exactly(tiny):
    model, _ = tiny
    counts = memory.parameter_counts(profiles.get("tiny").model)
    assert counts["all"] == sum(p.numel() for p in model.parameters())
    lora = get_peft_model(models.load("tiny")[0], grpo.lora_config(profiles.get("tiny")))
    trained = sum(p.numel() for p in lora.parameters() if p.requires_grad)
    assert counts["lora per rank"] * 16 == trained


@pytest.mark.parametrize(
    ("change", "phase", "part"),
    [
        (dict(num_generations=16), "sampling", "KV cache"),
        (dict(shared_prefix=False), "sampling", "logits"),
        (dict(per_device_train_batch_size=2), "policy pass", "activations"),
        (dict(gradient_checkpointing=False), "policy pass", "activations"),
        (dict(per_device_train_batch_size=2), "scoring", "logits"),
        (dict(per_device_eval_batch_size=48), "evaluation", "logits"),
        (dict(max_audio_seconds=360), "evaluation", "KV cache"),
    ],
)
def test_each_part_grows_with_what_makes_it(change, phase, part):
    more, less = memory_of(replace(LARGE, **change)), memory_of(LARGE)
    assert more.phases[phase][part] > 1.5 * less.phases[phase][part]


def test_a_run_needs_its_largest_phase():
    found = memory_of(LARGE)
    assert found.total_gb == max(found.totals.values()) == found.totals[found.peak]
    assert sum(found.parts.values()) == pytest.approx(found.total_gb)
    assert "evaluation" not in memory_of(replace(LARGE, eval="none")).phases


def test_processes_share_the_completions():
    alone, shared = (memory_of(LARGE, processes=n).phases["sampling"] for n in (1, 4))
    assert alone["KV cache"] == pytest.approx(4 * shared["KV cache"])


def test_sharding_divides_the_parameters_and_shares_no_prompt():
    whole, sharded = (memory_of(LARGE, processes=8, sharded=on) for on in (False, True))
    assert whole.parts["weights"] == pytest.approx(17.86, abs=0.01)
    assert sharded.parts["weights"] == pytest.approx(17.86 / 8 + 0.47, abs=0.01)
    assert sharded.phases["sampling"]["KV cache"] > 1.5 * whole.phases["sampling"]["KV cache"]


def test_trl_multiplies_the_head_in_tiles_of_this_size():
    """0.13 GB for a completion of 2,048 tokens of the 7B, where all logits would take 3.7."""
    assert (chunked_logprob.TOKEN_CHUNK_SIZE, utils._CHUNKED_LOGPROB_CHUNK_SIZE) == memory.TILE
    assert memory_of(LARGE).phases["scoring"]["logits"] == pytest.approx(0.134, abs=0.001)
    assert memory_of(LARGE).phases["policy pass"]["logits"] == pytest.approx(0.18, abs=0.01)


def test_evaluation_computes_logits_of_the_last_position_alone(tiny):
    """At all positions they would take 1.9 GB for 4 clips of 60 s to the 7B, 5.5 for 180 s."""
    model, processor = tiny
    positions = []
    hook = model.lm_head.register_forward_hook(
        lambda _, inputs, out: positions.append(out.shape[:2].numel())
    )
    clip = load_audio(data.load_alr("mini", "test")[0]["question_audio"])
    asked = [prompts.with_audio(prompts.prompt(), clip)] * 2
    evaluation.complete(model, asked, processing_class=processor, max_new_tokens=2)
    hook.remove()
    assert positions == [2, 2]
    four = memory_of(replace(LARGE, per_device_eval_batch_size=4), 180)
    assert four.phases["evaluation"]["logits"] < 0.02


def test_a_layer_keeps_for_its_backward_pass_what_the_plan_counts():
    """14 times its width and 4 times its MLP's a token, with LoRA under bf16, and the keys and
    values, which the plan leaves out."""
    width, wide, tokens = 1024, 5632, 256
    text = dict(hidden_size=width, intermediate_size=wide, num_hidden_layers=1, vocab_size=100)
    text |= dict(num_attention_heads=8, num_key_value_heads=1)
    small = dict(d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16)
    seen = dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=2, out_hidden_size=width)
    config = Qwen2_5OmniThinkerConfig(
        text_config=text, audio_config=small | dict(output_dim=width), vision_config=seen
    )
    thinker = Qwen2_5OmniThinkerForConditionalGeneration(config).to(torch.bfloat16)
    lora = get_peft_model(thinker, grpo.lora_config(replace(LARGE, lora_r=1)))
    own = {p.untyped_storage().data_ptr() for p in lora.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    inputs = torch.randn(1, tokens, width, dtype=torch.bfloat16, requires_grad=True)
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16),
    ):
        thinker.model.language_model(inputs_embeds=inputs, use_cache=False)
    assert sum(kept.values()) / tokens / 2 == pytest.approx(14 * width + 4 * wide, rel=0.05)
