"""Worker processes: as many as cores and memory allow."""

import os
import subprocess
import sys

import pytest

from soundmind_lite.speech import workers


@pytest.mark.parametrize(
    ("cores", "free_gb", "trainers", "expected"),
    [
        (32, 1.6, 1, 1), (32, 0.3, 1, 1), (32, 8.9, 1, 8), (2, 20.0, 1, 2), (1, 64.0, 1, 1),
        (96, 500.0, 1, 96), (96, 500.0, 8, 12), (32, 9.0, 8, 1), (2, 20.0, 2, 1),
    ],
)  # fmt: skip
def test_workers_are_bounded_by_cores_and_by_memory(cores, free_gb, trainers, expected):
    assert workers.worker_count(cores, free_gb, trainers=trainers) == expected


def group(folder, *, names, limit, used, statistics):
    folder.mkdir(parents=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(statistics)


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
V2 = ("memory.max", "memory.current")


def test_a_container_of_version_2_limits_the_memory(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/job/step\n")
    top = tmp_path / "groups"
    machine = workers.free_memory_gb(own, top)  # no such group: that of the machine
    cached = "anon 5\ninactive_file 200000000\n"
    group(top / "job", names=V2, limit=1_000_000_000, used=900_000_000, statistics=cached)
    assert workers.free_memory_gb(own, top) == pytest.approx(0.3)
    group(top / "job" / "step", names=V2, limit="max", used=1, statistics=cached)
    assert workers.free_memory_gb(own, top) == pytest.approx(0.3)
    (top / "job" / "step" / "memory.max").write_text("100000000")
    (top / "job" / "step" / "memory.current").write_text("300000000")  # no less than nothing
    assert workers.free_memory_gb(own, top) == 0
    assert machine > 0.3


def test_a_container_of_version_1_limits_the_memory(tmp_path):
    own = tmp_path / "own"
    own.write_text("5:cpu:/job\n4:memory:/job\n0::/\n")
    statistics = "cache 9\ntotal_inactive_file 0\n"
    folder = tmp_path / "groups" / "memory" / "job"
    group(folder, names=V1, limit=600_000_000, used=400_000_000, statistics=statistics)
    assert workers.free_memory_gb(own, tmp_path / "groups") == pytest.approx(0.2)


def test_without_control_groups_the_machine_counts(tmp_path):
    import psutil

    found = workers.free_memory_gb(tmp_path / "none", tmp_path)
    assert found == pytest.approx(psutil.virtual_memory().available / 1e9, rel=0.2)


def test_workers_fit_the_cores_that_this_process_may_use():
    """On one core, as after `taskset -c 0`, there is one."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("no affinity on this system")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from soundmind_lite.speech.workers import workers_here; print(workers_here())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "1"
