"""This process among those that accelerate or torchrun started."""

from collections.abc import Sequence
from datetime import timedelta

import torch
from accelerate import PartialState

LONGEST_WAIT = timedelta(hours=3)  # one process fetches ALR while the others wait


def processes() -> PartialState:
    """The state of all processes; of this one alone if nothing started several."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def share(items: Sequence) -> list:
    """This process's part of the items. All parts are equally long, since processes that share a
    model take the same number of forward passes; so the first items may be in two parts."""
    if not items:
        return []
    state = processes()
    size = -(-len(items) // state.num_processes)
    positions = range(state.process_index, size * state.num_processes, state.num_processes)
    return [items[position % len(items)] for position in positions]
