"""The labs of the pages: their scripts, and the data that they read, written for the site.

A page that is opened from a folder may load scripts but no other files, so data are scripts, too:
each sets one value of `soundmind.data`. They are loaded only where a lab asks for them.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from . import web_model, web_planner, web_rewards, web_run
from .pages import TEMPLATES

SCRIPTS = TEMPLATES / "live"
# {name of a value: the function that makes it}; what it returns becomes JSON. It gets the folder
# that it may write files to, such as clips, which the lab finds with `soundmind.file`.
DATA: dict[str, Callable[[Path], object]] = {}
DATA |= web_run.DATA
DATA |= web_planner.DATA
DATA |= web_rewards.DATA
DATA |= web_model.DATA


def write(folder: Path) -> None:
    """Writes the scripts of the labs and `data/NAME.js` for each of `DATA` to a new folder."""
    shutil.copytree(SCRIPTS, folder)
    data = folder / "data"
    data.mkdir()
    for name, make in DATA.items():
        (data / f"{name}.js").write_text(script(name, make(data)), encoding="utf-8")


def script(name: str, value: object) -> str:
    """The JavaScript that sets a value of `soundmind.data`."""
    return f"soundmind.data[{json.dumps(name)}] = {json.dumps(value, ensure_ascii=False)};\n"
