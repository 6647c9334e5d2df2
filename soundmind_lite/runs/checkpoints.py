"""The checkpoints of a run: which are whole, whether they still are what was written, and how many are kept."""
import hashlib
import re
import shutil
from pathlib import Path

from .files import RunError, read_json, write_json

CLOCK = "clock.json"  # the seconds that the run took until then, and the digests of all other files; written when all else is
KEPT = 2


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split("-")[1])


def checkpoints(out: Path) -> list[Path]:
    """All folders of checkpoints, in the order of their steps."""
    return sorted((folder for folder in out.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", folder.name)), key=step_of)


def complete_checkpoints(out: Path) -> list[Path]:
    """The checkpoints that were written to their end, by all processes, in the order of their steps."""
    return [folder for folder in checkpoints(out) if (folder / CLOCK).is_file()]


def digests(checkpoint: Path) -> dict[str, str]:
    """A digest of each file but the clock, by its path below the checkpoint."""
    found = {}
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and file.name not in (CLOCK, f"{CLOCK}.part"):
            with file.open("rb") as content:
                found[file.relative_to(checkpoint).as_posix()] = hashlib.file_digest(content, "blake2b").hexdigest()[:32]
    return found


def mark_complete(checkpoint: Path, seconds: float) -> None:
    """Says that all is written. `seconds` are those of the run until now."""
    write_json(checkpoint / CLOCK, {"seconds": seconds, "files": digests(checkpoint)})


def last_whole(out: Path) -> Path | None:
    """The last complete checkpoint; RunError if a file of it is no longer what was written: the run would go on to other weights, or break."""
    checkpoint = max(complete_checkpoints(out), key=step_of, default=None)
    if checkpoint:
        files, found = read_json(checkpoint / CLOCK, "seconds", "files")["files"], digests(checkpoint)
        if damaged := [name for name in files if found.get(name) != files[name]]:
            raise RunError(f"{checkpoint / damaged[0]} is damaged or gone; put it back, or remove {checkpoint} and go on from what was before it")
    return checkpoint


def keep_newest(out: Path, whole_alone: bool = False) -> None:
    """Removes all but the last `KEPT` complete checkpoints, by their steps (times of files lie); with `whole_alone` also what a kill left of one."""
    complete = complete_checkpoints(out)
    for folder in checkpoints(out):
        if folder in complete[:-KEPT] or (whole_alone and folder not in complete):
            shutil.rmtree(folder)
