"""The commands of the teacher kit's pages, run as a reader would copy them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PAGES = sorted((ROOT / "notebooks" / "teaching").glob("*.md"))


def block(words: str, language: str = "bash") -> str:
    """The one fenced block of that language in the teacher kit that holds these words."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (found,) = [found for found in blocks if words in found]
    return found


def bash(commands: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Runs commands in a folder and stops at the first that fails.

    `python`, and the commands installed beside it, are this interpreter's. The course isn't on the
    path for imports, unless a variable says so.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment |= variables
    return subprocess.run(
        ["bash", "-e", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True
    )
