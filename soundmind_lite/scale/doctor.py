"""What this machine has, and which profiles it can run. Each finding is OK, or says what to do."""

import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..profiles import ASSETS, PROFILES, ROOT, Profile

REQUIREMENTS = ROOT / "requirements.txt"
MIN_MEMORY_GB, MIN_DISK_GB = 2, 1


@dataclass(frozen=True)
class Finding:
    """One line of the report. If a `needed` finding isn't OK, the tiny profile can't run."""

    what: str
    ok: bool
    remedy: str = ""
    needed: bool = True

    def __str__(self) -> str:
        return f"OK   {self.what}" if self.ok else f"--   {self.what}: {self.remedy}"


def installed(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def wanted() -> list[tuple[str, str]]:
    """Name and pinned version ("" for any) of each package in requirements.txt."""
    return re.findall(
        r"^([\w-]+)(?:==([\w.]+))?", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE
    )


def fits(found: str | None, version: str) -> bool:
    """Whether the installed version is the wanted one; the build ("+cpu") doesn't matter."""
    return found is not None and (not version or found.split("+")[0] == version)


def packages() -> list[Finding]:
    """The pinned packages of requirements.txt."""
    findings = []
    for name, version in wanted():
        found = installed(name)
        remedy = f"expected {version or 'any version'}; pip install -r requirements.txt"
        findings.append(Finding(f"{name} {found or 'missing'}", fits(found, version), remedy))
    return findings


def memory_gb() -> float:
    """Memory of the machine in GB."""
    import psutil

    return psutil.virtual_memory().total / 1e9


def gpus() -> list[tuple[str, float]]:
    """Name and memory (GB) of each CUDA device."""
    if installed("torch") is None:
        return []
    import torch

    devices = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [(d.name, d.total_memory / 1e9) for d in devices]


def profile_finding(profile: Profile, cards: list[tuple[str, float]]) -> Finding:
    """Whether a machine with these cards (name, GB) can run the profile."""
    what = f"profile {profile.name} ({profile.where})"
    if not profile.gpu_gb:
        return Finding(what, True)
    largest = max((gb for _, gb in cards), default=0)
    if largest < profile.gpu_gb:
        here = f"the largest here has {largest:.0f} GB" if cards else "there is none here"
        remedy = f"wants a GPU of {profile.gpu_gb} GB, {here}"
    elif profile.load_in_4bit and not installed("bitsandbytes"):
        remedy = "4-bit weights need bitsandbytes; pip install -r requirements.txt"
    elif profile.name == "multi" and len(cards) < 2:
        remedy = f"wants several GPUs, found {len(cards)}"
    else:
        return Finding(what, True)
    return Finding(what, False, remedy, needed=False)


class MachineError(RuntimeError):
    """This machine can't run the profile."""


def require(profile: Profile) -> None:
    """Raises MachineError if this machine can't run the profile.

    The message is one line: what is missing, and which profiles would run here.
    """
    cards = gpus()
    finding = profile_finding(profile, cards)
    if not finding.ok:
        able = [p.name for p in PROFILES.values() if profile_finding(p, cards).ok]
        raise MachineError(f"{finding.what}: {finding.remedy}; what runs here: {', '.join(able)}")


def examine() -> list[Finding]:
    """All findings, in the order in which they are shown."""
    cards = gpus()
    findings = [python(), *packages(), Finding(f"{os.cpu_count()} CPU cores", True)]
    findings += [
        at_least(MIN_MEMORY_GB, memory_gb(), "of memory"),
        at_least(MIN_DISK_GB, shutil.disk_usage(Path.cwd()).free / 1e9, "free on this disk"),
    ]
    findings += [Finding(f"GPU {name}, {gb:.0f} GB", True) for name, gb in cards]
    for name in ("mini_alr", "tiny_omni"):
        present = (ASSETS / name).is_dir()
        findings.append(Finding(f"assets/{name}", present, "clone the whole repository"))
    return findings + [profile_finding(profile, cards) for profile in PROFILES.values()]


def python() -> Finding:
    """The version of Python."""
    supported = (3, 11) <= sys.version_info < (3, 13)
    return Finding(f"Python {platform.python_version()}", supported, "use Python 3.11 or 3.12")


def at_least(needed_gb: float, found_gb: float, of_what: str) -> Finding:
    """An amount of memory or disk against what the tiny profile needs."""
    remedy = f"at least {needed_gb} GB are needed"
    return Finding(f"{found_gb:.0f} GB {of_what}", found_gb >= needed_gb, remedy)


def report() -> bool:
    """Prints all findings; True if the tiny profile can run."""
    findings = examine()
    print("\n".join(map(str, findings)))
    return all(finding.ok for finding in findings if finding.needed)
