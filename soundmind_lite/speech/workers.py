"""How many worker processes may speak and transcribe: one a core, as far as memory goes."""

import os
from functools import cache
from pathlib import Path

# A worker holds voice, voice activity detection and Whisper: 0.6 GB after a minute of speech.
WORKER_GB = 1.0
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def worker_count(cores: int, free_gb: float, *, trainers: int = 1) -> int:
    """A worker for each core, as far as each finds `WORKER_GB` of free memory; one at least.

    `trainers` is the number of processes that train here, which share both.

    >>> worker_count(32, 1.6), worker_count(2, 20.0), worker_count(32, 64.0, trainers=8)
    (1, 2, 4)
    """
    return max(1, min(cores, int(free_gb / WORKER_GB)) // trainers)


def free_memory_gb(
    own_groups: Path = Path("/proc/self/cgroup"), control_groups: Path = CONTROL_GROUPS
) -> float:
    """Memory that this process may still take: of the machine, its container or its job (GB)."""
    import psutil

    free = [psutil.virtual_memory().available]
    for folder in _groups(own_groups, control_groups):
        # control groups of version 2 and 1
        for limit, used, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                rest = _number(folder / limit) - _number(folder / used)
                statistics = (folder / "memory.stat").read_text().split()
                # pages of files, which the system drops as soon as it needs the memory
                free.append(rest + int(statistics[statistics.index(cached) + 1]))
            except (OSError, ValueError):  # no such group, or "max": no limit
                continue
    return max(0, min(free)) / 1e9


def _groups(own_groups: Path, control_groups: Path) -> list[Path]:
    """The folders of the control groups that may limit this process; none except on Linux."""
    folders = []
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = control_groups / controllers
            own = top / path.lstrip("/")
            folders += [folder for folder in (own, *own.parents) if folder.is_relative_to(top)]
    return folders


def _number(file: Path) -> int:
    return int(file.read_text())


@cache
def workers_here() -> int:
    """The worker processes of this process, decided once: another count would restart them."""
    from joblib import cpu_count  # heeds affinity and the limits of a container

    trainers = int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # set by torchrun and accelerate
    return worker_count(cpu_count(), free_memory_gb(), trainers=trainers)
