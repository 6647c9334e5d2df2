"""A second thread for training on a CPU, while a core is free for it.

A step of the tiny profile computes the same numbers with one thread and with two, to the bit; a
test holds that. (Other sums may be taken in another order, as for the gradients of a trained
LayerNorm.) Only the time differs. A thread of GNU's OpenMP, on Linux, spins while it waits for the
other, and on a core that it shares it takes the time that the other needs: beside other work a step
can last several times as long as with one thread. So waiting threads are told to sleep soon, before
torch is loaded (`let_threads_sleep`), and after a micro-batch without a second core, training goes
on with one thread for a while.
"""

import os
import sys
import time
from contextlib import contextmanager

WAITING = "GOMP_SPINCOUNT"  # spins before a waiting thread sleeps
SPINS = 3000  # 1,000 give away a third of the gain; 300,000, the default, cost most beside others
FREE = 1.4  # cores that two threads must have used; with fewer, other work holds one
ALONE = 20  # micro-batches with one thread, after which two are tried again


def let_threads_sleep() -> None:
    """To be called before torch is loaded. What the user has set stays."""
    if "OMP_WAIT_POLICY" not in os.environ and "torch" not in sys.modules:
        os.environ.setdefault(WAITING, str(SPINS))
    # for OpenMP runtimes that ignore GOMP_SPINCOUNT
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class SecondThread:
    """`alone` is how many micro-batches are still to come with one thread."""

    def __init__(self):
        self.alone = 0

    @contextmanager
    def while_free(self):
        """Two threads of torch inside, where a second core can be had."""
        if self.alone or not possible():
            self.alone = max(0, self.alone - 1)
            yield
            return
        import torch

        wall, cpu = time.perf_counter(), time.process_time()
        torch.set_num_threads(2)
        try:
            yield
        finally:
            torch.set_num_threads(1)
        if time.process_time() - cpu < FREE * (time.perf_counter() - wall):
            self.alone = ALONE


def possible() -> bool:
    """Whether threads sleep soon, and this process has one and a core for another."""
    from .beside import second_core  # torch, which would be too early above

    # a user's OMP_NUM_THREADS=1 holds
    asked_for_one = os.environ.get("OMP_NUM_THREADS") == "1"
    return WAITING in os.environ and not asked_for_one and second_core()
