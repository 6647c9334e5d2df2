"""Plans a run before a download: memory, time and cost of a profile on a GPU, and what to lower.

Memory is counted from the model's shape. The parts are added although sampling and training don't
coincide, so the sum is rather too large than too small. Time is an estimate from the card's data
sheet until two real steps on this machine calibrate it. Neither has been checked on a GPU by this
project yet: treat both as a first guess, and trust `calibrated` figures over the others.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from ..models import audio_token_count
from ..profiles import OMNI_3B, OMNI_7B, Profile

GB = 1e9
# Shapes of the published checkpoints, where they differ from the defaults of transformers'
# Qwen2_5OmniThinkerConfig
VISION = dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16)
SHAPES = {
    OMNI_7B: dict(vision_config=VISION | dict(out_hidden_size=3584)),
    OMNI_3B: dict(
        text_config=dict(
            hidden_size=2048,
            num_hidden_layers=36,
            num_attention_heads=16,
            num_key_value_heads=2,
            intermediate_size=11008,
            vocab_size=151936,
        ),
        audio_config=dict(output_dim=2048),
        vision_config=VISION | dict(out_hidden_size=2048),
    ),
}
INSTRUCTION_TOKENS = 60  # text of the prompt beside the audio
OVERHEAD_GB = 1.5  # CUDA context, workspace of the kernels, fragmentation
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = 0.53  # a parameter with double quantization: 4.13 bits, and some padding
REMEDIES = {
    "weights": "take a smaller model, or 4-bit weights",
    "adapter and optimizer": "lower lora_r",
    "KV cache": "lower num_generations or max_completion_length",
    "activations": (
        "lower per_device_train_batch_size or max_completion_length, "
        "or set gradient_checkpointing=True"
    ),
    "logits": "lower max_completion_length or per_device_train_batch_size",
}


@dataclass(frozen=True)
class Card:
    """A GPU's data sheet: memory (GB), dense bf16 or fp16 TFLOP/s, memory bandwidth (GB/s)."""

    name: str
    memory_gb: float
    tflops: float
    bandwidth: float


CARDS = {
    "T4": Card("T4", 15.0, 65, 320),
    "L4": Card("L4", 22.5, 121, 300),
    "A100": Card("A100", 79.0, 312, 2039),
    "H100": Card("H100", 79.0, 989, 3350),
}
# What plain transformers code reaches of bandwidth and of TFLOP/s: guesses, replaced by calibration
DECODE_SHARE, TRAIN_SHARE = 0.35, 0.30


@dataclass(frozen=True)
class Plan:
    """What a run takes: sizes in GB, times in seconds. `calibrated`: the time was measured here."""

    profile: str
    card: str
    parts: dict[str, float]
    limit_gb: float
    step_seconds: float
    steps: int
    calibrated: bool
    price: float | None = None
    load_in_4bit: bool = False

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
        """The largest part that can be lowered, and how."""
        fixed = ("overhead", "weights") if self.load_in_4bit else ("overhead",)
        largest = max((name for name in self.parts if name not in fixed), key=self.parts.get)
        return f"{largest}: {REMEDIES[largest]}"

    def __str__(self) -> str:
        verdict = "fits" if self.fits else "will not fit"
        lines = [f"profile {self.profile} on {self.card}, {self.limit_gb:.0f} GB"]
        lines += [f"  {name:24}{size:8.2f} GB" for name, size in self.parts.items()]
        lines.append(f"  {'together':24}{self.total_gb:8.2f} GB: {verdict}")
        if not self.fits:
            lines.append(f"  lower this first: {self.advice}")
        lines.append(
            f"  a step {self.step_seconds:.0f} s, {self.steps} steps {self.duration}, "
            f"from {self.basis}"
        )
        if self.price is not None:
            lines.append(f"  cost at {self.price:g} an hour: {self.price * self.hours:.2f}")
        return "\n".join(lines)


@cache
def config_of(model: str):
    """The thinker's configuration of a local folder, a published checkpoint or a hub id.

    The hub is asked only for a checkpoint whose shape isn't in `SHAPES`.
    """
    from transformers import AutoConfig, Qwen2_5OmniThinkerConfig

    if model in SHAPES:
        return Qwen2_5OmniThinkerConfig(**SHAPES[model])
    path = Path(model) if Path(model).is_dir() else model
    config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    return getattr(config, "thinker_config", config)


@cache
def parameter_counts(model: str) -> dict[str, int]:
    """Parameters of the thinker's parts, counted on the meta device.

    "all", "audio" (the audio encoder), "linear" (the linear layers of the language model) and
    "lora per rank" (of adapters on these layers).
    """
    from transformers import Qwen2_5OmniThinkerForConditionalGeneration

    with torch.device("meta"):
        thinker = Qwen2_5OmniThinkerForConditionalGeneration(config_of(model))
    modules = thinker.model.language_model.modules()
    linear = [module for module in modules if isinstance(module, torch.nn.Linear)]
    return {
        "linear": sum(layer.weight.numel() for layer in linear),
        "all": sum(p.numel() for p in thinker.parameters()),
        "audio": sum(p.numel() for p in thinker.model.audio_tower.parameters()),
        "lora per rank": sum(layer.in_features + layer.out_features for layer in linear),
    }


