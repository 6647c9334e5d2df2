"""An offline bundle: the packages, the course and its site in one folder, for a classroom without a network."""
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from .doctor import REQUIREMENTS
from .profiles import ROOT

LEFT_OUT = (".git", ".venv", "build", "__pycache__", "*.egg-info", ".*_cache", ".ipynb_checkpoints", ".hypothesis")
HOW = """The course without a network

1. Copy this folder to the machine. Its packages fit {system}, Python {version}.
2. In this folder:

   python -m venv venv
   venv{sep}{scripts}{sep}python -m pip install --no-index --find-links wheels -r course/requirements.txt

3. venv{sep}{scripts}{sep}jupyter lab course/notebooks/00_start_here.ipynb
{site}"""


class BundleError(RuntimeError):
    """A bundle that can't be made; the message says why."""


def build(out: str | Path, requirements: Path = REQUIREMENTS) -> Path:
    """Writes the bundle to the new folder `out` (about 750 MB with the CPU build of torch) and checks that its packages install from it alone.

    It is written beside and renamed, so that a half bundle never has its name. The site is part of it if Sphinx is installed. Raises BundleError if the
    folder exists, a package can't be fetched or built, or the packages don't suffice.
    """
    out = Path(out).resolve()
    if out.exists():
        raise BundleError(f"{out} exists; give a new folder")
    if out.is_relative_to(ROOT):
        raise BundleError(f"{out} lies inside the course, which would be copied into itself; give a folder elsewhere")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    pip("wheel", "--wheel-dir", str(part / "wheels"), "-r", str(requirements))
    pip("install", "--dry-run", "--ignore-installed", "--no-index", "--find-links", str(part / "wheels"), "-r", str(requirements))
    shutil.copytree(ROOT, part / "course", ignore=_ignored)
    site = add_site(part)
    (part / "README.txt").write_text(how_to(site), encoding="utf-8")
    part.rename(out)
    return out


def _ignored(folder: str, names: list[str]) -> set[str]:
    """What isn't copied: caches everywhere, and the learner's own runs at the top and beside the notebooks, but not the runs among the assets."""
    own_runs = {"runs"} if Path(folder).name != "assets" else set()
    return shutil.ignore_patterns(*LEFT_OUT)(folder, names) | own_runs & set(names)


def add_site(folder: Path) -> bool:
    if find_spec("sphinx") is None:
        return False
    from . import site

    site.build(folder / "site")
    return True


def how_to(site: bool) -> str:
    """The bundle's README for the system that it was made on."""
    windows = sys.platform == "win32"
    return HOW.format(
        system=sys.platform, version="{}.{}".format(*sys.version_info), sep="\\" if windows else "/", scripts="Scripts" if windows else "bin",
        site="4. site/index.html is the course to read, in any browser.\n" if site else "",
    )


def pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"pip {arguments[0]} failed: {done.stderr.strip()[-600:] or done.stdout.strip()[-600:]}")
