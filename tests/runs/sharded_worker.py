"""A small run under FSDP2 or ZeRO-3 on CPUs, in the processes of accelerate's launcher.

`sharded_worker.py OUT DATA [options of run_worker.py]`. Each process prints a JSON line with what
it has loaded, and one for each measurement with what it holds of the model and where answers stop.
"""

import json
import os
import sys

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType

# What is forced, all of it here. Accelerate shards a model on GPUs alone: gloo on CPUs passes for
# them, and what follows is what happens there.
os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
start = PartialState.__init__


def start_as_on_gpus(self, cpu=False, **kwargs):
    start(self, cpu=False, **kwargs)


PartialState.__init__ = start_as_on_gpus
PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
    import deepspeed
    from deepspeed.runtime.zero.parameter_offload import DeepSpeedZeRoOffload

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # would be compiled now
    # it keeps parameters of fewer than 100,000 values in each process: all of tiny_omni
    DeepSpeedZeRoOffload.mark_persistent_parameters = lambda *_: []

import run_worker  # noqa: E402

from soundmind_lite import models  # noqa: E402
from soundmind_lite.runs import measuring  # noqa: E402

load_thinker, measure = models.load_thinker, measuring.measure


def report(**facts):
    sys.stdout.write(json.dumps({"rank": os.environ["RANK"], **facts}) + "\n")
    sys.stdout.flush()


def load_and_report(*args, **kwargs):
    model = load_thinker(*args, **kwargs)
    report(loaded=sorted({str(parameter.device) for parameter in model.parameters()}))
    return model


def report_and_measure(model, label, **kwargs):
    parameters = list(model.parameters())
    held = sum(getattr(parameter, "_local_tensor", parameter).numel() for parameter in parameters)
    size = sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in parameters)
    config = model.generation_config
    # answers end apart: the second process needs five more forward passes for this one
    tokens = 2 + 5 * int(os.environ["RANK"])
    ids = torch.full((1, 2), config.eos_token_id[0])
    lengths = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, **lengths)
    report(label=label, held=held / size, eos=config.eos_token_id, pad=config.pad_token_id)
    return measure(model, label, **kwargs)


def main(arguments: list[str]) -> None:
    given = ("ACCELERATE_", "FSDP_", "OMP_")
    launch = {name: value for name, value in os.environ.items() if name.startswith(given)}
    report(launch=launch)
    models.load_thinker = load_and_report
    measuring.measure = report_and_measure
    run_worker.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
