"""The teacher kit's slides as one HTML file that needs no network: `slides_offline.html`.

nbconvert makes the sections. It would load reveal.js from elsewhere; here they come from the
package sphinx-revealjs, which carries them (MIT licence), and are put into the file.
"""

import re
from importlib.util import find_spec
from pathlib import Path

import nbformat

from ..profiles import ROOT
from . import pages

NAME = "notebooks/teaching/slides.ipynb"
FILE = "notebooks/teaching/slides_offline.html"  # in the site's folder
REVEAL = "_static/revealjs"  # in sphinx_revealjs
LICENCE = ("LICENSE",)
STYLES = ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css")
SCRIPTS = ("dist/reveal.js", "plugin/notes/notes.js")
# a block between $$, a formula within a line between $
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)
IMPORT = re.compile(r"@import url\([^)]*\);")  # the theme's font; ours are the reader's own


def write(site: Path) -> Path:
    """Writes the slides to the folder of a site, where their links lead to its pages.

    Returns the file's path.
    """
    from nbconvert.exporters import SlidesExporter

    notebook = nbformat.read(ROOT / NAME, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = adapted(cell.source)
    exporter = SlidesExporter(
        template_file=str(pages.TEMPLATES / "slides.html.j2"),
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    parts = {"licence": LICENCE, "styles": STYLES, "scripts": SCRIPTS}
    parts = {name: [reveal(file) for file in files] for name, files in parts.items()}
    html, _ = exporter.from_notebook_node(notebook, resources=parts)
    file = site / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(html, encoding="utf-8")
    return file


def adapted(text: str) -> str:
    """A cell's Markdown without badges, its links to pages of the site, its formulas as MathML."""
    text = pages.linked(pages.BADGE.sub("", text), NAME)
    text = re.sub(r"\.(?:ipynb|md)(?=[)#])", ".html", text)
    return FORMULA.sub(mathml, text)


def mathml(formula: re.Match) -> str:
    """A formula of `FORMULA` as MathML, on one line."""
    from docutils.utils.math.latex2mathml import tex2mathml

    block, inline = formula.groups()
    drawn = tex2mathml(block or inline, as_block=bool(block)).replace("\n", "")
    return f'<div class="formula">{drawn}</div>' if block else drawn


def reveal(name: str) -> str:
    """The text of a file of reveal.js."""
    folder = Path(find_spec("sphinx_revealjs").origin).parent / REVEAL
    return IMPORT.sub("", (folder / name).read_text(encoding="utf-8"))
