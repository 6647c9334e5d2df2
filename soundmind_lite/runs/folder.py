"""The folder of a run: what may start or go on in it, and what is whole when it stops."""
import contextlib
import errno
import os
import tempfile
from pathlib import Path

import torch

from .checkpoints import CLOCK, complete_checkpoints, last_whole, step_of
from .files import RunError, read_json

RESULT, SETTINGS, METRICS, SKIPPED, BEFORE = "result.json", "run.json", "metrics.jsonl", "skipped.json", "before.json"
LOCK = ".lock"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_WORDS = ("No space left", "unexpected pos", "iostream error", "PytorchStreamWriter")  # of safetensors, and of torch's writer
NOT_A_RUN_YET = (LOCK, f"{SETTINGS}.part")  # what a start that was killed leaves


def check_folder(out: Path, resume: bool, facts: dict) -> Path | None:
    """Checks that a run with these facts may start or go on in the folder; returns the checkpoint to go on from, if any."""
    started, settings = out / SETTINGS, None
    if os.path.isfile(out) or (os.path.islink(out) and not os.path.exists(out)):
        raise RunError(f"{out} is a file, or a link that leads nowhere; give a folder")
    check_writable(out)
    if (out / RESULT).exists():
        raise RunError(f"{out} holds a finished run; choose another --out for a new one")
    if started.exists():
        settings = read_json(started)
    if settings is None and resume:
        raise RunError(f"{out} holds no run to resume; leave --resume out to start one")
    if settings is not None and not resume:
        raise RunError(f"{out} already holds a run; go on with --resume, or choose another --out")
    if settings is None and out.exists() and any(path.name not in NOT_A_RUN_YET for path in out.iterdir()):
        raise RunError(f"{out} is not empty; choose another --out")
    differing = settings and ", ".join(f"{k}: {settings.get(k)} there, {facts[k]} now" for k in facts if settings.get(k) != facts[k])
    if differing:
        raise RunError(f"{out} holds another run ({differing}); resume it with its own settings")
    return last_whole(out)


def check_writable(folder: Path) -> None:
    """RunError if no file can be made in the folder, or where it would be made. To be asked before long work whose end is a file there."""
    place = folder.absolute()
    try:
        place = next(path for path in (place, *place.parents) if path.exists())
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise RunError(f"nothing can be written to {folder}: {place}: {error.strerror}; choose another folder") from error


def check_rows(out: Path, fingerprint: str) -> None:
    """RunError if the run in the folder began with other rows than those of this fingerprint."""
    if (out / SETTINGS).exists() and read_json(out / SETTINGS).get("rows") != fingerprint:
        raise RunError(f"{out}: the rows or clips aren't those that the run began with; put them back, or choose another --out")


def new_folder(path: str | Path) -> Path:
    """The path itself, or the first of `path-2`, `path-3`, … that doesn't exist yet, so that a cell can be run twice."""
    path, number = Path(path), 1
    while (folder := path if number == 1 else path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return folder


def seconds_until(out: Path, checkpoint: Path | None) -> float:
    """The seconds that a run took for what it goes on from: a checkpoint, else the measurement before training, else nothing."""
    if checkpoint:
        return read_json(checkpoint / CLOCK, "seconds")["seconds"]
    return read_json(out / BEFORE, "summary", "answers")["summary"]["seconds"] if (out / BEFORE).exists() else 0.0


@contextlib.contextmanager
def claimed(out: Path):
    """Makes the folder; within it no other process can write the run, RunError if one does. The system lets go of the claim when its process ends, however it ends."""
    from filelock import FileLock, Timeout

    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"{out} is being written by another process; wait for it, or choose another --out") from error


@contextlib.contextmanager
def told_what_to_do(out: Path):
    """A full disk, a full memory and a folder that can't be written as RunErrors that say what is whole and what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"the GPU's memory is full; lower micro_batch, max_completion_tokens or group_size in the profile. {whole(out)}") from error
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's own words on a CPU
            raise RunError(f"the memory is full; lower evaluation_batch, micro_batch or group_size in the profile. {whole(out)}") from error
        if getattr(error, "errno", None) in FULL or any(words in str(error) for words in FULL_WORDS):
            raise RunError(f"the disk of {out} is full; free some space. {whole(out)}") from error
        denied = getattr(error, "errno", None) in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename
        if denied and Path(error.filename).absolute().is_relative_to(out.absolute()):
            raise RunError(f"{error.filename} can't be written ({error.strerror}); make it writable. {whole(out)}") from error
        raise


def whole(out: Path) -> str:
    """What a stopped run can go on from."""
    if not (out / SETTINGS).exists():
        return "Nothing was begun: start again without --resume"
    last = max(complete_checkpoints(out), key=step_of, default=None)
    return f"{last.name} is whole: go on with --resume" if last else "No checkpoint was complete yet: --resume starts from the beginning"
