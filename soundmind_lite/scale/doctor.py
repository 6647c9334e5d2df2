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
    """One line of the report; `needed` findings that are not OK keep the tiny profile from running."""

    what: str
    ok: bool
    remedy: str = ""
    needed: bool = True

    def __str__(self) -> str:
        return f"{'OK  ' if self.ok else '--  '} {self.what}" + ("" if self.ok else f": {self.remedy}")


def installed(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def wanted() -> list[tuple[str, str]]:
    """Name and pinned version ("" for any) of each package in requirements.txt."""
    return re.findall(r"^([\w-]+)(?:==([\w.]+))?", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE)


def fits(found: str | None, version: str) -> bool:
    """Is the installed version the wanted one, whatever build of it?"""
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
    """Can this machine run the profile?"""
    what = f"profile {profile.name} ({profile.where})"
    if not profile.gpu_gb:
        return Finding(what, True)
    largest = max((gb for _, gb in cards), default=0)
    if largest < profile.gpu_gb:
        here = f"the largest here has {largest:.0f} GB" if cards else "there is none here"
        return Finding(what, False, f"wants a GPU of {profile.gpu_gb} GB, {here}", needed=False)
    if profile.four_bit and not installed("bitsandbytes"):
        return Finding(what, False, "4-bit weights need bitsandbytes; pip install -r requirements.txt", needed=False)
    if profile.name == "multi" and len(cards) < 2:
        return Finding(what, False, f"wants several GPUs, found {len(cards)}", needed=False)
    return Finding(what, True)


class MachineError(RuntimeError):
    """A profile that this machine can't run."""


def require(profile: Profile) -> None:
    """MachineError, in one line, if this machine can't run the profile: what is missing, and which profiles would run here."""
    cards = gpus()
    if not (finding := profile_finding(profile, cards)).ok:
        able = [p.name for p in PROFILES.values() if profile_finding(p, cards).ok]
        raise MachineError(f"{finding.what}: {finding.remedy}; what runs here: {', '.join(able)}")


def examine() -> list[Finding]:
    """All findings, in the order in which they are shown."""
    version, cards = sys.version_info, gpus()
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return [
        Finding(f"Python {platform.python_version()}", (3, 11) <= version < (3, 13), "use Python 3.11 or 3.12"),
        *packages(),
        Finding(f"{os.cpu_count()} CPU cores", True),
        Finding(f"{memory_gb():.0f} GB of memory", memory_gb() >= MIN_MEMORY_GB, f"at least {MIN_MEMORY_GB} GB are needed"),
        Finding(f"{free:.0f} GB free on this disk", free >= MIN_DISK_GB, f"at least {MIN_DISK_GB} GB are needed"),
        *(Finding(f"GPU {name}, {gb:.0f} GB", True) for name, gb in cards),
        *(Finding(f"assets/{name}", (ASSETS / name).is_dir(), "clone the whole repository") for name in ("mini_alr", "tiny_omni")),
        *(profile_finding(profile, cards) for profile in PROFILES.values()),
    ]


def report() -> bool:
    """Prints all findings; True if the tiny profile can run."""
    findings = examine()
    print("\n".join(map(str, findings)))
    return all(f.ok for f in findings if f.needed)
