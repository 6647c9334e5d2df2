"""Sphinx's settings for the site of the course; `soundmind_lite.publish.site` copies them beside the pages that it puts together.

Nothing that a page needs may come from elsewhere: no fonts, no MathJax (formulas become MathML, which browsers draw themselves), no widget scripts.
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
nb_code_prompt_show, nb_code_prompt_hide = "Show the {type} of this cell", "Hide the {type} of this cell"
myst_enable_extensions = ["dollarmath", "tasklist", "colon_fence"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"
suppress_warnings = ["myst.header"]  # a card may begin its sections where it likes

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # a default as it is written, not the path of the machine that built the page
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "ignore-module-all": True}  # a name stands where it is defined
add_module_names = False
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "soundmind_lite"
html_static_path, templates_path = ["_static"], ["_templates"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_copyright = False
html_use_index = html_domain_indices = False  # the search finds every name, and the library's first page lists its modules
html_show_search_summary = False  # it would fetch pages, which browsers refuse from file://
html_theme_options = {"navigation_with_keys": False}

BIG = re.compile(r"\\big([()])")


def mathml(self, node: nodes.Element, block: bool) -> None:
    """Writes a formula as MathML. A command that docutils doesn't know raises MathError, which names it."""
    tex = BIG.sub(lambda m: rf"\big{'l' if m[1] == '(' else 'r'}{m[1]}", node.astext())
    formula = tex2mathml(tex, as_block=block)
    self.body.append(f'<div class="formula">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def from_markdown(app, what, name, thing, options, lines: list[str]) -> None:
    """The docstrings are written as Markdown is: `code` in single backticks, lists without an empty line before them."""
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines))
    lines[:] = re.sub(r"^((?!- |  ).+)\n(- )", r"\1\n\n\2", text, flags=re.MULTILINE).split("\n")


def setup(app) -> None:
    app.add_html_math_renderer("mathml", (lambda self, node: mathml(self, node, False), None), (lambda self, node: mathml(self, node, True), None))
    app.connect("autodoc-process-docstring", from_markdown)
