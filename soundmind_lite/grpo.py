"""A GRPO trainer at the sizes of a profile: TRL's configuration, LoRA, and the audio seam, plain or hearing each question once."""
import os
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PrinterCallback
from trl import GRPOConfig

from .fast.shared_prefix import HearOnceTrainer
from .profiles import Profile
from .rewards import TEXT_REWARDS
from .trainer import ALGORITHMS, AudioGRPOTrainer, batch_advantages, check_algorithm

__all__ = ["ALGORITHMS", "LORA_TARGETS", "ROLLOUTS", "AudioGRPOTrainer", "batch_advantages", "config", "lora", "trainer_for"]
# The language model's projections only: plain names, or "all-linear", would also hit the audio and vision towers.
LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
ROLLOUTS = "completions.jsonl"


def lora(profile: Profile) -> LoraConfig:
    """LoRA on the language model's projections; the audio tower stays frozen."""
    return LoraConfig(
        r=profile.lora_rank, lora_alpha=2 * profile.lora_rank, lora_dropout=0.0, target_modules=LORA_TARGETS, task_type="CAUSAL_LM",
    )


def check(profile: Profile, algorithm: str = "grpo", steps: int = 1, rows: int | None = None) -> int:
    """The completions of a step, or ValueError for sizes, steps, an algorithm or a number of rows that no run can have; to be asked before long work."""
    completions, processes = profile.prompts_per_step * profile.group_size, int(os.environ.get("WORLD_SIZE", 1))
    if completions % (profile.micro_batch * processes):
        raise ValueError(
            f"micro_batch {profile.micro_batch} on {processes} process{'es' * (processes > 1)} does not divide the {completions} completions of a step"
        )
    check_algorithm(algorithm)
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number from 1 on, got {steps!r}")
    if rows is not None and rows < profile.prompts_per_step:
        raise ValueError(f"{rows} training rows can be used, and a step takes {profile.prompts_per_step}; give more rows, or lower prompts_per_step")
    return completions


def config(profile: Profile, out: Path, seed: int = 0, steps: int | None = None, **overrides) -> GRPOConfig:
    """TRL's configuration for a profile; `overrides` are GRPOConfig fields.

    A step has the same completions on one process and on several: what one process would do in turns, several do side by side.
    """
    completions, processes = check(profile), int(os.environ.get("WORLD_SIZE", 1))
    cuda = torch.cuda.is_available()
    settings = dict(
        output_dir=str(out), seed=seed, max_steps=steps or profile.steps, per_device_train_batch_size=profile.micro_batch,
        gradient_accumulation_steps=completions // (profile.micro_batch * processes), num_generations=profile.group_size,
        max_completion_length=profile.max_completion_tokens, learning_rate=profile.learning_rate, beta=profile.beta,
        lr_scheduler_type="constant_with_warmup", warmup_steps=5, temperature=1.0, remove_unused_columns=False,
        gradient_checkpointing=profile.gradient_checkpointing, bf16=cuda and profile.dtype == "bfloat16", fp16=cuda and profile.dtype == "float16", use_cpu=not cuda,
        logging_steps=1, save_steps=profile.save_every, save_total_limit=2, report_to=[], disable_tqdm=True, dataloader_pin_memory=cuda,
        ddp_backend="gloo" if processes > 1 and not cuda else None, ddp_find_unused_parameters=False,
    )
    return GRPOConfig(**(settings | overrides))


def trainer_for(
    profile: Profile, model, processor, rows, out: Path, rewards=TEXT_REWARDS, *, seed: int = 0, steps: int | None = None, algorithm: str = "grpo",
    callbacks=(), clips=None, **overrides,
) -> AudioGRPOTrainer:
    """An AudioGRPOTrainer with LoRA at the sizes of the profile. It writes every rollout to `out`/completions.jsonl and prints nothing.

    `rows` come from `data.training_rows`; `overrides` are GRPOConfig fields, `clips` a `Sealed` that knows
    the rows' clips already. With `profile.hear_once` each question is heard once a step.
    """
    check(profile, algorithm, rows=len(rows))
    trainer = (HearOnceTrainer if profile.hear_once else AudioGRPOTrainer)(
        model=model, reward_funcs=list(rewards), args=config(profile, out, seed, steps, **overrides), peft_config=lora(profile), train_dataset=rows,
        processing_class=processor, algorithm=algorithm, rollout_file=Path(out) / ROLLOUTS, callbacks=list(callbacks),
        clips=clips,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer
