"""Where the files of a checkpoint come from, a folder or the hub, and whether they are complete."""

import re
from pathlib import Path

from ..models import CheckpointError
from .sources import SourceError, check_shipped, reported

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# weights and settings; spk_dict.pt holds a talker's voices
FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "spk_dict.pt"]
REMEDY = "check the id and the network, log in if the model is gated, or try again later"


def fetched(model: str | Path) -> Path:
    """The folder of a checkpoint: `model` itself, or the files of a hub id ("owner/name").

    Those are fetched completely, of one commit, into huggingface_hub's cache: once they are there
    a call makes one request, and none is needed. A full checkpoint's talker comes with its thinker,
    since a shard may hold parts of both. Raises SourceError, in one line, if there are no files.
    """
    import huggingface_hub as hub

    if Path(model).is_dir():
        return Path(model)
    check_shipped(model)
    if not HUB_ID.fullmatch(str(model)):
        raise SourceError(f"{model}: no such folder, and no hub id either, which is owner/name")
    wanted = {"allow_patterns": FILES, "ignore_patterns": ["*/*"]}
    with reported(str(model), f"{REMEDY}; what is here already stays"):
        return Path(hub.snapshot_download(str(model), **wanted))


def read_config(folder: Path):
    """The config of a checkpoint, full or thinker alone.

    A file of 2025 says in its text config whether the head is tied; transformers 5 looks for it one
    level above, and would initialise the head at random.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    written, _ = config.get_config_dict(folder)
    text = written.get("thinker_config", written).get("text_config", {})
    if text.get("tie_word_embeddings"):
        thinker_config(config).tie_word_embeddings = True
    return config


def thinker_config(config):
    """The thinker's part of a config, or the config of a thinker alone."""
    return getattr(config, "thinker_config", config)


def check(model, report: dict, *, name: str | Path) -> None:
    """CheckpointError if a parameter of a loaded model is missing in its files, NaN or infinite.

    `report` is the loading info of `from_pretrained`. Of a model that is sharded over several
    processes, those check it that hold the values.
    """
    if missing := sorted(report["missing_keys"]):
        parts = ", ".join(sorted({".".join(key.split(".")[:2]) for key in missing}))
        what = f"{len(missing)} parameters, in {parts}; first {missing[0]}"
        raise CheckpointError(f"{name} lacks {what}")
    held = [(key, value) for key, value in model.named_parameters() if not value.is_meta]
    if broken := [key for key, value in held if not value.isfinite().all()]:
        what = f"NaN or infinite values in {len(broken)} parameters, first {broken[0]}"
        raise CheckpointError(f"{name} holds {what}; fetch it again")


def keep_trainable(model) -> None:
    """Keeps 4-bit weights on a CPU as they are loaded.

    Many CPUs would have bitsandbytes pack them anew at the first evaluation, and no gradient passes
    through them after that.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
