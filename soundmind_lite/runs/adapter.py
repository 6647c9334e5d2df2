"""The adapter of a run: saved at its end, and merged into the model again."""

from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from .. import models, profiles
from ..profiles import Profile
from .files import RunError
from .folder import read_result
from .processes import processes
from .sharding import is_sharded
from .starting import profile_of_facts

WEIGHTS = Path("adapter") / "adapter_model.safetensors"


def save_adapter(trainer, run: Path):
    """Saves the adapter and returns the trained thinker: in pieces if it's sharded, else as
    `merged` says."""
    state = processes()
    if is_sharded():  # gathers the adapter from all processes
        trainer.save_model(str(run / "adapter"))
    elif state.is_main_process:
        trainer.model.save_pretrained(run / "adapter")
    state.wait_for_everyone()
    model = trainer.model if is_sharded() else merged(trainer.model)
    return model.eval()


def with_adapter(model, run: str | Path):
    """The model with the adapter of a run, as `merged` says; raises what `adapted` raises."""
    return merged(adapted(model, run)).eval()


def adapted(model, run: str | Path) -> PeftModel:
    """The model with the adapter of a run beside it.

    RunError if there is none in safetensors (other formats can hold code), or one that can't be
    read or holds NaN or infinite values.
    """
    file = Path(run) / WEIGHTS
    if not file.is_file():
        what = f"{run} has no {WEIGHTS}, and weights in other formats aren't read"
        raise RunError(f"{what}; train it again")
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise RunError(f"{file} is damaged ({error}); train it again") from error
    broken = [name for name, values in weights.items() if not values.isfinite().all()]
    if broken:
        what = f"{file} holds NaN or infinite values, first {broken[0]}"
        raise RunError(f"{what}; train it again, with a lower learning_rate")
    return PeftModel.from_pretrained(model, str(Path(run) / "adapter"))


def merged(model: PeftModel):
    """The model with its adapter merged into it, which answers faster, if that changes nothing.

    Rounded to 16 or 4 bits the merged weights would lose most of what a small learning rate has
    changed, so there the adapter stays beside them.
    """
    dtypes = {parameter.dtype for parameter in model.get_base_model().parameters()}
    if dtypes == {torch.float32}:
        return model.merge_and_unload()
    return model


def load_trained(run: str | Path):
    """`(model, processor, profile)` of a finished run: the thinker of its profile with its adapter
    merged into it. Whether this machine can run the profile, `scale.doctor` says."""
    profile = profile_of(run)
    model, processor = models.load(profile)
    return with_adapter(model, run), processor, profile


def profile_of(run: str | Path) -> Profile:
    """The profile of a finished run, also one that was never given a name in PROFILES."""
    return profiles.get(profile_of_facts(read_result(run)))
