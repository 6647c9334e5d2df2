"""The site, built once for all of a session's tests, and its pages as they read them: fixtures."""

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT
from readme_commands import block

from soundmind_lite.publish import site

LOADING = ("link", "script", "img", "audio", "source", "iframe", "video")
NAMED = ("canonical", "alternate")  # what a page names without loading it
EMBEDDED = re.compile(r"data:[\w/]+;base64,[\w+/=]+")


class Page(HTMLParser):
    """What the tests read in a page: ids, links, loaded files, pictures, tags, the language."""

    def __init__(self, file: Path):
        super().__init__()
        self.text = EMBEDDED.sub("data:", file.read_text(encoding="utf-8"))
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.pictures: list[dict] = []
        self.tags: list[str] = []
        self.language = None
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if found.get("id"):
            self.ids.add(found["id"])
        if tag == "a" and found.get("name"):
            self.ids.add(found["name"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADING and found.get("rel") not in NAMED:
            self.loads += [found[key] for key in ("src", "href", "poster") if found.get(key)]
        if tag == "img":
            self.pictures.append(found)
        if tag == "html":
            self.language = found.get("lang")


@pytest.fixture(scope="session")
def built(shared):
    """The folder of the site, built by the command of the teacher kit's README in a folder
    `course`."""
    for module in site.TOOLS:
        pytest.importorskip(module, reason='the site needs Sphinx: pip install ".[site]"')
    return shared("site", build) / "offline" / "site"


def build(folder: Path) -> None:
    (folder / "course").mkdir()
    command = block("pip wheel").splitlines()[2]
    python, *words = shlex.split(command)
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder / "course",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    left = [path.name for path in (folder / "offline").iterdir()]
    assert left == ["site"], "it leaves nothing beside the site"


@pytest.fixture(scope="session")
def read(built):
    """{path from the site's root: Page}."""
    files = sorted(built.rglob("*.html"))
    return {file.relative_to(built).as_posix(): Page(file) for file in files}
