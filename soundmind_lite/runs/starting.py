"""What may start or resume in the folder of a run."""

import contextlib
import os
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from .. import profiles
from ..profiles import PROFILES, ROOT, Profile
from .checkpoints import last_complete
from .files import FACTS, RESULT, RunError, check_writable, read_json

LOCK = ".lock"
NOT_A_RUN_YET = (LOCK, f"{FACTS}.part")  # what a start that was killed leaves


def sizes_of(profile: Profile) -> dict:
    """The sizes of a profile that PROFILES doesn't know under its name, as JSON can hold them.

    Paths below the repository are relative to it, so that the run can be moved.
    """
    if PROFILES.get(profile.name) == profile:
        return {}
    places = {name: below_root(getattr(profile, name)) for name in ("model", "data")}
    return {"sizes": asdict(profile) | places}


def below_root(path: str | Path) -> str:
    """A path in the repository, as seen from there; any other path or hub id as it is."""
    inside = Path(path).is_absolute() and Path(path).is_relative_to(ROOT)
    return Path(path).relative_to(ROOT).as_posix() if inside else str(path)


def shorten_base(model) -> None:
    """Has the files of a model's adapters name their base model as seen from the repository."""
    for adapter in model.peft_config.values():
        if adapter.base_model_name_or_path is None:  # of a model that was never loaded
            continue
        adapter.base_model_name_or_path = below_root(adapter.base_model_name_or_path)


def profile_of_facts(facts: dict) -> Profile | str:
    """The profile that `sizes_of` wrote, or the name of one in PROFILES; RunError for sizes that
    this version doesn't know."""
    if "sizes" not in facts:
        return facts["profile"]
    sizes = dict(facts["sizes"])
    for name in ("model", "data"):
        inside = ROOT / str(sizes.get(name))
        sizes[name] = str(inside) if inside.exists() else sizes.get(name)
    try:
        return Profile(**sizes)
    except TypeError as error:
        what = f"the sizes of the run's profile aren't those of this version ({error})"
        raise RunError(f"{what}; use the version that the run was made with") from error


def check_folder(path: Path, resume: bool, facts: dict) -> Path | None:
    """The checkpoint that a run with these facts would resume from, if any; RunError if it may
    neither start nor resume in the folder."""
    # os.path, since Path raises where a folder above may not be entered
    if os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path)):
        raise RunError(f"{path} is a file, or a link to nothing; give a folder")
    check_writable(path)
    if (path / RESULT).exists():
        raise RunError(f"{path} holds a finished run; choose another output_dir for a new one")
    started = read_json(path / FACTS) if (path / FACTS).exists() else None
    if started is None and resume:
        raise RunError(f"{path} holds no run to resume; leave out resume=True to start one")
    if started is not None and not resume:
        remedy = "resume it with resume=True, or choose another output_dir"
        raise RunError(f"{path} already holds a run; {remedy}")
    files = path.iterdir() if path.exists() else ()
    if started is None and any(file.name not in NOT_A_RUN_YET for file in files):
        raise RunError(f"{path} is not empty; choose another output_dir")
    if started is not None and (differing := differences(started, facts)):
        what = f"{path} holds another run ({', '.join(differing)})"
        raise RunError(f"{what}; resume it with its own settings")
    return last_complete(path)


def differences(started: dict, facts: dict) -> list[str]:
    """What the facts of a run that was started and of one to be resumed don't share."""
    there, now = {"rollouts": "transformers"} | started, dict(facts)  # as before there were others
    if there.get("profile") == now["profile"]:
        there = asdict(profiles.get(profile_of_facts(started))) | there
        now = asdict(profiles.get(profile_of_facts(facts))) | now
    names = [name for name in now if name != "sizes" and there.get(name) != now[name]]
    return [f"{name}: {there.get(name)} there, {now[name]} now" for name in names]


def check_rows(path: Path, fingerprint: str) -> None:
    """RunError if the run in the folder began with other rows than those of this fingerprint."""
    if (path / FACTS).exists() and read_json(path / FACTS).get("rows") != fingerprint:
        what = f"{path}: the rows or clips aren't those that the run began with"
        raise RunError(f"{what}; restore them, or choose another output_dir")


@contextlib.contextmanager
def claimed(path: Path):
    """Makes the folder; within it no other process can claim it, RunError if one has. The system
    drops the claim when its process ends, however it ends."""
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        what = f"{path} is being written by another process"
        raise RunError(f"{what}; wait for it, or choose another output_dir") from error
    try:
        yield
    finally:
        lock.release()


def remove_unused(path: Path) -> None:
    """Removes a claimed folder that holds nothing but what a start leaves."""
    with contextlib.suppress(OSError):  # Windows doesn't remove a file that is locked
        if all(file.name in NOT_A_RUN_YET for file in path.iterdir()):
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
