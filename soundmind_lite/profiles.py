"""Profiles: one dial that changes sizes and nothing else. The code for the tiny model and for Qwen2.5-Omni-7B is the same."""
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the repository
ASSETS = ROOT / "assets"


@dataclass(frozen=True)
class Profile:
    """All sizes of a run.

    `model` is a folder or a hub id, `data` a source of `data.load_alr`. A step samples `prompts_per_step × group_size` completions;
    `micro_batch` of them go through a forward and backward pass at a time. `hear_once`: a question is heard once a step and not by each completion
    (see `hear_once`), which changes time and nothing else. `threads` is for the CPU, `None` leaves torch's choice.
    """

    name: str
    where: str
    model: str
    data: str
    gpu_gb: int = 0
    dtype: str = "float32"
    four_bit: bool = False
    group_size: int = 8
    prompts_per_step: int = 4
    micro_batch: int = 16
    steps: int = 40
    learning_rate: float = 1e-3
    beta: float = 0.001
    lora_rank: int = 16
    max_completion_tokens: int = 100
    max_audio_seconds: float = 12.0
    evaluation_batch: int = 40
    save_every: int = 20
    gradient_checkpointing: bool = False
    hear_once: bool = True
    threads: int | None = None


ALR = "SoundMind-RL/SoundMindDataset"
OMNI_3B, OMNI_7B = "Qwen/Qwen2.5-Omni-3B", "Qwen/Qwen2.5-Omni-7B"
LARGE = dict(
    # ten times the published rate of full fine-tuning, as is usual for LoRA; not run
    data=ALR, dtype="bfloat16", micro_batch=1, steps=500, learning_rate=3e-6, lora_rank=32, max_completion_tokens=2048,
    max_audio_seconds=180.0, evaluation_batch=4, save_every=50, gradient_checkpointing=True,
)

PROFILES: dict[str, Profile] = {
    p.name: p
    for p in (
        # measured on two cores: a step takes 1.0 s with one thread in fp32, 1.5 s with two (so small a model waits for itself), 1.1 s in bfloat16
        Profile("tiny", "any laptop, no GPU", str(ASSETS / "tiny_omni"), "mini", threads=1),
        Profile("t4", "Colab, 16 GB", OMNI_3B, gpu_gb=15, four_bit=True, prompts_per_step=1, **LARGE | dict(dtype="float16")),  # a T4 has no bfloat16
        Profile("l4", "Colab or a workstation, 24 GB", OMNI_7B, gpu_gb=22, four_bit=True, prompts_per_step=1, **LARGE),
        Profile("80gb", "one A100 or H100", OMNI_7B, gpu_gb=78, prompts_per_step=4, **LARGE),
        Profile("multi", "several GPUs through accelerate", OMNI_7B, gpu_gb=78, prompts_per_step=4, **LARGE),
    )
}


def get(name: str) -> Profile:
    """The profile of that name; ValueError lists the names there are."""
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
