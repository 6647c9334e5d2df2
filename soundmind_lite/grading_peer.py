"""The grader's end of the line to a learner's process or to the judge, and the place that it makes for a submission."""
import contextlib
import json
import os
import queue
import shutil
import signal
import site
import subprocess
import sys
import threading
import time
from pathlib import Path

from .grading_child import LIMIT, STRANGE

MOST_SENT = 16 * LIMIT  # bytes that a submission may send in all
START_SECONDS = 180  # for the imports of a process, on a slow disk
LARGEST_FOLDER = 50_000_000  # bytes beside a notebook that are copied with it
KEPT = (
    "PATH", "PATHEXT", "SYSTEMROOT", "COMSPEC", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
)


class Ended(Exception):
    """A process ended, or can't go on; the message says why."""


class Peer:
    """A process that speaks JSON lines. Threads read and write, so that no pipe holds the grader beyond a deadline."""

    def __init__(self, role: str, *arguments: str, library: Path, environment: dict[str, str]):
        path = os.pathsep.join(filter(None, (str(library), os.environ.get("PYTHONPATH"))))  # the copy comes before any other of this name
        settings = environment | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8:replace"}
        self.role, self.walls, self.inbox, self.outbox = role, None, queue.SimpleQueue(), queue.SimpleQueue()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "soundmind_lite.grading_child", role, *arguments], cwd=library, env=settings,
            start_new_session=os.name == "posix", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:
        left = MOST_SENT if self.role == "student" else float("inf")
        while left > 0 and (line := self.process.stdout.readline(LIMIT + 2)):
            left -= len(line)
            self.inbox.put(line)
        self.inbox.put(b"" if left > 0 else b"too much")

    def _write(self) -> None:
        with contextlib.suppress(OSError), self.process.stdin as pipe:  # if the process ended, the reader says so
            while line := self.outbox.get():
                pipe.write(line)
                pipe.flush()

    def send(self, /, **message) -> None:
        """Raises Ended for what a process made up and JSON can't hold."""
        try:
            self.outbox.put(json.dumps(message).encode() + b"\n")
        except (ValueError, RecursionError):
            raise Ended(STRANGE) from None

    def receive(self, deadline: float) -> dict:
        """The next message. Raises TimeoutError at the deadline (of `time.monotonic`), and Ended if the process did or speaks something else."""
        try:
            line = self.inbox.get(timeout=deadline - time.monotonic())
        except (queue.Empty, ValueError):  # ValueError: the deadline is over, whatever else may lie there
            raise TimeoutError from None
        if not line:
            raise Ended(f"{'the judge ' if self.role == 'judge' else ''}crashed: {self.how_it_ended()}")
        try:
            message = json.loads(line)
            return {"kind": str(message["kind"])} | message
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Ended(STRANGE) from None

    def ready(self) -> str:
        """Waits, the first time, until the process has done its imports; returns what holds it. Raises Ended, and RuntimeError for the judge."""
        if self.walls is None:
            try:
                self.walls = str(self.receive(time.monotonic() + START_SECONDS)["walls"])
            except (TimeoutError, Ended) as end:
                problem = f"the {self.role}'s process did not start ({end or f'nothing in {START_SECONDS} s'}); see python -m soundmind_lite doctor"
                raise (RuntimeError if self.role == "judge" else Ended)(problem) from None
        return self.walls

    def how_it_ended(self) -> str:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "its line to the grader was closed"
        number = -code if code < 0 else code - 128  # in a namespace a signal comes as 128 + its number
        return f"exit code {code}" + (f" ({signal.Signals(number).name})" if number in set(signal.Signals) else "")

    def kill(self) -> None:
        """Ends the process and its group. Can be called twice."""
        try:
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                subprocess.run(["taskkill", "/T", "/F", "/PID", str(self.process.pid)], capture_output=True)
        except OSError:  # nobody is left
            pass
        self.process.kill()
        self.process.wait()
        self.outbox.put(b"")


def copies(source: Path, target: Path) -> Path:
    """Copies the library and what it reads to a new folder; returns the folder."""
    for name in ("soundmind_lite", "assets"):
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("*.pyc.*"))  # half-written ones of a Python that runs now
    shutil.copy2(source / "requirements.txt", target)
    return target


def files_in(folder: Path, deepest: int = 20) -> list[Path]:
    """Every file below a folder, sorted, links not followed. Deeper ones are left out: a hostile archive is nested beyond what Python can walk."""
    found = []
    for place, folders, names in os.walk(folder):
        found += [Path(place, name) for name in names]
        if len(Path(place).relative_to(folder).parts) == deepest:
            folders.clear()
    return sorted(found)


def bring_files(source: Path, target: Path) -> list[str]:
    """Copies what lies beside a student's notebook, but no links and no notebooks; returns a note if it is too much."""
    left = LARGEST_FOLDER
    for file in files_in(source):
        if file.is_file() and not file.is_symlink() and file.suffix.lower() != ".ipynb":
            if (left := left - file.stat().st_size) < 0:
                return [f"its files beyond {LARGEST_FOLDER // 10**6} MB were not copied"]
            (target / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / file.relative_to(source))
    return []


def environment_of(work: Path) -> dict[str, str]:
    """What a learner's code gets to see: none of your tokens, and folders of its own."""
    import matplotlib

    home = work / "home"
    home.mkdir()
    for fonts in Path(matplotlib.get_cachedir()).glob("fontlist*.json"):  # to make this list anew takes seconds
        shutil.copy(fonts, home)
    own = dict.fromkeys(("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR"), str(home))
    quiet = {"MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUSERBASE": site.getuserbase() or ""}
    return {name: os.environ[name] for name in KEPT if name in os.environ} | own | quiet


def remove(folder: Path) -> None:
    """Removes a folder that a submission may have made hard to remove; says so if it can't."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        print(f"left behind: {folder}; remove it by hand")
