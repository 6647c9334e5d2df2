"""Sphinx's settings for the site of the course.

`soundmind_lite.publish.site` copies them beside the pages that it puts together. Nothing that a
page needs may come from elsewhere: no fonts, no MathJax (formulas become MathML, which browsers
draw themselves), no widget scripts. Its address is named in previews, sitemap and feed alone.
"""

import html
import re
import textwrap

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import soundmind_lite
from soundmind_lite.publish import feed, pages, preview

project, version, language = "soundmind_lite", soundmind_lite.__version__, "en"
author = "the soundmind_lite authors"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.githubpages",
    "sphinx_sitemap",
    "sphinxext.opengraph",
]

nb_execution_mode = "off"  # pages show what was committed
nb_ipywidgets_js = {}  # scripts from elsewhere, for live widgets; ours leave a static picture
nb_merge_streams = True
nb_code_prompt_show = "Show the code of this cell"
nb_code_prompt_hide = "Hide the code of this cell"
myst_enable_extensions = ["dollarmath", "tasklist", "colon_fence"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"
suppress_warnings = ["myst.header"]  # a card may begin its sections where it likes

autodoc_member_order = "bysource"
# a default as it is written, not a path of the machine that built the page
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
# a name appears in the module that defines it
autodoc_default_options = {"members": True, "ignore-module-all": True}
add_module_names = False
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_favicon = "icon.svg"
html_title = "soundmind_lite"
html_static_path, templates_path = ["_static"], ["_templates"]
html_css_files = ["site.css", "live/live.css"]
html_js_files = [("site.js", {"defer": "defer"}), "live/live.js"]
html_copy_source = False
html_show_copyright = False
# the search finds every name, and the library's first page lists its modules
html_use_index = html_domain_indices = False
html_show_search_summary = False  # it would fetch pages, which browsers refuse from file://
# the pictures' blue is the one accent; both shades have a contrast above 5 on their pages
ACCENTS = ("color-brand-primary", "color-brand-content", "color-brand-visited")
FONTS = {
    "font-stack": 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
    "font-stack--monospace": 'ui-monospace, "SFMono-Regular", Menlo, Consolas, monospace',
}
html_theme_options = {
    "navigation_with_keys": False,
    "light_css_variables": FONTS | dict.fromkeys(ACCENTS, "#0067a3"),
    "dark_css_variables": dict.fromkeys(ACCENTS, "#6cb8ee"),
}

# where the site is published; nothing is fetched from there
html_baseurl = ogp_site_url = pages.address("Homepage")
sitemap_url_scheme, sitemap_indent, sitemap_excludes = "{link}", 1, ["search.html"]
ogp_image, ogp_image_alt = "preview.png", preview.ALT
ogp_custom_meta_tags = [
    f'<meta property="og:image:width" content="{preview.SIZE[0]}">',
    f'<meta property="og:image:height" content="{preview.SIZE[1]}">',
    '<meta name="twitter:card" content="summary_large_image">',
    f'<link rel="alternate" type="application/atom+xml" title="Changes" href="{feed.address()}">',
]

GOAL = "Goal. "
TABLE = re.compile(r"^\|.*\|\n\|[-|: ]+\|\n(?:\|.*\|\n?)+", re.MULTILINE)
BIG = re.compile(r"\\big([()])")


def inline_mathml(self, node: nodes.Element) -> None:
    """Writes a formula within a line."""
    self.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def block_mathml(self, node: nodes.Element) -> None:
    """Writes a formula on a line of its own."""
    self.body.append(f'<div class="formula">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def mathml(node: nodes.Element, *, block: bool) -> str:
    """A formula as MathML. Raises MathError, naming a command that docutils doesn't know."""
    return tex2mathml(BIG.sub(sized_bracket, node.astext()), as_block=block)


def sized_bracket(match: re.Match) -> str:
    """LaTeX's \\big( and \\big) as \\bigl( and \\bigr), which docutils knows."""
    side = "l" if match[1] == "(" else "r"
    return rf"\big{side}{match[1]}"


def needed_sheets(app, name, template, context: dict, doctree: nodes.document | None) -> None:
    """Leaves out style sheets that a page doesn't need, since a phone waits for each.

    That is furo's for extensions that we don't use, and myst-nb's on a page without cells.
    """
    unneeded = ["furo-extensions"]
    if "cell_input" not in context.get("body", ""):
        unneeded.append("mystnb")
    sheets = [(sheet, str(sheet.filename)) for sheet in context["css_files"]]
    needed = [sheet for sheet, file in sheets if not any(part in file for part in unneeded)]
    context["css_files"] = needed


def from_markdown(app, what, name, thing, options, lines: list[str]) -> None:
    """Turns the Markdown of docstrings into reStructuredText, in place.

    `code` stands in single backticks there, lists follow without an empty line, and tables are
    drawn with bars.
    """
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines))
    text = TABLE.sub(list_table, text)
    lines[:] = re.sub(r"^((?!- |  ).+)\n(- )", r"\1\n\n\2", text, flags=re.MULTILINE).split("\n")


def list_table(match: re.Match) -> str:
    """A Markdown table as reStructuredText."""
    header, _, *rows = match[0].splitlines()
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        first, *others = [cell.strip() for cell in row.strip("|").split("|")]
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return "\n".join(lines) + "\n"


def describe(app, name, template, context: dict, doctree: nodes.document | None) -> None:
    """Describes a page to search engines and previews: a lesson's goal, else what comes first."""
    paragraphs = list(doctree.findall(nodes.paragraph)) if doctree else []
    texts = [paragraph.astext() for paragraph in paragraphs]
    goals = [text.removeprefix(GOAL) for text in texts if text.startswith(GOAL)]
    if found := (goals or texts)[:1]:
        words = html.escape(textwrap.shorten(found[0], 300, placeholder=" …"))
        context["meta"] = (context["meta"] or {}) | {"og:description": words}
        context["metatags"] += f'<meta name="description" content="{words}">\n'


def for_machines(app, error: Exception | None) -> None:
    """Writes the feed, robots.txt and the picture that previews of links show."""
    if error is None:
        feed.write(app.outdir)
        preview.write(app.outdir / ogp_image)


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("autodoc-process-docstring", from_markdown)
    app.connect("source-read", feed.with_anchors)
    app.connect("html-page-context", needed_sheets)
    app.connect("html-page-context", describe, priority=400)  # before the previews' extension
    app.connect("build-finished", for_machines)
