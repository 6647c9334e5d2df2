"""Work for a core that would be idle: a forked process beside this one."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import current_process, get_context

import torch

from ..speech.workers import WORKER_GB, free_memory_gb
from .processes import processes

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def second_core() -> bool:
    """Whether this process computes alone, with one torch thread on a CPU, and could have another
    core. Only on Linux."""
    from joblib import cpu_count  # heeds affinity and the limits of a container

    on_cpu = sys.platform == "linux" and not torch.cuda.is_available()
    alone = processes().num_processes == 1 and torch.get_num_threads() == 1
    return on_cpu and alone and cpu_count() > 1


def core_is_free() -> bool:
    """Whether a forked process would find a core and memory. A fork of a process with CUDA can
    hang, and so can one that computes with more than one OpenMP thread."""
    may_fork = not current_process().daemon  # those may not
    return may_fork and second_core() and free_memory_gb() > WORKER_GB


@contextmanager
def beside(task: Callable[[], None] | None):
    """Runs the task in a forked process while the body runs, if there is one and a core is free;
    yields whether it does.

    The task must leave its results in files: what it returns, prints or raises is lost. So the
    caller does afterwards whatever isn't done, and meets any error again.
    """
    if task is None or not core_is_free():
        yield False
        return
    process = get_context("fork").Process(target=_quietly, args=(task, os.getpid()), daemon=True)
    process.start()
    try:
        yield True
        process.join()
    finally:
        process.kill()
        process.join()


def _quietly(task: Callable[[], None], parent: int) -> None:
    import ctypes

    # it ends with the process that started it, however that ends
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; the parent decides
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            task()
    finally:
        os._exit(0)  # no handlers of the parent: they would release its locks
