"""What a run takes of a card's memory, counted from the model's shape before any download.

A run has four phases that follow one another: sampling, the scoring pass of the reference, the
policy pass, and evaluation. What a phase holds is gone in the next, so a run needs the largest
phase on top of what stays all the time. No figure here has been checked on a GPU by this project.
"""

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
# TRL 1.16 multiplies the head in tiles (trl/kernels/chunked_logprob.py): tokens × vocabulary
TILE = (4096, 32768)
REMEDIES = {
    "KV cache": "lower num_generations or max_completion_length",
    "activations": "lower max_audio_seconds or the batch sizes, or set gradient_checkpointing=True",
    "logits": "lower max_audio_seconds or per_device_eval_batch_size",
}


@dataclass(frozen=True)
class Memory:
    """GB on one card: what stays all the time, and what each phase holds besides."""

    lasting: dict[str, float]
    phases: dict[str, dict[str, float]]

    @property
    def totals(self) -> dict[str, float]:
        """GB in use in each phase."""
        lasting = sum(self.lasting.values())
        return {name: lasting + sum(parts.values()) for name, parts in self.phases.items()}

    @property
    def peak(self) -> str:
        """The phase that needs most."""
        return max(self.totals, key=self.totals.get)

    @property
    def parts(self) -> dict[str, float]:
        """What is held in that phase."""
        return {**self.lasting, **self.phases[self.peak]}

    @property
    def total_gb(self) -> float:
        return self.totals[self.peak]


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

    "all", "audio" and "vision" (the encoders), "head", "linear" (the linear layers of the language
    model) and "lora per rank" (of adapters on these layers).
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
        "vision": sum(p.numel() for p in thinker.model.visual.parameters()),
        "head": thinker.lm_head.weight.numel(),
        "lora per rank": sum(layer.in_features + layer.out_features for layer in linear),
    }


def prompt_tokens(audio_seconds: float) -> int:
    """Tokens of a prompt with a clip of `audio_seconds` (100 mel frames a second)."""
    return int(audio_token_count(int(100 * audio_seconds))) + INSTRUCTION_TOKENS


@dataclass(frozen=True)
class Share:
    """What one of several processes does of a step: its completions, and the prompts that it
    computes for them, one a completion without a shared prefix."""

    completions: int
    prompts: int


