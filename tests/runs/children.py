"""Small runs in processes of their own that cost no imports: forks of one that has them. A fixture.

`run_worker.py` is what they run, and says what they can be told.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

import pytest
from conftest import ROOT

WORKER = str(ROOT / "tests" / "runs" / "run_worker.py")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "WORLD_SIZE"} | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
    "DS_ACCELERATOR": "cpu",
}


@dataclass
class Ended:
    """How a run ended: 0, the number of a signal, or minus an exit code; how many files and folders
    it changed; and what it printed."""

    code: int
    changes: int
    log: str


def rendezvous(processes: int) -> list[dict[str, str]]:
    """What torchrun tells each process of a run on one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": processes}
    shared["LOCAL_WORLD_SIZE"] = processes
    places = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(processes)]
    return [{name: str(value) for name, value in place.items()} for place in places]


@pytest.fixture(scope="module")
def child(eight_rows):
    """`child(out, *options)` is a run in a child process, which may be killed, or in `processes` of
    them, of the worker `module` and with more `variables`. Returns how it ended."""
    if not hasattr(os, "fork"):
        pytest.skip("the children are forks")
    command, pipe = [sys.executable, WORKER, "--nursery"], subprocess.PIPE
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as nursery:

        def start(
            out, *options, data=eight_rows, processes=1, variables=None, module="run_worker", **how
        ):
            log = out.with_suffix(".log")
            log.unlink(missing_ok=True)
            places = rendezvous(processes) if processes > 1 else [{}]
            order = how | {
                "module": module,
                "arguments": [str(out), str(data), *options],
                "environments": [(variables or {}) | place for place in places],
                "log": str(log),
            }
            nursery.stdin.write(json.dumps(order) + "\n")
            nursery.stdin.flush()
            answer = nursery.stdout.readline().split()
            assert len(answer) == 2, "the nursery ended"
            return Ended(*map(int, answer), log.read_text())

        yield start
        nursery.stdin.close()
