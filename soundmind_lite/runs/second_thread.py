"""A second thread for training on a CPU, while a core is free for it.

The numbers are the same with one thread and with two: only what each computes is divided. The time
is not. A thread of OpenMP (GNU's, on Linux) that waits for the other looks again and again, and on
a core that it shares it takes the time that the other needs: beside other work a step can last
several times as long as with one thread. So a thread that waits is to sleep soon, which is set
before torch is loaded (`let_threads_sleep`), and where there was no second core, one thread goes on
alone for a while.
"""

import os
import sys
import time
from contextlib import contextmanager

WAITING = "GOMP_SPINCOUNT"  # how often a thread looks before it sleeps
LOOKS = 3000  # 1,000 gave away a third of the gain; the default, 300,000, was worse beside others
FREE = 1.4  # cores that two threads get if one of them isn't busy with other work
ALONE = 40  # micro-batches with one thread, after which two are tried again


def let_threads_sleep() -> None:
    """To be called before torch is loaded. What the user has set stays."""
    if "OMP_WAIT_POLICY" not in os.environ and "torch" not in sys.modules:
        os.environ.setdefault(WAITING, str(LOOKS))
    # those of other libraries, which don't know the other variable
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

    asked_for_one = os.environ.get("OMP_NUM_THREADS") == "1"
    return WAITING in os.environ and not asked_for_one and second_core()
