"""The checkpoints of a run: which are complete, whether they are still what was written, and how
many are kept."""

import re
import shutil
from pathlib import Path

from .files import RunError, digest, read_json, write_json

# The seconds that the run took until then and the digests of all other files; written last.
CLOCK = "clock.json"
KEPT = 2


def step_of(checkpoint: Path | None) -> int:
    """The step of a checkpoint; 0 for none."""
    return int(checkpoint.name.split("-")[1]) if checkpoint else 0


def checkpoints(run: Path) -> list[Path]:
    """All folders of checkpoints, in the order of their steps."""
    folders = run.glob("checkpoint-*")
    named = [folder for folder in folders if re.fullmatch(r"checkpoint-\d+", folder.name)]
    return sorted(named, key=step_of)


def complete_checkpoints(run: Path) -> list[Path]:
    """The checkpoints that all processes have written to their end, in the order of their steps."""
    return [folder for folder in checkpoints(run) if (folder / CLOCK).is_file()]


def digests(checkpoint: Path) -> dict[str, str]:
    """A digest of each file but the clock, by its path below the checkpoint."""
    found = {}
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and file.name not in (CLOCK, f"{CLOCK}.part"):
            found[file.relative_to(checkpoint).as_posix()] = digest(file)[:32]
    return found


def mark_complete(checkpoint: Path, seconds: float) -> None:
    """Marks a checkpoint whose files are all written, with the seconds of the run until now."""
    write_json(checkpoint / CLOCK, {"seconds": seconds, "files": digests(checkpoint)})


def last_complete(run: Path) -> Path | None:
    """The last complete checkpoint; RunError if a file of it is no longer what was written, since
    the run would resume to other parameters, or break."""
    complete = complete_checkpoints(run)
    if not complete:
        return None
    checkpoint = complete[-1]
    written = read_json(checkpoint / CLOCK, "seconds", "files")["files"]
    found = digests(checkpoint)
    damaged = [name for name in written if found.get(name) != written[name]]
    if damaged:
        what = f"{checkpoint / damaged[0]} is damaged or gone"
        remedy = f"restore it, or remove {checkpoint} and resume from the one before it"
        raise RunError(f"{what}; {remedy}")
    return checkpoint


def keep_newest(run: Path, *, complete_only: bool = False) -> None:
    """Removes all but the last `KEPT` complete checkpoints, by their steps: times of files lie.

    With `complete_only` also what a kill left of one.
    """
    complete = complete_checkpoints(run)
    for folder in checkpoints(run):
        partial = complete_only and folder not in complete
        if folder in complete[:-KEPT] or partial:
            shutil.rmtree(folder)
