"""Passing one new token of each row gives the logits and the draws of transformers' own loop."""

import copy

import pytest
import torch
from peft import get_peft_model
from scipy.stats import chi2 as distribution
from transformers import DynamicCache

from soundmind_lite import grpo, profiles
from soundmind_lite.fast import kv_cache, one_token, prefill, static_shapes
from soundmind_lite.fast.merged_sampling import adapter_merged
from soundmind_lite.fast.one_token import OneToken
from soundmind_lite.fast.static_shapes import StaticOneToken

KINDS = [OneToken, StaticOneToken]
PROMPTS, ROWS, LENGTH, NEW = 3, 6, 20, 12
# the largest difference of logits, of about 10; rounding to 16 bits makes the larger two
NEAR = {torch.float32: 2e-5, torch.float16: 0.02, torch.bfloat16: 0.2}


@pytest.fixture
def adapted(fresh_tiny):
    """The tiny model with an adapter that changes its logits."""
    torch.manual_seed(0)
    model = get_peft_model(fresh_tiny[0], grpo.lora_config(profiles.get("tiny"))).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.05)
    return model


def compare(model, kind):
    """Logits of new tokens after prompts of three lengths, by transformers and by `kind`."""
    thinker = model.get_base_model() if hasattr(model, "get_base_model") else model
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(40, 400, (PROMPTS, LENGTH + NEW), generator=generator)
    new = torch.randint(40, 400, (ROWS, NEW), generator=generator)
    mask = torch.ones(PROMPTS, LENGTH, dtype=torch.long)
    mask[0, :7] = 0
    mask[2, :2] = 0
    each = torch.arange(PROMPTS).repeat_interleave(ROWS // PROMPTS)
    with torch.no_grad():
        step = kind(thinker, prefill.prefill(thinker, ids[:, :LENGTH], mask, None), mask, ROWS)
        ours = torch.cat([step(new[:, i]) for i in range(NEW)], dim=1)
        whole = torch.cat([ids[each, :LENGTH], new], dim=1)
        whole_mask = torch.cat([mask[each], torch.ones(ROWS, NEW, dtype=torch.long)], dim=1)
        options = {"use_cache": True, "past_key_values": DynamicCache()}
        theirs = thinker(input_ids=whole, attention_mask=whole_mask, **options).logits
    assert step.cache.get_seq_length() >= LENGTH
    return ours, theirs[:, LENGTH:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("joined", [one_token.JOINED, 0])
def test_the_logits_are_those_of_transformers(kind, dtype, joined, adapted, monkeypatch):
    """Also when the room for new tokens has to grow, with separate products, and in 16 bits."""
    monkeypatch.setattr(one_token.OneToken, "ROOM", 5)
    monkeypatch.setattr(one_token, "JOINED", joined)
    model = adapted.to(dtype)
    ours, theirs = compare(model, kind)
    assert (ours.float() - theirs.float()).abs().max() < NEAR[dtype]
    with model.disable_adapter():
        other, _ = compare(model, kind)
    assert (ours.float() - other.float()).abs().max() > 2 * NEAR[dtype]


def test_the_calls_before_a_capture_change_nothing(adapted, monkeypatch):
    """A GPU makes them each time that the room has grown."""

    def captured(function):
        function()
        function()
        return function

    monkeypatch.setattr(one_token.OneToken, "ROOM", 5)
    once, theirs = compare(adapted, StaticOneToken)
    monkeypatch.setattr(static_shapes, "captured", captured)
    again, _ = compare(adapted, StaticOneToken)
    assert torch.equal(again, once)
    assert (again - theirs).abs().max() < NEAR[torch.float32]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits_keys_are_rounded_as_transformers_rounds_them(dtype, tiny):
    """Qwen2's keys share so large a part that other roundings make other attention."""
    layer = copy.deepcopy(tiny[0].model.language_model.layers[0]).to(dtype)
    torch.manual_seed(0)
    layer.self_attn.k_proj.bias.data.normal_(std=20)
    hidden = torch.randn(ROWS, 128).to(dtype)
    positions = torch.arange(100, 100 + ROWS).expand(3, 1, ROWS)
    cos, sin = tiny[0].model.language_model.rotary_emb(hidden, positions)
    theirs = DynamicCache()
    options = {"position_embeddings": (cos, sin), "past_key_values": theirs}
    with torch.no_grad():
        layer(hidden[None], **options)
    theirs = theirs.layers[0].keys[0].transpose(0, 1)  # (rows, heads, width)
    ours = kv_cache.AfterPromptLayer(*torch.zeros(2, ROWS, 2, 0, 32, dtype=dtype))
    sin = torch.cat([-sin[..., :16], sin[..., 16:]], dim=-1)
    rotation = torch.stack([cos, sin])[:, 0, :, None, None]
    with torch.no_grad():
        one_token.Layer(layer)(hidden, rotation, None, ours)
    assert torch.equal(ours.keys.squeeze(2)[:, :, 0], theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_adapter_merged(kind, adapted):
    beside, theirs = compare(adapted, kind)
    with adapter_merged(adapted):
        merged, _ = compare(adapted, kind)
    assert (merged - theirs).abs().max() < 1e-4
    assert not torch.equal(merged, beside)


def sampled(model, ids, mask, *, one_token_of=prefill.one_token_of, **options):
    torch.manual_seed(2)
    with prefill.prefilled_once(model, None, one_token_of), torch.no_grad():
        return model.generate(input_ids=ids, attention_mask=mask, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]])
@pytest.mark.parametrize("sample", [True, False])
def test_the_tokens_are_those_of_transformers(kind, order, sample, tiny):
    """In groups side by side, mixed, and of different sizes."""
    ids = torch.randint(40, 400, (2, 15), generator=torch.Generator().manual_seed(3))[order]
    mask = torch.ones_like(ids)
    mask[ids[:, 0] == ids[0, 0], :4] = 0
    options = {"do_sample": sample, "max_new_tokens": 20, "eos_token_id": None}
    options |= {"top_k": 0, "top_p": 1.0} if sample else {}
    ours = sampled(tiny[0], ids, mask, one_token_of=lambda _: kind, **options)
    theirs = sampled(tiny[0], ids, mask, one_token_of=lambda _: None, **options)
    assert ours.shape == (4, 35)
    assert torch.equal(ours, theirs)


def test_static_shapes_are_asked_for(tiny, monkeypatch):
    assert prefill.one_token_of(tiny[0]) is OneToken
    monkeypatch.setenv("SOUNDMIND_CUDA_GRAPHS", "1")
    assert prefill.one_token_of(tiny[0]) is StaticOneToken


def test_ten_thousand_draws_have_the_distribution_of_the_logits(tiny):
    """Of two tokens in a row: χ² against the exact probabilities of the pairs."""
    model = tiny[0]
    ids = torch.randint(40, 400, (1, 15), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        first = model(input_ids=ids).logits[0, -1].softmax(-1)
        top = first.topk(8).indices
        after = torch.cat([ids.expand(8, -1), top[:, None]], dim=1)
        second = model(input_ids=after).logits[:, -1].softmax(-1)
    draws = 10_000
    options = {"do_sample": True, "max_new_tokens": 2, "top_k": 0, "top_p": 1.0}
    many = ids.expand(draws, -1)
    pairs = sampled(model, many, torch.ones_like(many), **options, eos_token_id=None)[:, -2:]
    expected, counted = [], []
    for one, probabilities in zip(top.tolist(), second * first[top][:, None]):
        for two in probabilities.topk(5).indices.tolist():
            expected.append(draws * probabilities[two].item())
            counted.append(((pairs[:, 0] == one) & (pairs[:, 1] == two)).sum().item())
    cells = [(e, c) for e, c in zip(expected, counted) if e >= 5]
    rest = draws - sum(e for e, _ in cells), draws - sum(c for _, c in cells)
    statistic = sum((c - e) ** 2 / e for e, c in [*cells, rest])
    assert len(cells) > 5
    assert distribution.sf(statistic, len(cells)) > 0.001


def test_the_thinker_is_as_it_was_after_an_error(tiny):
    model = tiny[0]
    ids = torch.arange(40, 50)[None]

    def stop(*_):
        raise KeyboardInterrupt

    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        sampled(model, ids, torch.ones_like(ids), max_new_tokens=5, logits_processor=[stop])
    assert vars(model).keys() == before.keys()
    assert model(input_ids=ids).logits.shape[:2] == (1, 10)
