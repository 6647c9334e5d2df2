"""SoundMind in small: audio logical reasoning, learned by rule-based reinforcement learning, from
a laptop up to Qwen2.5-Omni-7B.

The modules of this folder are the method; the packages below hold all else. The names listed here
can be imported from `soundmind_lite` itself, and nothing heavy is loaded before it is used.
"""

from importlib import import_module

__version__ = "0.2.0"

_HOME = {
    "PROFILES": "profiles",
    "Profile": "profiles",
    "load_alr": "data",
    "training_rows": "data",
    "audit": "data",
    "parse_answer": "rewards",
    "answer_reward": "rewards",
    "text_format_reward": "rewards",
    "text_length_reward": "rewards",
    "audio_format_reward": "rewards",
    "audio_length_reward": "rewards",
    "AudioGRPOTrainer": "trainer",
    "grpo_config": "grpo",
    "lora_config": "grpo",
    "trainer_for": "grpo",
    "answer_rows": "evaluation",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
