"""Times a GRPO step on speech by phase: sampling, scoring, updating. With random weights it needs no download: the time of a step depends on the
shape of a model and not on what it has learned.
"""
import platform
import tempfile
import time
from dataclasses import replace
from datetime import date

import torch
from peft import get_peft_model
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from . import grpo, models, planner
from .doctor import gpus, installed
from .models import AUDIO_FIELDS, audio_token_count, placeholder_ids
from .profiles import Profile
from .runs import peak_memory_mb


def random_thinker(profile: Profile):
    """A thinker of the profile's shape with random weights, on the GPU if there is one.

    4-bit weights are quantised while they are loaded, so for them a random checkpoint is written to a temporary folder first (18 GB for the 7B).
    """
    if profile.four_bit:
        with tempfile.TemporaryDirectory() as folder:
            random_thinker(replace(profile, four_bit=False)).cpu().save_pretrained(folder)
            return Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
                folder, dtype=getattr(torch, profile.dtype), quantization_config=models.quantisation(profile),
            ).eval()
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, profile.dtype))
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            return Qwen2_5OmniThinkerForConditionalGeneration(planner.config_of(profile.model)).eval()
    finally:
        torch.set_default_dtype(before)


def question(model, audio_seconds: float, copies: int) -> dict[str, torch.Tensor]:
    """A prompt of noise (`audio_seconds`, as mel frames) and 60 tokens of text, in `copies` rows; no tokenizer is needed."""
    frames, config, device = int(100 * audio_seconds), model.config, model.device
    sound = torch.full((int(audio_token_count(frames)),), config.audio_token_id)
    ends = torch.tensor([config.audio_start_token_id]), torch.tensor([config.audio_end_token_id])
    words = torch.arange(100, 100 + planner.INSTRUCTION_TOKENS)  # ordinary tokens in every vocabulary
    ids = torch.cat([ends[0], sound, ends[1], words]).repeat(copies, 1).to(device)
    features = torch.randn(copies, 128, frames, device=device, dtype=model.dtype)
    mask = torch.ones(copies, frames, dtype=torch.long, device=device)
    return dict(zip(("input_ids", "attention_mask", *AUDIO_FIELDS), (ids, torch.ones_like(ids), features, mask)))


def timed(function):
    """What the function returns, and its seconds, with the GPU's work done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def log_probs(model, batch: dict, completion_length: int) -> torch.Tensor:
    """Log-probs (rows, completion_length) of the last tokens."""
    logits = model(**batch, logits_to_keep=completion_length + 1, use_cache=False).logits[:, :-1].float()
    return torch.log_softmax(logits, -1).gather(-1, batch["input_ids"][:, -completion_length:, None])[..., 0]


def step(profile: Profile, model, audio_seconds: float, group: int, new_tokens: int) -> dict:
    """One step for one question: G completions of exactly `new_tokens`, the reference pass, and forward, backward and an AdamW step with LoRA.

    `model` has its LoRA adapter and is in training mode.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    prompt = question(model.get_base_model(), audio_seconds, group)
    length, suppressed = prompt["input_ids"].shape[1], placeholder_ids(model.config)

    def sample():
        with torch.no_grad():
            return model.generate(**prompt, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=True, top_k=0, suppress_tokens=suppressed)

    def rows(start):
        chosen = slice(start, start + profile.micro_batch)
        return dict(input_ids=ids[chosen], attention_mask=torch.ones_like(ids[chosen]), **{name: prompt[name][chosen] for name in AUDIO_FIELDS})

    def score():
        with torch.no_grad(), model.disable_adapter():
            return torch.cat([log_probs(model, rows(start), new_tokens) for start in range(0, group, profile.micro_batch)])

    def update():
        if profile.gradient_checkpointing:  # only now: it would switch the cache of keys and values off
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=profile.learning_rate)
        for start in range(0, group, profile.micro_batch):
            policy = log_probs(model, rows(start), new_tokens)
            gap = reference[start : start + profile.micro_batch] - policy
            (-(policy - policy.detach()).exp() + profile.beta * (gap.exp() - gap - 1)).mean().backward()
        optimizer.step()
        model.gradient_checkpointing_disable()

    ids, sampling = timed(sample)
    reference, scoring = timed(score)
    _, updating = timed(update)
    peak = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else peak_memory_mb() / 1e3
    return dict(
        rollout_s=sampling, score_s=scoring, update_s=updating, step_s=sampling + scoring + updating, prompt_tokens=length,
        tokens_per_second=group * new_tokens / sampling, peak_gb=peak,
    )


def measure(profile: Profile, audio_seconds: float = 60.0, group: int = 8, new_tokens: int = 1024, random_weights: bool = False) -> dict:
    """The figures of one step, with what they were measured on."""
    model = random_thinker(profile) if random_weights else models.load(profile)[0]
    card, memory_gb = gpus()[0] if gpus() else (f"CPU, {platform.machine()}", None)
    weights = sum(p.numel() for p in model.parameters())
    model = get_peft_model(model, grpo.lora(profile)).train()  # nothing here drops out; in evaluation mode a CPU repacks 4-bit weights for good
    step(profile, model, min(audio_seconds, 2.0), group, 4)  # the first pass of a process also builds its kernels
    return dict(
        card=card, memory_gb=memory_gb, date=date.today().isoformat(), versions={name: installed(name) for name in ("torch", "transformers", "peft", "trl")},
        profile=profile.name, weights=weights, random_weights=random_weights, dtype=profile.dtype, four_bit=profile.four_bit, audio_seconds=audio_seconds,
        group=group, new_tokens=new_tokens, **(figures := step(profile, model, audio_seconds, group, new_tokens)),
        share_of_memory=figures["peak_gb"] / memory_gb if memory_gb else None,
    )
