"""TRL's GRPOConfig, PEFT's LoraConfig and a trainer, at the sizes of a profile."""

from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig
from transformers import PrinterCallback
from trl import GRPOConfig

from .profiles import Profile
from .rewards import TEXT_REWARDS

# Of the language model alone: plain names, or "all-linear", would also match the encoders'.
LORA_TARGETS = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
ROLLOUTS = "completions.jsonl"


def lora_config(profile: Profile) -> LoraConfig:
    """LoRA on the language model's projections; the audio encoder stays frozen."""
    rank = profile.lora_r
    return LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"
    )


def grpo_config(
    profile: Profile, output_dir, *, seed: int = 0, max_steps: int | None = None, **overrides
) -> GRPOConfig:
    """TRL's configuration for a profile; `overrides` are fields of GRPOConfig. A step has
    prompts_per_step × num_generations completions, on one process or several."""
    from .runs.sizes import check_sizes, world_size  # what doesn't divide is an error

    own = {name: overrides.pop(name) for name in list(overrides) if hasattr(profile, name)}
    profile = replace(profile, **own)
    max_steps = profile.max_steps if max_steps is None else max_steps
    completions = check_sizes(profile, max_steps=max_steps)
    processes = world_size()
    at_once = profile.per_device_train_batch_size * processes
    cuda = torch.cuda.is_available()
    settings = {
        "output_dir": str(output_dir),
        "seed": seed,
        "max_steps": max_steps,
        "num_generations": profile.num_generations,
        "per_device_train_batch_size": profile.per_device_train_batch_size,
        "gradient_accumulation_steps": completions // at_once,
        "max_completion_length": profile.max_completion_length,
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
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": cuda,
        "ddp_backend": "gloo" if processes > 1 and not cuda else None,
        "ddp_find_unused_parameters": False,
        "ds3_gather_for_generation": False,  # no card needs to hold the whole model
    }
    return GRPOConfig(**{**settings, **overrides})


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

    `train_dataset` comes from `data.training_rows`, `peft_config` defaults to `lora_config`,
    `overrides` are fields of GRPOConfig. Every rollout is written to `output_dir`; nothing is
    printed. Raises what `check_sizes` raises.
    """
    from .runs.guards import GuardedTrainer  # guards and logs that the method can do without
    from .runs.sizes import check_sizes

    check_sizes(profile, rows=len(train_dataset) if hasattr(train_dataset, "__len__") else None)
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
