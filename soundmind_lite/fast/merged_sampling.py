"""Sampling with the adapter merged into its weights: one matrix product a layer instead of three.

A step samples dozens of tokens one after the other, and each passes every LoRA layer.
"""

from contextlib import contextmanager, nullcontext

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer


@contextmanager
def adapter_merged(model: PeftModel):
    """While inside, the weights of a PEFT model hold their adapter; afterwards they are as they
    were, to the bit (unmerging alone would leave rounding behind)."""
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    weights = [layer.get_base_layer().weight for layer in layers]
    before = [weight.detach().clone() for weight in weights]
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()
        with torch.no_grad():
            for weight, values in zip(weights, before):
                weight.copy_(values)


def in_float32(model) -> bool:
    """Whether all parameters are, so that merging only reorders sums. Rounded to 16 or 4 bits,
    merged weights would lose most of what a small learning rate has changed."""
    return {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def changes_nothing(model) -> bool:
    """Whether a PEFT model samples the same when it is merged: in float32, and without dropout."""
    if not isinstance(model, PeftModel):
        return False
    dropout = any(config.lora_dropout for config in model.peft_config.values())
    return in_float32(model) and not dropout


def merged_where_exact(model):
    """`adapter_merged` where that `changes_nothing`, else nothing."""
    return adapter_merged(model) if changes_nothing(model) else nullcontext()


class MergedSampling:
    """Mixin for AudioGRPOTrainer: samples with the adapter merged, where `changes_nothing`."""

    def _generate_single_turn(self, *args, **kwargs):
        model = self.accelerator.unwrap_model(self.model)
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        with nullcontext() if sharded else merged_where_exact(model):
            return super()._generate_single_turn(*args, **kwargs)
