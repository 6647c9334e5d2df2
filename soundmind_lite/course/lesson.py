"""The first cell of every notebook: finds or installs what a lesson needs, says what it runs on.

On Colab and Kaggle missing packages are installed. Their torch, numpy and Jupyter stay as they
are: replacing them breaks the hosted session. On any other machine nothing is installed.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ..scale.doctor import REQUIREMENTS, fits, installed, wanted

# Packages that a hosted notebook keeps: the compiled base, and the notebook's own server
KEEP_HOSTED = {
    "torch",
    "numpy",
    "scipy",
    "matplotlib",
    "librosa",
    "ipywidgets",
    "jupyterlab",
    "nbval",
    "pytest",
    "pytest-xdist",
    "hypothesis",
}
HOSTED_ONLY_IF_MISSING = {"librosa", "matplotlib", "ipywidgets"}


def hosted() -> str | None:
    """The service that hosts the notebook, "Colab" or "Kaggle"; None on any other machine."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    return "Colab" if find_spec("google") and find_spec("google.colab") else None


def to_install(service: str | None) -> list[str]:
    """pip requirements of the packages that are missing or of another version.

    On a hosted `service` ("Colab", "Kaggle") without the packages that it keeps.
    """
    needed = []
    for name, version in wanted():
        found = installed(name)
        if service and name in KEEP_HOSTED:
            unmet = found is None and name in HOSTED_ONLY_IF_MISSING
        else:
            unmet = not fits(found, version)
        if unmet:
            needed.append(f"{name}=={version}" if version else name)
    return needed


def install(requirements: list[str]) -> None:
    """Installs with pip and holds the packages of KEEP_HOSTED at their versions.

    Raises RuntimeError with pip's own message if the installation fails.
    """
    held = [f"{name}=={installed(name)}\n" for name in sorted(KEEP_HOSTED) if installed(name)]
    constraints = Path(tempfile.gettempdir()) / "soundmind_constraints.txt"
    constraints.write_text("".join(held), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "-c", str(constraints), *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        message = done.stderr.strip()[-2000:]
        raise RuntimeError(f"pip could not install {', '.join(requirements)}:\n{message}")


def start(profile: str = "tiny"):
    """Prepares a lesson and returns its Profile. Can be called twice.

    Raises RuntimeError if a package is missing on a machine that isn't hosted, or if a package
    was replaced after its import.
    """
    service = hosted()
    needed = to_install(service)
    if needed and service is None:
        raise RuntimeError(
            f"missing or of another version: {', '.join(needed)}; "
            f"run: pip install -r {REQUIREMENTS.name}, then restart the kernel"
        )
    if needed:
        print(f"{service}: installing {', '.join(needed)}; this takes a minute or two")
        replaced = {requirement.partition("==")[0] for requirement in needed} & set(sys.modules)
        install(needed)
        if replaced:
            raise RuntimeError(
                f"{', '.join(sorted(replaced))} changed after it was imported; "
                "restart the session (Runtime menu) and run this cell again"
            )
    # Idle threads that spin slow two busy cores down by up to 20 times
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    return _ready(profile)


def _ready(name: str):
    # Imported only now: on a hosted machine these packages may just have been installed
    import logging
    import platform
    import warnings

    import torch
    import transformers

    from .. import profiles

    # About names that TRL uses, not about the reader's code
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # bitsandbytes recommends faster kernels whenever peft is imported
    for library in ("transformers", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # the tiny model loads at once
    profile = profiles.get(name)
    if profile.num_threads:
        torch.set_num_threads(profile.num_threads)
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    packages = ("torch", "transformers", "trl", "peft")
    versions = ", ".join(f"{package} {installed(package)}" for package in packages)
    print(f"Python {platform.python_version()}, {versions}")
    print(f"device: {device}; profile: {profile.name} ({profile.where})")
    return profile
