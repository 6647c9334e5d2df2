"""Profiles: one dial for model, data, precision and sizes of a run. All run the same code."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the repository
ASSETS = ROOT / "assets"


@dataclass(frozen=True)
class Profile:
    """All sizes of a run, under TRL's and PEFT's names where they have one.

    `model` is a folder or a hub id, `data` a source for `data.load_alr`. A step samples
    `prompts_per_step` × `num_generations` completions. `shared_prefix` computes a prompt once per
    step: less time and memory, the same up to rounding. `num_threads`: None is torch's choice.
    """

    name: str
    where: str
    model: str
    data: str
    gpu_gb: int = 0
    dtype: str = "float32"
    load_in_4bit: bool = False
    num_generations: int = 8
    prompts_per_step: int = 4
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 40
    max_steps: int = 40
    save_steps: int = 20
    learning_rate: float = 1e-3
    beta: float = 0.001
    lora_r: int = 16
    max_completion_length: int = 100  # tokens
    max_audio_seconds: float = 12.0
    gradient_checkpointing: bool = False
    shared_prefix: bool = True
    num_threads: int | None = None


ALR = "SoundMind-RL/SoundMindDataset"
OMNI_3B, OMNI_7B = "Qwen/Qwen2.5-Omni-3B", "Qwen/Qwen2.5-Omni-7B"
LARGE = {
    "data": ALR,
    "dtype": "bfloat16",
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 4,
    "max_steps": 500,
    "save_steps": 50,
    # ten times the published rate of full fine-tuning, as is usual for LoRA; not run
    "learning_rate": 3e-6,
    "lora_r": 32,
    "max_completion_length": 2048,
    "max_audio_seconds": 180.0,
    "gradient_checkpointing": True,
}
SMALL_CARD = LARGE | {"load_in_4bit": True, "prompts_per_step": 1}
TURING = SMALL_CARD | {"dtype": "float16"}  # a T4 has no bfloat16

_ALL = (
    # one thread is faster for so small a model: 1.0 s a step, 1.5 s with two
    Profile("tiny", "any laptop, no GPU", str(ASSETS / "tiny_omni"), "mini", num_threads=1),
    Profile("t4", "Colab, 16 GB", OMNI_3B, gpu_gb=15, **TURING),
    Profile("l4", "Colab or a workstation, 24 GB", OMNI_7B, gpu_gb=22, **SMALL_CARD),
    Profile("80gb", "one A100 or H100", OMNI_7B, gpu_gb=78, **LARGE),
    Profile("multi", "several GPUs through accelerate", OMNI_7B, gpu_gb=78, **LARGE),
)
PROFILES: dict[str, Profile] = {profile.name: profile for profile in _ALL}


def get(profile: str | Profile) -> Profile:
    """The profile of that name, or the profile itself; ValueError lists the names there are."""
    if isinstance(profile, Profile):
        return profile
    return PROFILES[one_of(PROFILES, profile, what="profile")]


def one_of(allowed, value, *, what: str):
    """The value, if it is one of those allowed; ValueError lists them."""
    if value not in allowed:
        raise ValueError(
            f"there is no {what} {value!r}; choose one of {', '.join(map(str, allowed))}"
        )
    return value
