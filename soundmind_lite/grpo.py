"""TRL's GRPOConfig, PEFT's LoraConfig and a trainer, at the sizes of a profile."""

import os
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PrinterCallback
from trl import GRPOConfig

from .profiles import Profile
from .rewards import TEXT_REWARDS
from .trainer import check_algorithm

# The projections of the language model alone: plain names, or "all-linear", would also match those
# of the audio and vision encoders.
LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
ROLLOUTS = "completions.jsonl"


def lora_config(profile: Profile) -> LoraConfig:
    """LoRA on the language model's projections; the audio encoder stays frozen."""
    return LoraConfig(
        r=profile.lora_r,
        lora_alpha=2 * profile.lora_r,
        lora_dropout=0.0,
        target_modules=LORA_TARGETS,
        task_type="CAUSAL_LM",
    )


def grpo_config(
    profile: Profile,
    output_dir: str | Path,
    *,
    seed: int = 0,
    max_steps: int | None = None,
    **overrides,
) -> GRPOConfig:
    """TRL's configuration for a profile; `overrides` are fields of GRPOConfig.

    A step has the same completions on one process and on several: what one process would do in
    turns, several do side by side.
    """
    completions = check_sizes(profile)
    processes = process_count()
    cuda = torch.cuda.is_available()
    settings = {
        "output_dir": str(output_dir),
        "seed": seed,
        "max_steps": max_steps or profile.max_steps,
        "num_generations": profile.num_generations,
        "per_device_train_batch_size": profile.per_device_train_batch_size,
        "gradient_accumulation_steps": completions
        // (profile.per_device_train_batch_size * processes),
        "max_completion_length": profile.max_completion_length,
        "temperature": 1.0,
        "beta": profile.beta,
        "learning_rate": profile.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "gradient_checkpointing": profile.gradient_checkpointing,
        "bf16": cuda and profile.dtype == "bfloat16",
        "fp16": cuda and profile.dtype == "float16",
        "use_cpu": not cuda,
        "remove_unused_columns": False,
        "logging_steps": 1,
        "save_steps": profile.save_steps,
        "save_total_limit": 2,
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
        "ddp_backend": "gloo" if processes > 1 and not cuda else None,
        "ddp_find_unused_parameters": False,
    }
    return GRPOConfig(**(settings | overrides))


def trainer_for(
    profile: Profile,
    model,
    *,
    processing_class,
    train_dataset,
    output_dir: str | Path,
    reward_funcs=TEXT_REWARDS,
    eval_dataset=None,
    peft_config: LoraConfig | None = None,
    seed: int = 0,
    max_steps: int | None = None,
    algorithm: str = "grpo",
    callbacks=(),
    **overrides,
):
    """The trainer of a run at the sizes of a profile: AudioGRPOTrainer, guarded and logged.

    `train_dataset` comes from `data.training_rows`. Every rollout is written to
    `output_dir`/completions.jsonl; nothing is printed. `peft_config` defaults to `lora_config`;
    `overrides` are fields of GRPOConfig. Raises ValueError for sizes that no step can have.
    """
    from .runs.guards import GuardedTrainer  # guards and logs that the method can do without

    check_algorithm(algorithm)
    check_sizes(profile, rows=len(train_dataset))
    trainer = GuardedTrainer(
        model=model,
        reward_funcs=reward_funcs,
        args=grpo_config(profile, output_dir, seed=seed, max_steps=max_steps, **overrides),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        processing_class=processing_class,
        callbacks=list(callbacks),
        peft_config=peft_config or lora_config(profile),
        algorithm=algorithm,
        rollout_file=Path(output_dir) / ROLLOUTS,
    )
    if not profile.shared_prefix:
        trainer.share(False)
    trainer.remove_callback(PrinterCallback)
    return trainer


def check_sizes(profile: Profile, *, max_steps: int = 1, rows: int | None = None) -> int:
    """The completions of a step; ValueError for sizes, steps or rows that no run can have."""
    completions = profile.prompts_per_step * profile.num_generations
    batch = profile.per_device_train_batch_size
    if completions % (batch * process_count()):
        at_once = f"per_device_train_batch_size {batch} × {process_count()} process(es)"
        raise ValueError(f"{at_once} does not divide the {completions} completions of a step")
    if not isinstance(max_steps, int) or max_steps < 1:
        raise ValueError(f"max_steps must be a whole number from 1 on, got {max_steps!r}")
    if rows is not None and rows < profile.prompts_per_step:
        needed = f"a step takes {profile.prompts_per_step}"
        remedy = "give more rows, or lower prompts_per_step"
        raise ValueError(f"{rows} training rows can be used, and {needed}; {remedy}")
    return completions


def process_count() -> int:
    """Processes that torchrun or accelerate started; 1 if none did."""
    return int(os.environ.get("WORLD_SIZE", 1))
