"""The files of a run: never half-written, and named when they are damaged."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

RESULT, FACTS = "result.json", "run.json"


class RunError(RuntimeError):
    """A run that can't start or continue; the message says what to do."""


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
    """The object in a JSON file of a run; RunError if it is damaged or lacks one of these names."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it holds no object")
        if missing := [name for name in names if name not in value]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except ValueError as error:
        remedy = "restore it, or choose another run"
        raise RunError(f"{path} is damaged ({error!s:.100}); {remedy}") from error
    return value


def digest(file: str | Path) -> str:
    """The BLAKE2b digest of a file's bytes, in hex digits."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()


def keep_steps(file: Path, last_step: int) -> None:
    """Drops the lines after the step from which a run resumes, and a truncated last line; those
    steps are run again."""
    if not file.exists():
        if last_step:
            remedy = "restore it, or start a new run"
            raise RunError(f"{file} is gone, with the steps up to {last_step}; {remedy}")
        return
    kept = []
    lines = file.read_bytes().split(b"\n")[:-1]  # a truncated last line has no end
    for number, line in enumerate(lines, 1):
        try:
            if json.loads(line)["step"] <= last_step:
                kept.append(line.decode() + "\n")
        except (ValueError, KeyError, TypeError) as error:
            what = f"{file}, line {number} is damaged ({error!s:.100})"
            raise RunError(f"{what}; fix or delete it") from error
    write_text(file, "".join(kept))


def check_writable(folder: Path) -> None:
    """RunError if no file can be made in the folder, or where it would be made: to be asked before
    long work that ends with a file there."""
    nearest = folder.absolute()
    try:
        nearest = next(path for path in (nearest, *nearest.parents) if path.exists())
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        what = f"nothing can be written to {folder}: {nearest}: {error.strerror}"
        raise RunError(f"{what}; choose another folder") from error


def check_target(file: Path | None, option: str) -> None:
    """Reports before the long work, not after it, that its figures can't be written; `option` is
    where the file's name is given."""
    if file is None:
        return
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; give {option} the name of a file")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file.parent}: no such folder for {option}")
    check_writable(file.parent)
