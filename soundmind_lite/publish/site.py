"""The course as a folder of web pages: `python -m soundmind_lite site --out DIR`.

Nothing is run and nothing is fetched, neither here nor by a page that is opened. A source folder in
the shape of the repository is put together, so that links between files stay as they are; Sphinx
with myst-nb and furo makes the pages. Files that don't become pages are linked in the repository.
"""

import contextlib
import io
import os
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from ..profiles import ASSETS, ROOT
from . import library, live, pages, slides, web_run
from .pages import TEMPLATES, SiteError

TOOLS = {
    "sphinx": "sphinx",
    "myst_nb": "myst-nb",
    "furo": "furo",
    "sphinx_sitemap": "sphinx-sitemap",
    "sphinxext": "sphinxext-opengraph",
    "sphinx_revealjs": "sphinx-revealjs",
}
HEAR = "<!-- hear -->"  # where the home page has its question
# Sphinx's settings and what they name, and the folder of each in the source folder
SETTINGS = {
    "conf.py": "",
    "icon.svg": "",
    "loop.svg": "assets/site",
    "site.css": "_static",
    "site.js": "_static",
    "search.html": "_templates",
}


def ready(out: Path) -> None:
    """SiteError if a tool is missing, or if `out` holds anything but an earlier site."""
    missing = [package for module, package in TOOLS.items() if find_spec(module) is None]
    if missing:
        raise SiteError(f'the site needs {", ".join(missing)}: pip install ".[site]"')
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    inventory = out / "objects.inv"
    lines = inventory.read_bytes().split(b"\n") if inventory.is_file() else []
    if lines[1:2] != [b"# Project: soundmind_lite"]:
        raise SiteError(f"{out} holds something else than this site; choose another --out")


def assemble(source: Path) -> None:
    """Writes the source folder."""
    files = {name: page for name, page in pages.pages().items() if name != "README.md"}
    texts = {page: pages.text_of(name) for name, page in files.items()}
    texts["README.txt"] = pages.text_of("README.md")  # of which the home page includes the most
    texts["index.md"] = texts["index.md"].replace(HEAR, web_run.hear_box())
    texts["api/index.md"] = library.index()
    for package, modules in library.packages().items():
        texts[f"api/{package}.rst"] = library.page(package, modules)
    for name, text in texts.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")

    figures = sorted((ASSETS / "figures").glob("*.png"))
    for picture in (*figures, ASSETS / "tiny_omni" / "training_curve.png"):
        copy(picture, source / picture.relative_to(ROOT))
    for name, folder in SETTINGS.items():
        copy(TEMPLATES / name, source / folder / name)
    live.write(source / "_static" / "live")


def copy(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def sphinx(source: Path, html: Path) -> None:
    """Runs Sphinx. SiteError lists its warnings if there are any."""
    from sphinx.cmd.build import main

    warnings, doctrees = source.parent / "warnings.txt", source.parent / "doctrees"
    options = ["-q", "-b", "html", "-W", "--keep-going", "-w", str(warnings), "-d", str(doctrees)]
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        failed = main([*options, str(source), str(html)])
    found = warnings.read_text(encoding="utf-8") if warnings.exists() else ""
    found = found.replace(f"{source}{os.sep}", "").strip()
    if failed or found:
        text = found or said.getvalue()[-2000:]
        raise SiteError(f"Sphinx complains, and no site was written:\n{text}")


def accessible(html: str) -> str:
    """A page without four faults of the tools that made it.

    Headings without a level, checkboxes without a name, parameters as a list without terms, and
    pictures that a phone loads before anybody scrolls to them.
    """
    html = html.replace('<img alt="', '<img loading="lazy" alt="')
    box = '<input class="task-list-item-checkbox" disabled="disabled" type="checkbox">'
    caption = '<p class="caption" role="heading"'
    html = html.replace(box, '<span aria-hidden="true">☐ </span>')
    html = html.replace(f"{caption}>", f'{caption} aria-level="2">')
    return re.sub(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", signature_lines, html, flags=re.DOTALL)


def signature_lines(match: re.Match) -> str:
    """The parameters of a signature, a line each, as spans."""
    lines = match[1].replace("<dd>", "<span>").replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


def build(out: Path) -> Path:
    """Builds the site beside `out` and moves it there; an earlier site is replaced. Returns `out`.

    Raises SiteError if a tool is missing, if `out` holds something else, or if Sphinx warns; then
    `out` stays as it was.
    """
    out = Path(out).resolve()
    ready(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as folder:
        source, html, earlier = (Path(folder) / name for name in ("source", "html", "earlier"))
        source.mkdir()
        assemble(source)
        sphinx(source, html)
        for page in html.rglob("*.html"):
            page.write_text(accessible(page.read_text(encoding="utf-8")), encoding="utf-8")
        slides.write(html)
        (html / ".buildinfo").unlink(missing_ok=True)
        shutil.rmtree(html / "_sources", ignore_errors=True)
        if out.exists():
            out.rename(earlier)
        html.rename(out)
    return out
