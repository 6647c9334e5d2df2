"""Rows for the tiny models of `tiny_families`, and a trainer of one."""

from dataclasses import replace

import numpy as np
import tiny_families
from datasets import Dataset

from soundmind_lite import grpo, profiles
from soundmind_lite.prompts import prompt
from soundmind_lite.runs.guards import GuardedTrainer

RATE = 16_000
PROFILE = replace(
    profiles.get("tiny"),
    num_generations=2,
    prompts_per_step=4,
    per_device_train_batch_size=4,
    max_completion_length=8,
    max_steps=1,
    beta=0.05,
)


def clip(seconds: float, pitch: float) -> np.ndarray:
    """A tone in noise."""
    times = np.arange(int(seconds * RATE)) / RATE
    noise = np.random.default_rng(int(pitch)).normal(size=len(times))
    return (0.2 * np.sin(2 * np.pi * pitch * times) + 0.05 * noise).astype(np.float32)


def clips_for(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A short clip and a longer one, which is of several windows where a family has windows."""
    longer = 4.5 if name in ("Voxtral", "Audio Flamingo 3") else 1.8
    return clip(1.0, 300), clip(longer, 2_000)


def rows_of(name: str) -> Dataset:
    """Two rows with the short clip, one with the longer one, and one without audio."""
    short, longer = clips_for(name)
    audio = [short, None, longer, short]
    rows = [
        dict(
            id=str(i),
            prompt=prompt("Is every robin a bird?" if own is None else None),
            audio=None if own is None else own.tolist(),
        )
        for i, own in enumerate(audio)
    ]
    return Dataset.from_list(rows)


def variety(completions, **_):
    """A reward that differs within every group."""
    return [float(len(set(c[0]["content"]))) for c in completions]


def trainer_of(cls, name, out, rows=None, **overrides):
    model, processor = tiny_families.FAMILIES[name]()
    options = {"rollout_file": out / "rollouts.jsonl"} if issubclass(cls, GuardedTrainer) else {}
    trainer = cls(
        model=model,
        processing_class=processor,
        reward_funcs=[variety],
        train_dataset=rows_of(name) if rows is None else rows,
        peft_config=grpo.lora_config(PROFILE),
        args=grpo.grpo_config(PROFILE, out, save_strategy="no", **overrides),
        **options,
    )
    trainer.of, trainer.gaps, trainer.gaps_without = name, [], []
    return trainer
