"""The memory of this process: its peak, and giving back what was freed."""

import contextlib
import sys


def peak_memory_mb() -> float:
    """The largest resident memory of this process so far."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kB


def return_freed_memory() -> None:
    """Hands freed memory back to the system where glibc would keep it: tensors of ever new sizes
    fragment it, and a run would grow by half."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
