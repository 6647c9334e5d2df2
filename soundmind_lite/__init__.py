"""A small SoundMind: audio logical reasoning, learned by rule-based reinforcement learning.

The modules of this folder are the method; the packages below hold all else. The names listed here
can be imported from `soundmind_lite` itself, and nothing heavy is loaded before it is used.
"""

from importlib import import_module

__version__ = "0.2.0"

_NAMES = {
    "profiles": ("PROFILES", "Profile"),
    "data": ("audit", "load_alr", "training_rows"),
    "rewards": ("answer_reward", "parse_answer", "text_format_reward", "text_length_reward"),
    "speech.rewards": ("audio_format_reward", "audio_length_reward"),
    "trainer": ("AudioGRPOTrainer",),
    "grpo": ("grpo_config", "lora_config", "trainer_for"),
    "evaluation": ("answer_rows",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
