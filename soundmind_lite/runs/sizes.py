"""Sizes of a run that don't go together are an error before anything is loaded."""

import os

from ..profiles import Profile


def world_size() -> int:
    """The processes that accelerate or torchrun started; 1 without them."""
    return int(os.environ.get("WORLD_SIZE", 1))


def check_sizes(profile: Profile, *, max_steps: int = 1, rows: int | None = None) -> int:
    """The completions of a step; ValueError if the batch doesn't divide them or rows are few."""
    completions = profile.prompts_per_step * profile.num_generations
    batch, processes = profile.per_device_train_batch_size, world_size()
    if completions % (batch * processes):
        at_once = f"per_device_train_batch_size {batch} × {processes} process(es)"
        raise ValueError(f"{at_once} does not divide the {completions} completions of a step")
    if not isinstance(max_steps, int) or max_steps < 1:
        raise ValueError(f"max_steps must be a whole number from 1 on, got {max_steps!r}")
    if rows is not None and rows < profile.prompts_per_step:
        needed = f"a step takes {profile.prompts_per_step}; give more, or lower prompts_per_step"
        raise ValueError(f"{rows} training rows can be used, and {needed}")
    return completions
