"""The files of a run: never half-written, and named when they are damaged."""
import json
import os
from pathlib import Path


class RunError(RuntimeError):
    """A run that can't start or go on; the message says what to do."""


def write_text(path: Path, text: str) -> None:
    """Writes beside the file and renames, so that a killed run never leaves half a file."""
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, value) -> None:
    """The value as JSON, written beside the file and renamed."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, *names: str) -> dict:
    """The object that a JSON file of a run holds; RunError if it was damaged, or lacks one of these names."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("no object")
        if lacking := [name for name in names if name not in value]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error!s:.100}); put it back, or choose another run") from error
    return value


def keep_steps(file: Path, last_step: int) -> None:
    """Drops the lines after the checkpoint from which a run goes on, and a last one that was cut; those steps are run again."""
    if not file.exists():
        if last_step:
            raise RunError(f"{file} is gone, with the steps up to {last_step}; put it back, or start a new run")
        return
    kept = []
    for number, line in enumerate(file.read_bytes().split(b"\n")[:-1], 1):  # a last line that was cut has no end
        try:
            kept += [line.decode() + "\n"] if json.loads(line)["step"] <= last_step else []
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{file}, line {number} is damaged ({error!s:.100}); mend or delete it") from error
    write_text(file, "".join(kept))
