"""FSDP2 and ZeRO-3: a model in pieces on several GPUs, none of which could hold it.

The weights are loaded into CPU memory (FSDP2: by one process of each machine; ZeRO-3: by each
process) and spread over the GPUs before the first measurement. From then on measurements, training
and saving gather one layer at a time. `fsdp.yaml` and `zero3.yaml` in assets/launch ask for it.
What it leaves out: the shared prefix, 4 bits, and the talker, which reads a whole thinker.
"""

from pathlib import Path

from accelerate.utils import parse_flag_from_env
from transformers.distributed.fsdp import is_fsdp_enabled
from transformers.distributed.utils import is_local_dist_rank_0

from ..profiles import Profile
from .files import RunError


def is_sharded() -> bool:
    """Do the processes share one model? The launcher says so before anything is loaded."""
    return any(parse_flag_from_env(f"ACCELERATE_USE_{name}") for name in ("FSDP", "DEEPSPEED"))


def placement() -> dict:
    """The option of `from_pretrained` for a process that loads no weights: under FSDP2 it gets its
    pieces from process 0."""
    return {"device_map": "meta"} if is_fsdp_enabled() and not is_local_dist_rank_0() else {}


def check_sharding(profile: Profile, speaks: bool) -> None:
    """RunError for what needs a whole model in each process, if the model is sharded."""
    from ..speech.talker import has_talker

    if not is_sharded():
        return
    if profile.load_in_4bit:
        what = f"profile {profile.name} has 4-bit weights, which aren't sharded"
        raise RunError(f"{what}; launch with ddp.yaml")
    if speaks and has_talker(profile):
        what = "the talker needs all parameters of the thinker in each process"
        raise RunError(f"{what}; launch with ddp.yaml, or train with written answers")


def prepared(trainer, checkpoint: Path | None = None):
    """The trainer's model as it is trained, to be measured before that.

    A sharded one is in pieces, with the adapter of the checkpoint; train() prepares any other.
    """
    if not is_sharded():
        return trainer.model
    # accelerate finds the optimizer's parameters by their addresses, which "meta" doesn't have
    for module in trainer.model.modules():
        if any(own.is_meta and own.requires_grad for own in module.parameters(recurse=False)):
            module.to_empty(device="cpu", recurse=False)
    start = str(checkpoint) if checkpoint else None
    model, _ = trainer._prepare_for_training(trainer.args.max_steps, None, start)

    def already_prepared(max_steps, train_dataloader, resume_from_checkpoint):
        return model, train_dataloader

    def keep(*objects):
        return objects

    trainer._prepare_for_training = already_prepared
    trainer.accelerator.free_memory = keep  # train() would drop what is prepared
    return trainer.model