def share_of(profile: Profile, processes: int = 1) -> Share:
    """The share of each of `processes` in a step."""
    completions = -(-profile.prompts_per_step * profile.num_generations // processes)
    distinct = -(-completions // profile.num_generations)
    return Share(completions, distinct if profile.shared_prefix else completions)


def memory_of(
    profile: Profile,
    audio_seconds: float | None = None,
    *,
    processes: int = 1,
    sharded: bool = False,
) -> Memory:
    """The memory of a run with clips of `audio_seconds` (default: the longest of the profile).

    On several `processes` each card holds the whole model, unless it is `sharded` (FSDP, ZeRO-3):
    then parameters are divided, a layer at a time is gathered, and no prompt is shared.
    """
    if sharded:
        profile = replace(profile, shared_prefix=False)
    seconds = profile.max_audio_seconds if audio_seconds is None else audio_seconds
    sizes = _Sizes(profile, seconds)
    share = share_of(profile, processes)
    batch = profile.per_device_train_batch_size
    phases = {
        "sampling": sizes.answering(
            share.completions, prompts=share.prompts, all_logits=not profile.shared_prefix
        ),
        "scoring": sizes.scoring(batch),
        "policy pass": sizes.policy_pass(batch),
    }
    if profile.eval != "none":
        rows = profile.per_device_eval_batch_size
        phases["evaluation"] = sizes.answering(rows, prompts=rows, all_logits=False)
    lasting = sizes.lasting()
    if sharded:
        for name in ("weights", "adapter and optimizer"):
            lasting[name] /= processes
        lasting["weights"] += sizes.layer()
    return Memory(_gb(lasting), {name: _gb(parts) for name, parts in phases.items()})


def _gb(parts: dict[str, float]) -> dict[str, float]:
    return {name: size / GB for name, size in parts.items()}


class _Sizes:
    """Bytes of a run's parts."""

    def __init__(self, profile: Profile, audio_seconds: float):
        config = config_of(profile.model)
        self.profile = profile
        self.counts = parameter_counts(profile.model)
        self.text = config.text_config
        self.audio = config.audio_config
        self.size = BYTES[profile.dtype]
        self.prompt = prompt_tokens(audio_seconds)
        self.frames = int(100 * audio_seconds)
        self.completion = profile.max_completion_length
        head_size = self.text.hidden_size // self.text.num_attention_heads
        heads = self.text.num_hidden_layers * self.text.num_key_value_heads
        self.cached_token = 2 * heads * head_size * self.size

    def lasting(self) -> dict[str, float]:
        linear, counts = self.counts["linear"], self.counts
        linear_size = NF4_BYTES if self.profile.load_in_4bit else self.size
        return {
            "weights": linear * linear_size + (counts["all"] - linear) * self.size,
            # fp32: the parameter, its gradient and two moments
            "adapter and optimizer": counts["lora per rank"] * self.profile.lora_r * 16,
            "overhead": (OVERHEAD_GB if self.profile.card else 0.3) * GB,
        }

    def layer(self) -> float:
        """The linear layers of one decoder layer, gathered."""
        return self.counts["linear"] / self.text.num_hidden_layers * self.size

    def answering(self, rows: int, *, prompts: int, all_logits: bool) -> dict[str, float]:
        """Sampling and evaluation: a prefill of `prompts`, then decoding of `rows`.

        transformers' `generate` computes logits at all positions of a prompt, since the thinker's
        forward takes no `logits_to_keep`; the shared prefix prefills without the head, and an
        evaluation keeps it to the last position (`fast.head`).
        """
        positions = prompts * self.prompt if all_logits else 0
        # decoding: logits of one token a row, in fp32 with what is sorted and normalised of them
        logits = max(positions * self.size, rows * 16) * self.text.vocab_size
        return {
            "KV cache": self.cached_token * (prompts * self.prompt + rows * self.completion),
            # the encoder is done before the language model begins, and that before the head
            "activations": max(0, self._prefill(prompts) - logits),
            "logits": logits,
        }

    def _prefill(self, prompts: int) -> float:
        """Bytes in use while prompts run through the audio encoder, or one layer."""
        d, ffn = self.audio.d_model, self.audio.encoder_ffn_dim
        encoder = prompts * (self.frames // 2) * (6 * d + 2 * ffn) * self.size
        return max(encoder, self._forward(prompts * self.prompt))

    def _forward(self, tokens: int) -> float:
        """One layer without gradients: the wide part of the MLP, and the adapter's fp32 input."""
        width, wide = self.text.hidden_size, self.text.intermediate_size
        return tokens * (6 * width + 6 * wide) * self.size + self._unpacked()

    def _unpacked(self) -> float:
        """The largest 4-bit matrix, as bitsandbytes unpacks it to multiply."""
        width, wide = self.text.hidden_size, self.text.intermediate_size
        return width * wide * self.size if self.profile.load_in_4bit else 0

    def scoring(self, batch: int) -> dict[str, float]:
        """The reference's log-probs of `batch` rows, with the KV cache of their prompts twice."""
        tokens = batch * (self.prompt + self.completion)
        cached = 2 * tokens if self.profile.shared_prefix else 0
        return {
            "KV cache": self.cached_token * cached,
            "activations": self._forward(tokens),
            "logits": self._tile(batch),
        }

    def policy_pass(self, batch: int) -> dict[str, float]:
        """Forward and backward of `batch` rows.

        A layer keeps 14 times its width and 4 times its MLP's for the backward pass (counted with
        saved_tensors_hooks on a layer of the 7B and of the 3B with LoRA), whose gradients take 4
        times the MLP's more. Checkpointing keeps only a layer's input, and one layer at a time.
        """
        tokens = batch * (self.prompt + self.completion)
        width, wide = self.text.hidden_size, self.text.intermediate_size
        kept = tokens * (14 * width + 4 * wide) * self.size
        working = tokens * 4 * wide * self.size + self._unpacked()
        if self.profile.gradient_checkpointing:
            working += kept
            kept = tokens * width * self.size
        # the gradient of the head's input: fp32 sums, then a copy in the model's precision
        gradient = batch * self.completion * width * (4 + self.size)
        return {
            "activations": self.text.num_hidden_layers * kept + working,
            "logits": self._tile(batch) + gradient,
        }

    def _tile(self, batch: int) -> float:
        tokens, vocabulary = TILE
        rows = min(tokens, batch * self.completion)
        return rows * min(vocabulary, self.text.vocab_size) * self.size
