"""This process among those that accelerate or torchrun started."""

from datetime import timedelta

import torch
from accelerate import PartialState

LONGEST_WAIT = timedelta(hours=3)  # one process fetches ALR while the others wait


def processes() -> PartialState:
    """The state of all processes; of this one alone if nothing started several."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
