"""Plans a run before a download: memory, time and cost of a profile on a GPU, and what to lower if it will not fit.

Memory is counted from the model's shape; the parts are added although sampling and training don't coincide, so it is rather too much than too little. Time is an estimate from the card's data sheet until two real steps on this machine calibrate it. Neither
has been checked on a GPU by this project yet; treat both as a first guess, and trust `calibrated` figures over the others.
"""
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from ..models import audio_token_count
from ..profiles import OMNI_3B, OMNI_7B, Profile

GB = 1e9
# Shapes of the published checkpoints, where they differ from the defaults of transformers' Qwen2_5OmniThinkerConfig
VISION = dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16)
SHAPES = {
    OMNI_7B: dict(vision_config=VISION | dict(out_hidden_size=3584)),
    OMNI_3B: dict(
        text_config=dict(hidden_size=2048, num_hidden_layers=36, num_attention_heads=16, num_key_value_heads=2, intermediate_size=11008, vocab_size=151936),
        audio_config=dict(output_dim=2048), vision_config=VISION | dict(out_hidden_size=2048),
    ),
}
INSTRUCTION_TOKENS = 60  # text of the prompt beside the sound
OVERHEAD_GB = 1.5  # CUDA context, kernels' work space, fragmentation


@dataclass(frozen=True)
class Card:
    """A GPU's data sheet: memory (GB), dense bf16 or fp16 TFLOP/s, memory bandwidth (GB/s)."""

    name: str
    memory_gb: float
    tflops: float
    bandwidth: float


CARDS = {c.name: c for c in (Card("T4", 15.0, 65, 320), Card("L4", 22.5, 121, 300), Card("A100", 79.0, 312, 2039), Card("H100", 79.0, 989, 3350))}
DECODE_SHARE, TRAIN_SHARE = 0.35, 0.30  # of bandwidth and of TFLOP/s that plain transformers code reaches: guesses, replaced by calibration


@dataclass(frozen=True)
class Plan:
    """What a run takes. Sizes in GB, times in seconds; `calibrated` tells whether the time was measured here."""

    profile: str
    card: str
    parts: dict[str, float]
    limit_gb: float
    step_seconds: float
    steps: int
    calibrated: bool
    price: float | None = None
    four_bit: bool = False

    @property
    def total_gb(self) -> float:
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        return self.total_gb <= self.limit_gb

    @property
    def hours(self) -> float:
        return self.step_seconds * self.steps / 3600

    @property
    def duration(self) -> str:
        return f"{self.hours:.1f} hours" if self.hours >= 1 else f"{60 * self.hours:.0f} minutes"

    @property
    def basis(self) -> str:
        """Where the time comes from."""
        return "two real steps here" if self.calibrated else "the card's data sheet, not measured"

    @property
    def advice(self) -> str:
        """The largest part that can be lowered, and how. (Weights that are in 4 bits already can't.)"""
        lowered = {name: size for name, size in self.parts.items() if name != "overhead" and not (name == "weights" and self.four_bit)}
        largest = max(lowered, key=lowered.get)
        return f"{largest}: {remedy(largest)}"

    def __str__(self) -> str:
        lines = [f"profile {self.profile} on {self.card}, {self.limit_gb:.0f} GB"]
        lines += [f"  {name:24}{size:8.2f} GB" for name, size in self.parts.items()]
        lines.append(f"  {'together':24}{self.total_gb:8.2f} GB: {'fits' if self.fits else 'will not fit'}")
        if not self.fits:
            lines.append(f"  lower this first: {self.advice}")
        lines.append(f"  a step {self.step_seconds:.0f} s, {self.steps} steps {self.duration}, from {self.basis}")
        if self.price is not None:
            lines.append(f"  cost at {self.price:g} an hour: {self.price * self.hours:.2f}")
        return "\n".join(lines)


def remedy(part: str) -> str:
    """What to lower when a part is too large."""
    return {
        "weights": "take a smaller model, or 4-bit weights", "adapter and optimizer": "lower lora_rank",
        "keys and values": "lower group_size or max_completion_tokens", "logits": "lower max_completion_tokens or micro_batch",
        "activations": "lower micro_batch or max_completion_tokens, or set gradient_checkpointing=True",
    }.get(part, "lower group_size or prompts_per_step")


@cache
def config_of(model: str):
    """The thinker's configuration: of a local folder, of a published checkpoint whose shape is known, else from the hub."""
    from transformers import AutoConfig, Qwen2_5OmniThinkerConfig

    if model in SHAPES:
        return Qwen2_5OmniThinkerConfig(**SHAPES[model])
    config = AutoConfig.from_pretrained(Path(model) if Path(model).is_dir() else model, trust_remote_code=False)
    return getattr(config, "thinker_config", config)


