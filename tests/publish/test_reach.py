"""How the course is found, shared, cited and started elsewhere: what holds without a network.

The part that reads pages needs the extra `site` (`pip install ".[site]"`). Colab, Kaggle,
Codespaces and the published site itself were not tried.
"""

import json
import re
import struct
import tomllib
from datetime import datetime
from html.parser import HTMLParser
from urllib.parse import urlsplit
from xml.etree import ElementTree as Tree

import pytest
import yaml
from conftest import ROOT

import soundmind_lite
from soundmind_lite.publish import feed, pages, preview

pytest_plugins = ("site_pages",)

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HOME = PROJECT["urls"]["Homepage"]
# no pages of Sphinx's: it makes the search itself, nbconvert the slides
UNLISTED = {"search.html", "notebooks/teaching/slides_offline.html"}
NAMES = {"a": feed.ATOM, "s": "http://www.sitemaps.org/schemas/sitemap/0.9"}


class Head(HTMLParser):
    """A page's meta tags by name or property, each with all its values, and its linked pages."""

    def __init__(self, text: str):
        super().__init__()
        self.meta: dict[str, list[str]] = {}
        self.links: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "meta":
            name = found.get("property") or found.get("name")
            self.meta.setdefault(name, []).append(found.get("content"))
        elif tag == "link":
            self.links.setdefault(found.get("rel"), []).append(found["href"])


@pytest.fixture(scope="module")
def heads(read):
    return {name: Head(page.text) for name, page in read.items() if name not in UNLISTED}


def notebook(name):
    return json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))


# --- the pages


def test_the_sitemap_lists_every_page_once(built, heads):
    sitemap = Tree.parse(built / "sitemap.xml")
    listed = [place.text for place in sitemap.iterfind("s:url/s:loc", NAMES)]
    assert sorted(listed) == sorted(HOME + name for name in heads)
    assert (built / "robots.txt").read_text().splitlines()[-1] == f"Sitemap: {HOME}sitemap.xml"


def test_each_page_names_its_address_and_what_a_preview_shows(built, heads):
    for name, head in heads.items():
        assert head.links["canonical"] == head.meta["og:url"] == [HOME + name]
        assert head.meta["og:image"] == [f"{HOME}preview.png"], name
        assert head.meta["og:image:alt"] == [preview.ALT]
        assert len(head.meta["og:title"]) == 1
        assert head.links["alternate"] == [feed.address()]
    header = (built / "preview.png").read_bytes()[:24]
    assert struct.unpack(">II", header[16:]) == preview.SIZE == (1200, 630)


def test_each_page_has_one_description_of_sentences(heads):
    for name, head in heads.items():
        (words,) = head.meta["description"]
        assert head.meta["og:description"] == [words], name
        assert 20 < len(words) <= 300, f"{name}: {words}"
        assert ",," not in words, f"{name}: a table isn't a sentence"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_lesson_is_described_by_its_goal(heads, path):
    source = "".join(notebook(path.name)["cells"][0]["source"])
    goal = re.search(r"\*\*Goal\.\*\* (.{12})", source)[1]
    assert heads[f"notebooks/{path.stem}.html"].meta["description"][0].startswith(goal)


def test_the_feed_is_valid_atom(built, read):
    root = Tree.parse(built / feed.FILE).getroot()
    assert root.tag == f"{{{feed.ATOM}}}feed"
    entries = root.findall("a:entry", NAMES)
    for part in (root, *entries):
        for tag in ("id", "title", "updated"):
            assert len(part.findall(f"a:{tag}", NAMES)) == 1, tag
        updated = part.findtext("a:updated", namespaces=NAMES)
        assert datetime.fromisoformat(updated).utcoffset().total_seconds() == 0
        for link in part.findall("a:link", NAMES):
            assert link.get("href").startswith(HOME)
    assert root.findtext("a:author/a:name", namespaces=NAMES)
    ids = [entry.findtext("a:id", namespaces=NAMES) for entry in entries]
    assert ids == [f"{HOME}changes.html#v0-2-0", f"{HOME}changes.html#v0-1-0"], "ids never change"
    for address in ids:
        assert urlsplit(address).fragment in read["changes.html"].ids


def test_the_feed_is_the_same_whenever_it_is_written(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        feed.write(tmp_path / name)
    assert (tmp_path / "a" / feed.FILE).read_bytes() == (tmp_path / "b" / feed.FILE).read_bytes()


# --- one version, one address, one set of packages


def test_the_newest_change_is_this_version():
    versions = [version for version, _, _ in feed.editions()]
    dates = [date for _, date, _ in feed.editions()]
    assert versions[0] == PROJECT["version"] == soundmind_lite.__version__
    assert dates == sorted(dates, reverse=True)
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert len(versions) == text.count("\n## "), "an edition without version, date or first words"
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_names_version_address_and_paper():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == PROJECT["version"]
    assert str(cited["date-released"]) == feed.editions()[0][1]
    assert cited["license"] == PROJECT["license"]
    assert (cited["repository-code"], cited["url"]) == (pages.address(), HOME)
    (paper,) = cited["references"]
    assert paper["title"].startswith("SoundMind: RL-Incentivized Logic Reasoning")
    assert paper["authors"][0]["family-names"] == "Diao"


def test_the_container_installs_what_was_tested_and_opens_the_course():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    python = container["image"].removeprefix("mcr.microsoft.com/devcontainers/python:")
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert int(low) <= int(python.removeprefix("3.")) < int(high)
    first, second = container["postCreateCommand"].split(" && ")
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    torch = next(line for line in pinned if line.startswith("torch=="))
    assert first == f"pip install {torch} --index-url https://download.pytorch.org/whl/cpu"
    assert second == "pip install -r requirements.txt"
    for name in container["customizations"]["codespaces"]["openFiles"]:
        assert (ROOT / name).is_file()
