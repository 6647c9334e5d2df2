"""What the site tells machines: its changes as an Atom feed, and where its sitemap is.

Extensions of Sphinx make feeds of dated pages; ours has one page, CHANGELOG.md, with an entry for
each edition.
"""

import re
from pathlib import Path
from xml.etree import ElementTree as Tree

from ..profiles import ROOT
from . import pages

PAGE, FILE = "changes", "feed.xml"  # the page's name in the source folder, and the feed
ATOM = "http://www.w3.org/2005/Atom"
EDITION = re.compile(r"^## (\d+(?:\.\d+)+) - (\d{4}-\d\d-\d\d)\n+(.+)$", re.MULTILINE)


def address() -> str:
    """The address of the feed."""
    return pages.address("Homepage") + FILE


def editions() -> list[tuple[str, str, str]]:
    """(version, date, first paragraph) of each edition in CHANGELOG.md, the newest first."""
    return EDITION.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def with_anchors(app, name: str, source: list[str]) -> None:
    """Gives each edition on the page of changes an anchor, such as "v0-2-0", in place."""
    if name == PAGE:
        source[0] = EDITION.sub(r"(v\1)=\n\g<0>", source[0])


def write(folder: Path) -> None:
    """Writes the feed and robots.txt, which search engines read at the root of a host alone."""
    home = pages.address("Homepage")
    page = f"{home}{PAGE}.html"
    feed = Tree.Element("feed", xmlns=ATOM)
    found = editions()
    fill(feed, "Changes of soundmind_lite", address(), found[0][1], page)
    Tree.SubElement(feed, "link", rel="self", href=address())
    Tree.SubElement(Tree.SubElement(feed, "author"), "name").text = "the soundmind_lite authors"
    for version, date, text in found:
        entry = Tree.SubElement(feed, "entry")
        anchor = f"{page}#v{version.replace('.', '-')}"
        fill(entry, f"soundmind_lite {version}", anchor, date, anchor)
        Tree.SubElement(entry, "summary").text = text
    Tree.indent(feed)
    Tree.ElementTree(feed).write(folder / FILE, encoding="utf-8", xml_declaration=True)
    robots = f"User-agent: *\nAllow: /\nSitemap: {home}sitemap.xml\n"
    (folder / "robots.txt").write_text(robots, encoding="utf-8")


def fill(element: Tree.Element, title: str, name: str, date: str, link: str) -> None:
    """Adds what both a feed and an entry must have; `name` is an address that never changes."""
    parts = {"title": title, "id": name, "updated": f"{date}T00:00:00Z"}
    for tag, text in parts.items():
        Tree.SubElement(element, tag).text = text
    Tree.SubElement(element, "link", href=link)
