"""The first cell of every notebook: finds or installs what a lesson needs, says what it runs on.

On Colab and Kaggle missing packages are installed. Their torch, numpy and Jupyter stay as they
are: replacing them breaks the hosted session. On any other machine nothing is installed.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from .. import profiles
from ..profiles import ROOT
from ..runs.second_thread import let_threads_sleep
from ..scale import doctor
from ..scale.doctor import ANY_VERSION, REQUIREMENTS, TOOLS, fits, installed, wanted

# What a hosted session is built on: the compiled packages that belong together, and its server
KEPT = ANY_VERSION | {
    "torchvision",
    "torchaudio",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "pandas",
    "ipykernel",
    "ipython",
    "tornado",
}
RESTART = {"Colab": "Runtime → Restart session", "Kaggle": "Run → Restart & clear cell outputs"}
CHOOSE_GPU = {
    "Colab": "choose a T4: Runtime → Change runtime type → T4 GPU",
    "Kaggle": "choose two T4s: Settings → Accelerator → GPU T4 x2",
}
DRIVE = Path("/content/drive/MyDrive")  # where Colab mounts Google Drive
MOUNT = 'from google.colab import drive; drive.mount("/content/drive")'


def hosted() -> str | None:
    """The service that hosts the notebook, "Colab" or "Kaggle"; None on any other machine."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    return "Colab" if find_spec("google") and find_spec("google.colab") else None


def to_install() -> list[str]:
    """pip requirements of the packages that a lesson needs and that are missing or don't fit."""
    needed = []
    for name, version in wanted():
        accepted = "" if name in ANY_VERSION else version
        if name not in TOOLS and not fits(installed(name), accepted):
            needed.append(f"{name}=={version}" if version else name)
    return needed


def not_as_tested() -> list[str]:
    """The packages that stay although the tests ran with another version, with both versions."""
    return [
        f"{name} {installed(name)} (tested: {version})"
        for name, version in wanted()
        if name in ANY_VERSION and installed(name) and not fits(installed(name), version)
    ]


def install(requirements: list[str]) -> None:
    """Installs with pip and holds the packages of KEPT at their versions.

    Raises RuntimeError with pip's own message if the installation fails.
    """
    held = [f"{name}=={installed(name)}\n" for name in sorted(KEPT) if installed(name)]
    constraints = Path(tempfile.gettempdir()) / "soundmind_constraints.txt"
    constraints.write_text("".join(held), encoding="utf-8")
    complaint = _pip("install", "-c", str(constraints), *requirements)
    if complaint:
        raise RuntimeError(f"pip could not install {', '.join(requirements)}:\n{complaint}")
    importlib.invalidate_caches()


def _pip(verb: str, *arguments: str) -> str:
    """Runs pip; what it says if it fails, else nothing."""
    quiet = ["--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", verb, *quiet, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr.strip()[-2000:] if done.returncode else ""


def versions() -> dict[str, str]:
    """The version of every installed package; if there are several, of the one that is imported."""
    packages = reversed(list(metadata.distributions()))  # a dict keeps the last: the first on path
    return {package.name: package.version for package in packages}


def stale(before: dict[str, str]) -> list[str]:
    """Imported packages that were replaced since `versions()` returned `before`."""
    now = versions()
    imported = {name.partition(".")[0] for name in sys.modules}
    packages = metadata.packages_distributions()  # by the modules that they bring
    candidates = {name for module in imported for name in packages.get(module, ())}
    return sorted(n for n in candidates if n in before and before[n] != now.get(n))


def refused_torchao() -> str | None:
    """The version of torchao if PEFT refuses it, and with it every LoRA adapter; else None."""
    version = installed("torchao")
    if version is None:
        return None
    from peft.import_utils import is_torchao_available

    try:
        is_torchao_available()
    except ImportError:
        return version
    return None


def runs_folder() -> Path:
    """Where runs are kept: on Google Drive if it is mounted on Colab, else the folder "runs"."""
    return DRIVE / "soundmind" / "runs" if DRIVE.is_dir() else Path("runs")


def start(profile: str | None = None):
    """Prepares a lesson and returns its Profile. Can be called twice.

    The profile is the argument, else that of the environment variable SOUNDMIND_PROFILE, else
    "tiny"; "auto" takes that of the variable, else the largest that fits this machine. The variable
    SOUNDMIND_SIZES, an object in JSON, replaces fields of the profile.

    Raises RuntimeError if a package is missing on a machine that isn't hosted, or if a package
    was replaced after its import.
    """
    if not REQUIREMENTS.is_file():
        raise RuntimeError(
            f"{ROOT} holds the package alone, and the lessons need the whole repository; "
            "clone it and open the notebook there"
        )
    _make_importable()
    let_threads_sleep()
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    service = hosted()
    other = not_as_tested()
    if other:
        print(f"kept as found: {', '.join(other)}")
    if service:
        _complete(service)
    else:
        _check_packages()
    _quiet()
    _remove_old_torchao(service)
    chosen, why = _chosen(profile)
    _describe(chosen, why)
    if service:
        _advise(service, chosen)
    return chosen


def _make_importable() -> None:
    """For later cells in whatever folder, and for the processes that they start."""
    root = str(ROOT)
    if root not in sys.path:
        sys.path.insert(0, root)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, *paths]))


