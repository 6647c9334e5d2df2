"""The folder of a run: what may start or go on in it, which checkpoints are whole, and files that are never half-written."""
import contextlib
import errno
import json
import os
from pathlib import Path

import torch

RESULT, SETTINGS, METRICS, CLOCK = "result.json", "run.json", "metrics.jsonl", "clock.json"
LOCK = ".lock"


class RunError(RuntimeError):
    """A run that can't start or go on; the message says what to do."""


def write_json(path: Path, value) -> None:
    """Writes beside the file and renames, so that a killed run never leaves half a file."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, path)


def check_folder(out: Path, resume: bool, facts: dict) -> Path | None:
    """Checks that a run with these facts may start or go on in the folder; returns the checkpoint to go on from, if any."""
    started, settings = out / SETTINGS, None
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; give a folder")
    if (out / RESULT).exists():
        raise RunError(f"{out} holds a finished run; choose another --out for a new one")
    if started.exists():
        settings = json.loads(started.read_text(encoding="utf-8"))
    if settings is None and resume:
        raise RunError(f"{out} holds no run to resume; leave --resume out to start one")
    if settings is not None and not resume:
        raise RunError(f"{out} already holds a run; go on with --resume, or choose another --out")
    if settings is None and out.exists() and any(path.name != LOCK for path in out.iterdir()):
        raise RunError(f"{out} is not empty; choose another --out")
    differing = settings and ", ".join(f"{k}: {settings.get(k)} there, {facts[k]} now" for k in facts if settings.get(k) != facts[k])
    if differing:
        raise RunError(f"{out} holds another run ({differing}); resume it with its own settings")
    return max(complete_checkpoints(out), key=step_of, default=None)


def new_folder(path: str | Path) -> Path:
    """The path itself, or the first of `path-2`, `path-3`, … that doesn't exist yet, so that a cell can be run twice."""
    path, number = Path(path), 1
    while (folder := path if number == 1 else path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return folder


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def complete_checkpoints(out: Path) -> list[Path]:
    """The checkpoints that were written to their end; the Trainer writes these two files last."""
    last_files = ("trainer_state.json", "rng_state.pth")
    return [folder for folder in out.glob("checkpoint-*") if all((folder / name).is_file() for name in last_files)]


def keep_steps(file: Path, last_step: int) -> None:
    """Drops the lines after the checkpoint from which a run goes on; those steps are run again."""
    if file.exists():
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}") and json.loads(line)["step"] <= last_step]
        file.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


@contextlib.contextmanager
def claimed(out: Path):
    """Within it no other process can write the run; RunError if one does. The system lets go of the claim when its process ends, however it ends."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(out / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise RunError(f"{out} is being written by another process; wait for it, or choose another --out") from error


@contextlib.contextmanager
def told_what_to_do(out: Path):
    """A full disk and a full memory as RunErrors that say what is whole and what to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunError(f"the GPU's memory is full; lower micro_batch, max_completion_tokens or group_size in the profile. {whole(out)}") from error
    except Exception as error:
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):  # torch's own words on a CPU
            raise RunError(f"the memory is full; lower evaluation_batch, micro_batch or group_size in the profile. {whole(out)}") from error
        # safetensors has an error of its own for a full disk
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise RunError(f"the disk of {out} is full; free some space. {whole(out)}") from error
        raise


def whole(out: Path) -> str:
    """What a stopped run can go on from."""
    last = max(complete_checkpoints(out), key=step_of, default=None)
    return f"{last.name} is whole: go on with --resume" if last else "No checkpoint was complete yet: --resume starts from the beginning"
