"""The first cell of every notebook: finds or installs what a lesson needs, and says what it runs on.

On Colab and Kaggle missing packages are installed. Their torch, numpy and Jupyter stay as they are: replacing them breaks the machine's own set-up.
On any other machine nothing is installed.
"""
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ..scale.doctor import REQUIREMENTS, fits, installed, wanted

# What a hosted notebook keeps in its own version: the compiled base, and what serves the notebook itself
KEEP_HOSTED = {"torch", "numpy", "scipy", "matplotlib", "librosa", "ipywidgets", "jupyterlab", "nbval", "pytest", "hypothesis"}
HOSTED_ONLY_IF_MISSING = {"librosa", "matplotlib", "ipywidgets"}


def hosted() -> str | None:
    """"Colab" or "Kaggle" if the notebook runs there, else None."""
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        return "Kaggle"
    return "Colab" if find_spec("google") and find_spec("google.colab") else None


def to_install(on: str | None) -> list[str]:
    """pip requirements of the packages that are missing or of another version, as far as this place may replace them."""
    needed = []
    for name, version in wanted():
        found, requirement = installed(name), f"{name}=={version}" if version else name
        if on and name in KEEP_HOSTED:
            needed += [requirement] if found is None and name in HOSTED_ONLY_IF_MISSING else []
        elif not fits(found, version):
            needed.append(requirement)
    return needed


def install(requirements: list[str]) -> None:
    """Installs with pip; packages that must stay are held at their versions. Raises RuntimeError with pip's own words if it fails."""
    held = [f"{name}=={installed(name)}\n" for name in sorted(KEEP_HOSTED) if installed(name)]
    constraints = Path(tempfile.gettempdir()) / "soundmind_constraints.txt"
    constraints.write_text("".join(held), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraints), *requirements]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip could not install {', '.join(requirements)}:\n{done.stderr.strip()[-2000:]}")


def start(profile: str = "tiny"):
    """Prepares a lesson and returns its Profile. Can be called twice.

    Raises RuntimeError if a package is missing on a machine of your own, or if a package was replaced after its import.
    """
    on = hosted()
    if needed := to_install(on):
        if on is None:
            raise RuntimeError(f"missing or of another version: {', '.join(needed)}; run: pip install -r {REQUIREMENTS.name}, then restart the kernel")
        print(f"{on}: installing {', '.join(needed)}; this takes a minute or two")
        loaded = {line.partition("==")[0] for line in needed} & set(sys.modules)
        install(needed)
        if loaded:
            raise RuntimeError(f"{', '.join(sorted(loaded))} changed after it was imported; restart the session (Runtime menu) and run this cell again")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads that spin slow two busy cores down by up to 20 times
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    return _ready(profile)


def _ready(name: str):
    import logging
    import platform
    import warnings

    import torch
    import transformers

    from .. import profiles

    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # about names that TRL uses, not about the reader's code
    for library in ("transformers", "bitsandbytes"):  # the second recommends faster kernels whenever peft is imported
        logging.getLogger(library).setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()  # the tiny weights load at once
    profile = profiles.get(name)
    if profile.threads:
        torch.set_num_threads(profile.threads)
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    versions = ", ".join(f"{package} {installed(package)}" for package in ("torch", "transformers", "trl", "peft"))
    print(f"Python {platform.python_version()}, {versions}\ndevice: {device}; profile: {profile.name} ({profile.where})")
    return profile
