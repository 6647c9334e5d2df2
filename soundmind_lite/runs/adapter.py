"""The adapter of a run or a checkpoint: saved, found, and merged into the model again."""

import warnings
from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from .. import models, profiles
from ..fast.merged_sampling import in_float32
from ..profiles import Profile
from .checkpoints import checkpoints
from .files import FACTS, RESULT, RunError, read_json
from .folder import read_result
from .processes import processes
from .sharding import is_sharded
from .starting import profile_of_facts
from .usage import describe

ADAPTER, WEIGHTS, CONFIG = "adapter", "adapter_model.safetensors", "adapter_config.json"


def save_adapter(trainer, run: Path):
    """Saves the adapter and returns the trained thinker: in pieces if it's sharded, else as
    `merged` says."""
    state = processes()
    if is_sharded():  # gathers the adapter from all processes
        trainer.save_model(str(run / ADAPTER))
    elif state.is_main_process:
        trainer.model.save_pretrained(run / ADAPTER)
    if state.is_main_process and (run / FACTS).is_file():  # else the folder of a trainer alone
        shown = {"model": trainer.model, "processor": trainer.processing_class}
        describe(run, run / ADAPTER, **shown, tokens=trainer.args.max_completion_length)
    state.wait_for_everyone()
    model = trainer.model if is_sharded() else merged(trainer.model)
    return model.eval()


def with_adapter(model, run: str | Path):
    """The model with the adapter of a run, as `merged` says; raises what `adapted` raises."""
    return merged(adapted(model, run)).eval()


def adapted(model, run: str | Path) -> PeftModel:
    """The model with the adapter of a run, or of `adapter_folder`, beside it.

    RunError if there is none in safetensors (other formats can hold code), or one that can't be
    read or holds NaN or infinite values.
    """
    folder = adapter_folder(run)
    file = folder / WEIGHTS
    if not file.is_file():
        what = f"{run} has no {ADAPTER}/{WEIGHTS}, and weights in other formats aren't read"
        raise RunError(f"{what}; train it again")
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise RunError(f"{file} is damaged ({error}); train it again") from error
    broken = [name for name, values in weights.items() if not values.isfinite().all()]
    if broken:
        what = f"{file} holds NaN or infinite values, first {broken[0]}"
        raise RunError(f"{what}; train it again, with a lower learning_rate")
    base = read_json(folder / CONFIG, "base_model_name_or_path")["base_model_name_or_path"]
    if base and Path(base).name != Path(model.name_or_path).name:
        what = f"{folder} was trained on {base}, and is put on {model.name_or_path}"
        warnings.warn(f"{what}; give model={base!r} if that isn't the same", stacklevel=2)
    return PeftModel.from_pretrained(model, str(folder))


def adapter_folder(run: str | Path) -> Path:
    """Where an adapter lies: `adapter/` of a run, the folder itself, or the last checkpoint of a
    trainer that was no run; `adapter/` if there is none."""
    run = Path(run)
    folders = [run / ADAPTER, run]
    if not (run / FACTS).exists():
        folders += reversed(checkpoints(run))
    return next((folder for folder in folders if (folder / WEIGHTS).is_file()), folders[0])


def merged(model: PeftModel):
    """The model with its adapter merged into it, which answers faster; beside it where merging
    would round (`in_float32`)."""
    return model.merge_and_unload() if in_float32(model) else model


def load_trained(run: str | Path):
    """`(model, processor, profile)` of a finished run: the thinker of its profile with its adapter
    merged into it. Also of a checkpoint, and of what a trainer wrote that was no run, for which the
    profile is tiny. Whether this machine can run the profile, `scale.doctor` says."""
    profile = profile_of(run) or profiles.get("tiny")
    model, processor = models.load(profile)
    return with_adapter(model, run), processor, profile


def profile_of(run: str | Path) -> Profile | None:
    """The profile of a finished run, or of the run that a checkpoint is of, also one that was never
    given a name in PROFILES. None for an adapter of a trainer that was no run; RunError for any
    other folder."""
    run, folder = Path(run), adapter_folder(run)
    is_run = (run / RESULT).exists() or (run / FACTS).exists()
    if is_run or not (folder / WEIGHTS).is_file():
        return profiles.get(profile_of_facts(read_result(run)))
    facts = folder.parent / FACTS
    return profiles.get(profile_of_facts(read_json(facts, "profile"))) if facts.exists() else None
