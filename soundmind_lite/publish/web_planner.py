"""The figures that the planner of the pages starts from: profiles, cards, shapes and constants.

`assets/site/live/{memory,timing,planner}.js` are ports of the modules of the same names in `scale`.
They hold the formulas alone; every figure that has a name there comes from here.
"""

from dataclasses import asdict
from pathlib import Path

from ..profiles import ALR, PROFILES
from ..scale import memory, planner, timing
from ..scale.cards import CARDS

MEMORY = ("GB", "INSTRUCTION_TOKENS", "OVERHEAD_GB", "BYTES", "NF4_BYTES", "TILE", "REMEDIES")
TIMING = ("DECODE_SHARE", "TRAIN_SHARE", "LAUNCH", "LAUNCH_4BIT", "MEASUREMENTS", "ANSWERS")
TIMING += ("ROWS", "CLIP_SECONDS", "CONNECTION_GB", "FILE_SECONDS", "CLIP_GB", "CHECKPOINT_GB")
TIMING += ("TALKER_GB",)
PLANNER = ("PROCESSES", "ANSWER_TOKENS")
TEXT = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
TEXT += ("intermediate_size", "vocab_size")
AUDIO = ("d_model", "encoder_ffn_dim")


def figures(folder: Path) -> dict:
    """All that a plan reads: of the profiles with a card of their own, and of the models they name.

    Nothing is written to the folder.
    """
    large = {name: asdict(profile) for name, profile in PROFILES.items() if profile.card}
    models = {profile["model"]: None for profile in large.values()}
    return {
        "profiles": large,
        "cards": {name: asdict(card) for name, card in CARDS.items()},
        "models": {model: shape(model) for model in models},
        "memory": named(memory, MEMORY),
        "timing": named(timing, TIMING),
        "planner": named(planner, PLANNER),
        "ALR": ALR,
    }


def shape(model: str) -> dict:
    """A model's parameter counts, and what the formulas read of its configuration."""
    config = memory.config_of(model)
    return {
        "counts": memory.parameter_counts(model),
        "text": {name: getattr(config.text_config, name) for name in TEXT},
        "audio": {name: getattr(config.audio_config, name) for name in AUDIO},
    }


def named(module, names: tuple[str, ...]) -> dict:
    """The values of a module by name."""
    return {name: getattr(module, name) for name in names}


# {name: function of the folder}, for `live.DATA`
DATA = {"planner": figures}
