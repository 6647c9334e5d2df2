"""Sphinx's settings for the site of the course.

`soundmind_lite.publish.site` copies them beside the pages that it puts together. Nothing that a
page needs may come from elsewhere: no fonts, no MathJax (formulas become MathML, which browsers
draw themselves), no widget scripts.
"""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import soundmind_lite

project, version, language = "soundmind_lite", soundmind_lite.__version__, "en"
author = "the soundmind_lite authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.githubpages"]

nb_execution_mode = "off"  # pages show what was committed
nb_ipywidgets_js = {}  # scripts from elsewhere, for live widgets; ours leave a static picture
nb_merge_streams = True
nb_code_prompt_show = "Show the {type} of this cell"
nb_code_prompt_hide = "Hide the {type} of this cell"
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
html_title = "soundmind_lite"
html_static_path, templates_path = ["_static"], ["_templates"]
html_css_files = ["site.css", "live/live.css"]
html_js_files = [("site.js", {"defer": "defer"}), "live/live.js"]
html_copy_source = False
html_show_copyright = False
# the search finds every name, and the library's first page lists its modules
html_use_index = html_domain_indices = False
html_show_search_summary = False  # it would fetch pages, which browsers refuse from file://
html_theme_options = {"navigation_with_keys": False}

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


def from_markdown(app, what, name, thing, options, lines: list[str]) -> None:
    """Turns the Markdown of docstrings into reStructuredText, in place.

    `code` stands in single backticks there, and lists follow without an empty line.
    """
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines))
    lines[:] = re.sub(r"^((?!- |  ).+)\n(- )", r"\1\n\n\2", text, flags=re.MULTILINE).split("\n")


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("autodoc-process-docstring", from_markdown)