def prompt_tokens(audio_seconds: float) -> int:
    """Tokens of a prompt with a clip of `audio_seconds` (100 mel frames a second)."""
    return int(audio_token_count(int(100 * audio_seconds))) + INSTRUCTION_TOKENS


def memory(profile: Profile, audio_seconds: float) -> dict[str, float]:
    """GB on one card for each part of a run with clips of `audio_seconds`."""
    text, counts = config_of(profile.model).text_config, parameter_counts(profile.model)
    size = BYTES[profile.dtype]
    linear_size = NF4_BYTES if profile.load_in_4bit else size
    batch, completion = profile.per_device_train_batch_size, profile.max_completion_length
    prompt = prompt_tokens(audio_seconds)
    tokens = prompt + completion

    prompts = profile.prompts_per_step
    rollouts = prompts * profile.num_generations
    prefixes = prompts if profile.shared_prefix else rollouts
    head = text.hidden_size // text.num_attention_heads
    cached_token = 2 * text.num_hidden_layers * text.num_key_value_heads * head * size

    # what the backward pass needs of a layer; with checkpointing only the layer's input is kept,
    # and the rest of one layer at a time is computed again
    layer = tokens * (14 * text.hidden_size + 3 * text.intermediate_size) * size
    kept = tokens * text.hidden_size * size if profile.gradient_checkpointing else layer
    parts = {
        "weights": counts["linear"] * linear_size + (counts["all"] - counts["linear"]) * size,
        # fp32: the parameter, its gradient and two moments
        "adapter and optimizer": counts["lora per rank"] * profile.lora_r * 16,
        "KV cache": cached_token * (prefixes * prompt + rollouts * completion),
        "activations": batch * (kept * text.num_hidden_layers + layer),
        # fp32: logits, log-softmax and gradient
        "logits": batch * completion * text.vocab_size * 4 * 3,
        "overhead": OVERHEAD_GB * GB if profile.gpu_gb else 0.3 * GB,
    }
    return {name: value / GB for name, value in parts.items()}


def step_seconds(profile: Profile, card: Card, *, audio_seconds: float) -> float:
    """Seconds of a step from the card's data sheet.

    Decoding reads all weights once a token. Computing takes the prefill, a reference pass, and a
    policy pass whose backward half counts twice; with checkpointing the forward half runs again.
    `shared_prefix` computes a prompt once for all its rollouts, except in a policy pass with
    checkpointing.
    """
    weights_gb = memory(profile, audio_seconds)["weights"]
    prompt, completion = prompt_tokens(audio_seconds), profile.max_completion_length
    rollouts = profile.prompts_per_step * profile.num_generations
    prefixes = profile.prompts_per_step if profile.shared_prefix else rollouts

    decode = completion * weights_gb / (card.bandwidth * DECODE_SHARE)
    prefill = prefixes * prompt
    reference = prefixes * prompt + rollouts * completion
    if profile.gradient_checkpointing:
        policy = 4 * rollouts * (prompt + completion)
    else:
        policy = 3 * reference
    operations = 2 * parameter_counts(profile.model)["all"] * (prefill + reference + policy)
    return decode + operations / (card.tflops * 1e12 * TRAIN_SHARE)


def plan(
    profile: Profile,
    card: Card,
    *,
    audio_seconds: float = 60.0,
    price: float | None = None,
    measured_step: float | None = None,
    steps: int | None = None,
) -> Plan:
    """The plan of a run on clips of `audio_seconds`.

    `measured_step` (seconds, from `calibrate`) replaces the data sheet's guess; `price` is for an
    hour of the card; `steps` replaces the profile's `max_steps`. Raises ValueError for clips that
    are longer than the profile's `max_audio_seconds`.
    """
    if audio_seconds > profile.max_audio_seconds:
        raise ValueError(
            f"clips of {audio_seconds:g} s are longer than the profile's limit of "
            f"{profile.max_audio_seconds:g} s"
        )
    seconds = measured_step
    if seconds is None:
        seconds = step_seconds(profile, card, audio_seconds=audio_seconds)
    return Plan(
        profile=profile.name,
        card=card.name,
        parts=memory(profile, audio_seconds),
        limit_gb=card.memory_gb,
        step_seconds=seconds,
        steps=steps or profile.max_steps,
        calibrated=measured_step is not None,
        price=price,
        load_in_4bit=profile.load_in_4bit,
    )


def card_of(name: str, memory_gb: float) -> Card:
    """The card of a GPU's name, with 97 % of its memory (GB) to use.

    A card that isn't in the table is planned like an L4, and its name says so.
    """
    usable = 0.97 * memory_gb
    for card in CARDS.values():
        if re.search(rf"\b{card.name}\b", name):
            return replace(card, memory_gb=usable)
    return replace(CARDS["L4"], name=f"{name} (time as on an L4)", memory_gb=usable)


def calibrate(profile: Profile, train_dataset, *, output_dir: Path) -> float:
    """Seconds of a step on this machine: the second of two real training steps.

    `train_dataset` comes from `data.training_rows`.
    """
    from .. import grpo, models

    model, processor = models.load(profile)
    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=train_dataset,
        output_dir=output_dir,
        max_steps=2,
        save_strategy="no",
    )
    trainer.train()
    times = [entry["step_time"] for entry in trainer.state.log_history if "step_time" in entry]
    return times[-1]
