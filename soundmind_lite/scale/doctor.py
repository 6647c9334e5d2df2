"""What this machine has, and which profiles it can run. Each finding is OK, or says what to do."""

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..alr.sources import REPOSITORY
from ..profiles import ASSETS, PROFILES, ROOT, Profile
from .cards import CARDS, Card, card_of

REQUIREMENTS = ROOT / "requirements.txt"
MIN_MEMORY_GB, MIN_DISK_GB = 2, 1
# Other versions of these do as well. A torch belongs to its companions and its driver, and on a
# hosted machine much else belongs to it: don't replace it.
ANY_VERSION = {"torch", "librosa", "matplotlib", "ipywidgets"}
TOOLS = {"jupyterlab", "nbval", "pytest", "pytest-xdist", "hypothesis"}  # no lesson needs them
# What `accelerate launch` sets with assets/launch/fsdp.yaml and zero3.yaml
SHARDING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
DRIVER = Path("/proc/driver/nvidia/version")
CLONE = f"clone the whole repository, git clone {REPOSITORY}, and work in its folder"


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
    """The pinned packages of requirements.txt. Where torch has another version, no remedy replaces
    it, as the file itself would."""
    if not REQUIREMENTS.is_file():
        return [Finding(REQUIREMENTS.name, False, CLONE)]
    versions = dict(wanted())
    kept_torch = installed("torch") and not fits(installed("torch"), versions["torch"])
    findings = []
    for name, version in versions.items():
        found = installed(name)
        if found and name in ANY_VERSION and not fits(found, version):
            findings.append(Finding(f"{name} {found} (tested: {version})", True))
            continue
        pinned = f"{name}=={version}" if version else name
        install = pinned if kept_torch else f"-r {REQUIREMENTS.name}"
        remedy = f"expected {version or 'any version'}; pip install {install}"
        what = f"{name} {found or 'missing'}"
        findings.append(Finding(what, fits(found, version), remedy, needed=name not in TOOLS))
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


def card_here() -> Card:
    """The first GPU of this machine; MachineError if there is none."""
    found = gpus()
    if not found:
        raise MachineError("there is no GPU here to plan for; name a card")
    return card_of(*found[0])


def chosen_card(name: str | None, profile: Profile) -> Card:
    """The card of that name, else the first GPU here, else the one that the profile is made for."""
    if name:
        return CARDS[name]
    if gpus():
        return card_here()
    if not profile.card:
        raise MachineError(f"no GPU to plan {profile.name} for; name one with --gpu")
    return CARDS[profile.card]


def profile_finding(profile: Profile, cards: list[tuple[str, float]]) -> Finding:
    """Whether a machine with these cards (name, GB) can run the profile, by its plan."""
    what = f"profile {profile.name} ({profile.where})"
    if not profile.card:
        return Finding(what, True)
    if not cards:
        remedy = f"wants a GPU of {CARDS[profile.card].memory_gb:.0f} GB, there is none here"
    elif profile.load_in_4bit and not installed("bitsandbytes"):
        remedy = "4-bit weights need bitsandbytes; pip install bitsandbytes"
    elif profile.name == "multi" and len(cards) < 2:
        remedy = f"wants several GPUs, found {len(cards)}"
    else:
        remedy = _lacks(profile, [card_of(*card) for card in cards])
    return Finding(what, not remedy, remedy, needed=False)


def _lacks(profile: Profile, cards: list[Card]) -> str:
    """What the cards lack for the profile, "" if nothing."""
    from .memory import memory_of  # not before the packages are there

    processes = len(cards) if profile.name == "multi" else 1
    # with several processes each card holds the model, or a part of it
    ordered = sorted(cards, key=lambda card: card.memory_gb)
    card = ordered[0] if processes > 1 else ordered[-1]
    sharded = processes > 1 and any(os.environ.get(name) == "true" for name in SHARDING)
    needed = memory_of(profile, processes=processes, sharded=sharded)
    if needed.total_gb > card.memory_gb:
        which = "smallest" if processes > 1 else "largest"
        amount = f"needs {needed.total_gb:.0f} GB in {needed.peak}"
        return f"{amount}, the {which} card here has {card.memory_gb:.0f} GB"
    if profile.dtype == "bfloat16" and not card.bfloat16:
        return f"needs bfloat16, which the {card.name} lacks"
    return ""