@cache
def weight_counts(model: str) -> dict[str, int]:
    """Weights of each part, counted on a model without memory."""
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    with torch.device("meta"):
        thinker = Qwen2_5OmniThinkerForConditionalGeneration(config_of(model))
    count = lambda part: sum(p.numel() for p in part.parameters())
    inner, linear = thinker.model, [m for m in thinker.model.language_model.modules() if isinstance(m, torch.nn.Linear)]
    return {
        "linear": sum(m.weight.numel() for m in linear), "all": count(thinker), "audio": count(inner.audio_tower),
        "lora per rank": sum(m.in_features + m.out_features for m in linear),
    }


def memory(profile: Profile, audio_seconds: float) -> dict[str, float]:
    """GB on one card for each part of a run with clips of `audio_seconds`."""
    text, counts = config_of(profile.model).text_config, weight_counts(profile.model)
    size = {"float32": 4, "bfloat16": 2, "float16": 2}[profile.dtype]
    quantised = 0.53 if profile.four_bit else size  # NF4 with double quantisation: 4.13 bits a weight, and some padding
    prompt = int(audio_token_count(int(100 * audio_seconds))) + INSTRUCTION_TOKENS
    tokens = prompt + profile.max_completion_tokens
    head = text.hidden_size // text.num_attention_heads
    rollouts = profile.prompts_per_step * profile.group_size
    cached = profile.prompts_per_step * prompt + rollouts * profile.max_completion_tokens if profile.hear_once else rollouts * tokens
    layer = tokens * (14 * text.hidden_size + 3 * text.intermediate_size) * size  # what the backward pass needs of a layer
    kept = tokens * text.hidden_size * size if profile.gradient_checkpointing else layer  # with checkpointing only its input stays, the rest is computed again
    return {name: value / GB for name, value in {
        "weights": counts["linear"] * quantised + (counts["all"] - counts["linear"]) * size,
        "adapter and optimizer": counts["lora per rank"] * profile.lora_rank * 16,  # weight, gradient and two moments in fp32
        "keys and values": 2 * text.num_hidden_layers * text.num_key_value_heads * head * cached * size,
        "activations": profile.micro_batch * (kept * text.num_hidden_layers + layer),
        "logits": profile.micro_batch * profile.max_completion_tokens * text.vocab_size * 4 * 3,  # logits, log-softmax and gradient in fp32
        "overhead": OVERHEAD_GB * GB if profile.gpu_gb else 0.3 * GB,
    }.items()}


def step_seconds(profile: Profile, card: Card, audio_seconds: float) -> float:
    """A step from the data sheet: decoding reads all weights once a token; computing takes prefill, reference pass, and a policy pass whose backward half
    counts twice, and once more with checkpointing. `hear_once` runs a prompt once for all its rollouts, but not in a policy pass with checkpointing.
    """
    counts = weight_counts(profile.model)
    weights = memory(profile, audio_seconds)["weights"]
    prompt = int(audio_token_count(int(100 * audio_seconds))) + INSTRUCTION_TOKENS
    rollouts, completion = profile.prompts_per_step * profile.group_size, profile.max_completion_tokens
    decode = completion * weights / (card.bandwidth * DECODE_SHARE)
    alone, shared = rollouts * prompt, (profile.prompts_per_step if profile.hear_once else rollouts) * prompt
    policy = 4 * (alone + rollouts * completion) if profile.gradient_checkpointing else 3 * (shared + rollouts * completion)
    tokens = shared + (shared + rollouts * completion) + policy
    train = 2 * counts["all"] * tokens / (card.tflops * 1e12 * TRAIN_SHARE)
    return decode + train


def plan(profile: Profile, card: Card, audio_seconds: float = 60.0, price: float | None = None, measured_step: float | None = None, steps: int | None = None) -> Plan:
    """The plan of a run; `measured_step` (seconds, from `calibrate`) replaces the data sheet's guess, `price` is for an hour of the card."""
    if audio_seconds > profile.max_audio_seconds:
        raise ValueError(f"clips of {audio_seconds:g} s are longer than the profile's limit of {profile.max_audio_seconds:g} s")
    seconds = step_seconds(profile, card, audio_seconds) if measured_step is None else measured_step
    return Plan(
        profile.name, card.name, memory(profile, audio_seconds), card.memory_gb, seconds, steps or profile.steps, measured_step is not None, price,
        profile.four_bit,
    )


def card_of(name: str, memory_gb: float) -> Card:
    """The card of a GPU's name; one that isn't in the table is planned like an L4 of its own memory, and is called so."""
    known = next((card for card in CARDS.values() if re.search(rf"\b{card.name}\b", name)), None)
    return replace(known, memory_gb=0.97 * memory_gb) if known else replace(CARDS["L4"], name=f"{name} (time as on an L4)", memory_gb=0.97 * memory_gb)


def calibrate(profile: Profile, rows, folder: Path) -> float:
    """Seconds of a step on this machine: two real steps of training on `rows` (from `data.training_rows`), the second of which counts."""
    from .. import grpo, models

    model, processor = models.load(profile)
    trainer = grpo.trainer_for(profile, model, processor, rows, folder, steps=2, save_strategy="no")
    trainer.train()
    return [entry["step_time"] for entry in trainer.state.log_history if "step_time" in entry][-1]
