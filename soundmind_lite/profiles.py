"""Profiles: one dial for model, data, precision and sizes of a run. All run the same code."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent  # of the repository
ASSETS = ROOT / "assets"


@dataclass(frozen=True)
class Profile:
    """All sizes of a run, under TRL's and PEFT's names where they have one.

    `model` is a folder or a hub id, `data` a source for `data.load_alr`, of whose splits a run
    takes `train_rows` and `test_rows` (None: all). `card` is the GPU that the sizes are chosen for,
    of `scale.planner.CARDS`; "" needs none. A step samples `prompts_per_step` × `num_generations`
    completions. `eval`: "full" measures greedy and sampled answers, "short" greedy ones, "none"
    nothing. `shared_prefix` computes a prompt once per step: less time and memory, the same up to
    rounding. `num_threads`: None is torch's choice.
    """

    name: str
    where: str
    model: str
    data: str
    card: str = ""
    dtype: str = "float32"
    load_in_4bit: bool = False
    num_generations: int = 8
    prompts_per_step: int = 4
    per_device_train_batch_size: int = 16
    per_device_eval_batch_size: int = 40
    max_steps: int = 40
    train_rows: int | None = None
    test_rows: int | None = None
    eval: str = "full"
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
    "model": OMNI_7B,
    "data": ALR,
    "dtype": "bfloat16",
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 24,
    "save_steps": 25,
    # ten times the published rate of full fine-tuning, as is usual for LoRA; not run
    "learning_rate": 3e-6,
    "lora_r": 32,
    "max_completion_length": 2048,
    "max_audio_seconds": 180.0,
    "gradient_checkpointing": True,
}
SHORT = LARGE | {"eval": "short", "per_device_eval_batch_size": 8}
SMALL = SHORT | {"load_in_4bit": True, "prompts_per_step": 2, "save_steps": 10, "test_rows": 256}
# The longest question of dev and test has about 103 s. Longer answers are cut, unlike longer clips
SMALL |= {"max_audio_seconds": 120.0, "max_completion_length": 1024}
TURING = SMALL | {"model": OMNI_3B, "dtype": "float16", "test_rows": 192}  # T4: no bfloat16
# Steps, and a question for each of their prompts, that end within a session on the card
_ALL = (
    # one thread; a training takes another while it finds a core free (`runs.second_thread`)
    Profile("tiny", "any laptop, no GPU", str(ASSETS / "tiny_omni"), "mini", num_threads=1),
    Profile("t4", "Colab's GPU, 16 GB", card="T4", max_steps=90, train_rows=180, **TURING),
    Profile("l4", "Colab, or a card of 24 GB", card="L4", max_steps=120, train_rows=240, **SMALL),
    Profile("a100", "Colab, 40 GB", card="A100-40GB", max_steps=150, train_rows=600, **SHORT),
    Profile("48gb", "A40, A6000 or L40S", card="A40", max_steps=250, train_rows=1000, **SHORT),
    Profile("80gb", "one A100 or H100", card="A100", max_steps=420, train_rows=1680, **LARGE),
    Profile("multi", "several GPUs", card="A100", max_steps=600, train_rows=2400, **LARGE),
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