def _check_packages() -> None:
    needed = to_install()
    if needed:
        # The file would replace a torch of another version, and what belongs to it
        packages = " ".join(needed) if not_as_tested() else f"-r {REQUIREMENTS.name}"
        raise RuntimeError(
            f"missing or of another version: {', '.join(needed)}; "
            f"run: pip install {packages}, then restart the kernel"
        )


def _complete(service: str) -> None:
    """Installs what a hosted machine lacks."""
    needed = to_install()
    if not needed:
        return
    print(f"{service}: installing {', '.join(needed)}; this takes a minute or two")
    before = versions()
    install(needed)
    if replaced := stale(before):
        raise RuntimeError(
            f"{', '.join(replaced)} changed after it was imported; "
            f"press {RESTART[service]}, then run this cell again"
        )


def _remove_old_torchao(service: str | None) -> None:
    version = refused_torchao()
    if version is None:
        return
    if service:
        _pip("uninstall", "--yes", "torchao")
    if installed("torchao"):
        raise RuntimeError(
            f"PEFT refuses torchao {version}, and no lesson needs it; "
            "run: pip uninstall torchao, then restart the kernel"
        )
    print(f"{service}: removed torchao {version}, which PEFT refuses; no lesson needs it")


def _quiet() -> None:
    # Imported only now: on a hosted machine these packages may just have been installed
    import logging
    import warnings

    import transformers

    # About names that TRL uses, not about the reader's code
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # bitsandbytes recommends faster kernels whenever peft is imported
    for library in ("transformers", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # the tiny model loads at once


def _chosen(profile: str | None):
    """The profile, and a few words that say why if it isn't the cell's own choice."""
    variable = os.environ.get("SOUNDMIND_PROFILE")
    name, why = profile or variable or "tiny", ""
    if variable and profile in (None, "auto"):
        name, why = variable, ", from SOUNDMIND_PROFILE"
    if name == "auto":
        name = doctor.best_profile()
        why += ", the largest that fits this machine"
    chosen = profiles.get(name)
    if sizes := json.loads(os.environ.get("SOUNDMIND_SIZES", "{}")):
        chosen = replace(chosen, **sizes)
        why += f", with {', '.join(sizes)} from SOUNDMIND_SIZES"
    return chosen, why


def _describe(profile, why: str) -> None:
    import platform

    import torch

    if profile.num_threads:
        torch.set_num_threads(profile.num_threads)
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    packages = ("torch", "transformers", "trl", "peft")
    found = ", ".join(f"{package} {installed(package)}" for package in packages)
    print(f"Python {platform.python_version()}, {found}")
    print(f"device: {device}; profile: {profile.name} ({profile.where}){why}")


def _advise(service: str, profile) -> None:
    """What a hosted session still needs for this profile, and where its files go."""
    import torch

    if profile.card and not torch.cuda.is_available():
        choose = CHOOSE_GPU[service]
        print(f"profile {profile.name} needs a GPU, which this session lacks; {choose}")
    if DRIVE.is_dir():
        # Not the weights: they are larger than a free Drive, and soon fetched again
        cache = os.environ.setdefault("SOUNDMIND_CACHE", str(DRIVE / "soundmind" / "cache"))
        print(f"Google Drive is mounted: runs go to {runs_folder()}, fetched audio to {cache}")
    elif profile.card and service == "Colab":
        print(f"A run is lost when this session ends, unless Google Drive is mounted: {MOUNT}")
