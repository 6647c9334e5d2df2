"""The counted limit of a step, held against what torch counts while the tiny model computes it."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from soundmind_lite import grpo, models, profiles
from soundmind_lite.scale import limit, memory

TINY = profiles.get("tiny")
CONFIG = memory.config_of(TINY.model)
TEXT, AUDIO = CONFIG.text_config, CONFIG.audio_config
# mel frames (whole windows of 2 s), tokens of a prompt and of its completions
SIZES = [(200, 40, (5, 9)), (600, 150, (20, 1, 7))]


@pytest.fixture
def model():
    """The thinker with a new adapter; attention as products that torch counts."""
    from peft import get_peft_model

    with sdpa_kernel(SDPBackend.MATH):
        yield get_peft_model(models.load("tiny")[0], grpo.lora_config(TINY))


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def a_pass(model, prompt: int, lengths) -> torch.Tensor:
    """A pass as the limit counts it: the prompt once, then each completion after its KV cache.

    Returns a scalar that depends on all predictions.
    """
    thinker = model.get_base_model()
    language, head = thinker.model.language_model, thinker.lm_head
    ids = torch.randint(100, 400, (1, prompt))
    first = language(input_ids=ids, use_cache=True)
    total = head(first.last_hidden_state[:, -1]).logsumexp(-1).sum()
    for length in lengths:
        if length == 1:
            continue  # the prompt's last token predicts it
        cache = SimpleNamespace(layers=first.past_key_values.layers)
        after = language(
            input_ids=torch.randint(100, 400, (1, length - 1)),
            past_key_values=copy_of(cache),
            position_ids=torch.arange(prompt, prompt + length - 1).expand(3, 1, -1),
            use_cache=True,
        )
        total = total + head(after.last_hidden_state).logsumexp(-1).sum()
    return total


def copy_of(cache):
    """A cache with the same keys and values, through which gradients pass."""
    from transformers import DynamicCache

    copy = DynamicCache()
    for number, layer in enumerate(cache.layers):
        copy.update(layer.keys, layer.values, number)
    return copy


def in_vain(prompt: int, lengths, *, base: int = 1, lora: int = 0, attention: int = 1) -> int:
    """The exceptions: what the pass above computes and the limit doesn't count.

    In the last layer, all of the prompt but keys, values and its last token: nothing reads it. In
    every layer, pairs of tokens that the mask throws away. A projection counts `base` times, LoRA's
    products `lora` times (its rank included), and the products of attention `attention` times.
    """
    hidden, wide = TEXT.hidden_size, TEXT.intermediate_size
    projections = [(hidden, hidden)] * 2 + [(hidden, wide)] * 3  # q and o, and the MLP's
    products = sum(base * a * b + lora * (a + b) for a, b in projections) * (prompt - 1)
    masked = sum(limit.triangle(count - 2) for count in lengths if count > 1)
    layers = TEXT.num_hidden_layers
    pairs = layers * masked + (layers - 1) * limit.triangle(prompt - 1) + prompt * (prompt - 1)
    return 2 * (products + 2 * attention * hidden * pairs)


@pytest.mark.parametrize("frames, prompt, lengths", SIZES)
def test_the_encoder_is_counted(model, frames, prompt, lengths):
    tower = model.get_base_model().model.audio_tower
    features = torch.randn(AUDIO.num_mel_bins, frames)
    torch_counts = counted(lambda: tower(features, feature_lens=torch.tensor([frames])))
    assert limit.encoding(AUDIO, frames) == torch_counts


def test_a_last_window_is_counted_without_its_padding(model):
    """500 frames are two windows and a half; the model's convolutions pad that to a whole one."""
    tower = model.get_base_model().model.audio_tower
    features = torch.randn(AUDIO.num_mel_bins, 500)
    torch_counts = counted(lambda: tower(features, feature_lens=torch.tensor([500])))
    width = AUDIO.d_model
    padding = 2 * 3 * width * (100 * AUDIO.num_mel_bins + 50 * width)
    assert limit.encoding(AUDIO, 500) == torch_counts - padding


@pytest.mark.parametrize("frames, prompt, lengths", SIZES)
def test_a_forward_pass_is_counted(model, frames, prompt, lengths):
    with torch.no_grad(), model.disable_adapter():
        torch_counts = counted(lambda: a_pass(model, prompt, lengths))
    assert limit.forward(TEXT, prompt, lengths) == torch_counts - in_vain(prompt, lengths)


@pytest.mark.parametrize("frames, prompt, lengths", SIZES)
def test_the_policy_pass_is_counted(model, frames, prompt, lengths):
    rank = TINY.lora_r
    totals = []
    forward = counted(lambda: totals.append(a_pass(model, prompt, lengths)))
    backward = counted(lambda: totals[0].backward())
    expected = forward - in_vain(prompt, lengths, lora=rank)
    assert limit.forward(TEXT, prompt, lengths, rank=rank) == expected
    expected = backward - in_vain(prompt, lengths, lora=2 * rank, attention=2)
    assert limit.backward(TEXT, prompt, lengths, rank=rank) == expected