def processes_for(profile: Profile) -> int | None:
    """The cards that a profile for several is planned for: those of the processes that were
    started, else all that are here; None if this machine has nothing to say about it."""
    if profile.name != "multi":
        return None
    started = int(os.environ.get("WORLD_SIZE", 1))
    cards = started if started > 1 else len(gpus())
    return cards if cards > 1 else None


def best_profile() -> str:
    """The name of the largest profile that fits this machine: "tiny" without a GPU.

    Of those that fit it is the last whose own card has no more memory than the largest here. Never
    `multi`, which needs a process for each card.
    """
    cards = gpus()
    largest = max((card_of(*card).memory_gb for card in cards), default=0)
    able = [profile for profile in PROFILES.values() if profile_finding(profile, cards).ok]
    meant = [p.name for p in able if not p.card or CARDS[p.card].memory_gb <= largest]
    return [name for name in meant if name != "multi"][-1]


def driver() -> str | None:
    """The version of the NVIDIA driver, "" if it doesn't say, None if there is none."""
    if DRIVER.exists():
        found = re.search(r"\b\d{3,}\.[\d.]+", DRIVER.read_text(encoding="utf-8"))
        return found[0] if found else ""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""


def driver_finding(cards: list[tuple[str, float]]) -> Finding | None:
    """An NVIDIA driver without a GPU that torch can use, and what to do; None if all is well."""
    version = None if cards or installed("torch") is None else driver()
    if version is None:
        return None
    import torch

    what = f"NVIDIA driver {version or 'found'}, but torch {torch.__version__} finds no GPU"
    if torch.version.cuda is None:
        remedy = "this torch is built without CUDA; install the one with it from pytorch.org"
    else:
        remedy = (
            f"torch is built for CUDA {torch.version.cuda}; CUDA 13 needs a driver of 580 or "
            "newer: update the driver, or install torch's build for CUDA 12 from pytorch.org"
        )
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
        message = f"{finding.what}: {finding.remedy}; what runs here: {', '.join(able)}"
        if unused := driver_finding(cards):
            message += f" ({unused.what}: {unused.remedy})"
        raise MachineError(message)


def examine() -> list[Finding]:
    """All findings, in the order in which they are shown."""
    cards = gpus()
    findings = [python(), *packages(), Finding(f"{os.cpu_count()} CPU cores", True)]
    findings += [
        at_least(MIN_MEMORY_GB, memory_gb(), "of memory"),
        at_least(MIN_DISK_GB, shutil.disk_usage(Path.cwd()).free / 1e9, "free on this disk"),
    ]
    findings += [Finding(f"GPU {name}, {gb:.0f} GB", True) for name, gb in cards]
    if unused := driver_finding(cards):
        findings.append(unused)
    for name in ("mini_alr", "tiny_omni"):
        present = (ASSETS / name).is_dir()
        findings.append(Finding(f"assets/{name}", present, CLONE))
    return findings + [profile_finding(profile, cards) for profile in PROFILES.values()]


def python() -> Finding:
    """The version of Python."""
    supported = (3, 11) <= sys.version_info < (3, 14)
    remedy = "use Python 3.11, 3.12 or 3.13"
    return Finding(f"Python {platform.python_version()}", supported, remedy)


def at_least(needed_gb: float, found_gb: float, of_what: str) -> Finding:
    """An amount of memory or disk against what the tiny profile needs."""
    remedy = f"at least {needed_gb} GB are needed"
    return Finding(f"{found_gb:.0f} GB {of_what}", found_gb >= needed_gb, remedy)


def report() -> bool:
    """Prints all findings; True if the tiny profile can run."""
    findings = examine()
    print("\n".join(map(str, findings)))
    return all(finding.ok for finding in findings if finding.needed)
