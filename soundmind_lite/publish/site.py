"""The course as a folder of web pages, from the notebooks as they are committed: `python -m soundmind_lite site --out DIR`.

Nothing is run and nothing is fetched, neither here nor by a page that is opened. A source folder with the shape of the repository is put together, so
that links between files stay as they are; Sphinx with myst-nb and furo makes the pages. What isn't a page is linked in the repository.
"""
import contextlib
import io
import os
import re
import shutil
import tempfile
import tomllib
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import nbformat

from ..profiles import ASSETS, ROOT

TEMPLATES = ASSETS / "site"
TOOLS = {"sphinx": "sphinx", "myst_nb": "myst-nb", "furo": "furo"}
CARDS = ("assets/mini_alr/README.md", "assets/tiny_omni/README.md")
PAGES = ("glossary.md", "troubleshooting.md", "hard_to_break.md", "licences.md", "about.md")
ELSEWHERE = ("The library", "If something goes wrong")  # sections of the README that have pages of their own
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)")
BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?://[^)]*\)\]\(([^)]*)\)")  # a picture from elsewhere that is a link
EXERCISE = re.compile(r"^### Exercise ([\d.]+) · (.+)\nDifficulty ([●○]{3}), (\d+) minutes?\.", re.MULTILINE)


class SiteError(RuntimeError):
    """The site can't be built; the message says why."""


def project() -> dict:
    """The project's table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def address() -> str:
    """The repository's address, from the one place that has it."""
    return project()["urls"]["Repository"]


def ready(out: Path) -> None:
    """SiteError if a tool is missing, or if `out` holds anything but an earlier site."""
    if missing := [package for module, package in TOOLS.items() if find_spec(module) is None]:
        raise SiteError(f'the site needs {", ".join(missing)}: pip install ".[site]"')
    inventory = out / "objects.inv"
    ours = inventory.is_file() and inventory.read_bytes().split(b"\n")[1:2] == [b"# Project: soundmind_lite"]
    if out.exists() and not ours and not (out.is_dir() and not any(out.iterdir())):
        raise SiteError(f"{out} holds something else than this site; choose another --out")


def pages() -> dict[str, str]:
    """The files of the repository that become pages, by what they are called in the source folder. Solutions stay in the repository."""
    lessons = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    teaching = sorted(file for kind in ("*.md", "*.ipynb") for file in (ROOT / "notebooks" / "teaching").glob(kind))
    found = [file.relative_to(ROOT).as_posix() for file in (*lessons, *teaching)]
    return {"README.md": "index.md"} | {name: name for name in (*found, *CARDS)}


def linked(text: str, name: str) -> str:
    """Markdown of the file `name` with links that lead to pages of the site, or to the repository; badges become words."""
    known, url, folder = pages(), address(), PurePosixPath(name).parent

    def one(match: re.Match) -> str:
        picture, words, target = match.groups()
        path, mark, part = target.partition("#")
        place = os.path.normpath((folder / path).as_posix()).replace(os.sep, "/")
        if picture or not path or ":" in path or place.startswith("..") or not (ROOT / place).exists():
            return match[0]
        if place not in known:
            return f"[{words}]({url}/{'tree' if (ROOT / place).is_dir() else 'blob'}/main/{place}{mark}{part})"
        return f"[{words}]({os.path.relpath(known[place], folder).replace(os.sep, '/')}{mark}{part})"

    return LINK.sub(one, re.sub(r"\) (?=\[Open in )", ") · ", BADGE.sub(r"[\1](\2)", text)))


def sections(text: str) -> dict[str, str]:
    """The parts of a Markdown text by their second-level titles; what stands before the first is under ""."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2]))


def readme() -> dict[str, str]:
    """The README's sections with their links mended. SiteError names a section that pages are made of and that is gone."""
    found = sections(linked((ROOT / "README.md").read_text(encoding="utf-8"), "README.md"))
    for title in ("The course", *ELSEWHERE):
        if title not in found:
            raise SiteError(f"README.md has no section {title!r}, which the site shows")
    return found


def home() -> str:
    """The front door: the README without what has a page of its own, with the project's one sentence and the picture of how data flows."""
    parts = {title: text for title, text in readme().items() if title not in ELSEWHERE}
    text = "".join(f"## {title}\n{text}" if title else text for title, text in parts.items())
    text = re.sub(r"\A(# .+\n)", lambda match: f"{match[1]}\n{project()['description']}\n", text)
    text = text.replace("## The course\n", (TEMPLATES / "loop.md").read_text(encoding="utf-8") + "\n## The course\n")
    return text.rstrip() + "\n\n" + (TEMPLATES / "home_end.md").read_text(encoding="utf-8")


def at_a_glance(notebook, name: str) -> str:
    """The exercises of a lesson with their difficulty and minutes, as links, and where its solutions are."""
    found = [match.groups() for cell in notebook.cells if cell.cell_type == "markdown" for match in EXERCISE.finditer(cell.source)]
    lines = [f"**Exercises:** {len(found)}, about {sum(int(minutes) for *_, minutes in found)} minutes together."]
    lines += [f"- [{number} · {title}](#{anchor(number)}) {difficulty} {minutes} min" for number, title, difficulty, minutes in found]
    solutions = f"{address()}/blob/main/notebooks/solutions/{PurePosixPath(name).name}"
    return "\n".join((lines[0], "", *lines[1:], "", f"To do them, run the notebook; its [solutions]({solutions}) are a notebook, too."))


def anchor(number: str) -> str:
    return f"exercise-{number.replace('.', '-')}"


def lesson(path: Path, name: str):
    """A notebook as the page shows it: its exercises in front, the set-up cell folded, what is for teachers marked as such."""
    notebook = nbformat.read(path, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    if "/teaching/" not in name:
        first.source += "\n\n" + at_a_glance(notebook, name)
    for cell in notebook.cells:
        if cell.cell_type == "code" and "lesson.start(" in cell.source:
            cell.metadata["tags"] = [*cell.metadata.get("tags", ()), "hide-input"]
        if cell.cell_type == "markdown":
            text = EXERCISE.sub(lambda match: f"({anchor(match[1])})=\n{match[0]}", linked(cell.source, name))
            notes = cell.metadata.get("slideshow", {}).get("slide_type") == "notes"
            cell.source = f"::::{{admonition}} For the teacher\n{text}\n::::" if notes else text
    return notebook


def module_groups(library: str) -> list[tuple[list[str], str]]:
    """(modules, what they hold) of each row of the README's table of modules; a last group has the modules that the table leaves out."""
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|$", library, re.MULTILINE)
    groups = [(re.findall(r"`(\w+)`", names), holds) for names, holds in rows]
    named = {module for modules, _ in groups for module in modules}
    rest = sorted(file.stem for file in (ROOT / "soundmind_lite").glob("[a-z]*.py") if file.stem not in named)
    return [*groups, *([(rest, "what these need or share")] if rest else [])]


def api_page(modules: list[str], holds: str) -> str:
    """The reStructuredText of a group's page: a title, what it holds, and each module from its docstrings."""
    title = ", ".join(modules)
    parts = [f"{title}\n{'=' * len(title)}", holds[0].upper() + holds[1:] + "."]
    for module in modules:
        parts += [f"{module}\n{'-' * len(module)}"] if len(modules) > 1 else []
        parts.append(f".. automodule:: soundmind_lite.{module}")
    return "\n\n".join(parts) + "\n"


def api_index(library: str, groups: list[tuple[list[str], str]]) -> str:
    """The README's section on the library; in its table each module is a link."""
    table = re.sub(
        r"^\| `.+? \|", lambda cell: re.sub(r"`(\w+)`", r"{py:mod}`\1 <soundmind_lite.\1>`", cell[0]), library, flags=re.MULTILINE
    )
    names = "\n".join(modules[0] for modules, _ in groups)
    return f"# The library\n{table.rstrip()}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"


def ledger_page() -> str:
    """The paper ledger; its notebooks and lines of code become links."""
    from . import ledger

    code = f"{address()}/blob/main/"
    text = re.sub(r"`(notebooks/(\d\d)_\w+\.ipynb)`", r"[notebook \2](\1)", ledger.markdown())
    return re.sub(r"`(soundmind_lite/(\w+\.py)):(\d+)`", rf"[`\2:\3`]({code}\1#L\3)", text)


def assemble(source: Path) -> None:
    """Writes the source folder."""

    def write(name: str, text: str) -> None:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")

    parts = readme()
    library, trouble = (parts[title] for title in ELSEWHERE)
    for name in pages():
        if name.endswith(".ipynb"):
            write(name, nbformat.writes(lesson(ROOT / name, name)))
        elif name != "README.md":
            write(name, linked((ROOT / name).read_text(encoding="utf-8"), name))
    write("index.md", home() + teaching_tree())
    write("ledger.md", ledger_page())
    for name in PAGES:
        text = (TEMPLATES / name).read_text(encoding="utf-8")
        write(name, linked(text, name).replace("<!-- README -->", trouble.strip()))
    groups = module_groups(library)
    write("api/index.md", api_index(library, groups))
    for modules, holds in groups:
        write(f"api/{modules[0]}.rst", api_page(modules, holds))
    for picture in (*(ASSETS / "figures").glob("*.png"), ASSETS / "tiny_omni" / "training_curve.png"):
        (source / picture.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, source / picture.relative_to(ROOT))
    for file, place in (("conf.py", ""), ("loop.svg", ""), ("site.css", "_static"), ("site.js", "_static"), ("search.html", "_templates")):
        (source / place).mkdir(exist_ok=True)
        shutil.copy(TEMPLATES / file, source / place)


def teaching_tree() -> str:
    """The part of the sidebar that lists the teacher kit, its README first; empty if there is none."""
    names = [name.rpartition(".")[0] for name in pages() if name.startswith("notebooks/teaching/")]
    names = sorted(names, key=lambda name: (not name.endswith("README"), name))
    names = [f"Slides <{name}>" if name.endswith("slides") else name for name in names]
    return "\n```{toctree}\n:hidden:\n:caption: For teachers\n\n" + "\n".join(names) + "\n```\n" if names else ""


def sphinx(source: Path, html: Path) -> None:
    """Runs Sphinx. SiteError lists its warnings, of which there must be none."""
    from sphinx.cmd.build import main

    warnings = source.parent / "warnings.txt"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        failed = main(["-q", "-b", "html", "-W", "--keep-going", "-w", str(warnings), "-d", str(source.parent / "doctrees"), str(source), str(html)])
    found = warnings.read_text(encoding="utf-8").replace(f"{source}{os.sep}", "").strip() if warnings.exists() else ""
    if failed or found:
        raise SiteError(f"Sphinx complains, and no site was written:\n{found or said.getvalue()[-2000:]}")


def mended(html: str) -> str:
    """A page without three faults of what made it: headings without a level, boxes to tick without a name, parameters as a list without terms."""
    html = html.replace('<input class="task-list-item-checkbox" disabled="disabled" type="checkbox">', '<span aria-hidden="true">☐ </span>')
    html = html.replace('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">')
    lines = lambda match: '<span class="sig-lines">' + match[1].replace("<dd>", "<span>").replace("</dd>", "</span>") + "</span>"
    return re.sub(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", lines, html, flags=re.DOTALL)


def build(out: Path) -> Path:
    """Builds the site beside `out` and then puts it in its place; an earlier site there is replaced. Returns `out`.

    Raises SiteError if a tool is missing, if `out` holds something else, or if Sphinx warns; then `out` stays as it was.
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
            page.write_text(mended(page.read_text(encoding="utf-8")), encoding="utf-8")
        (html / ".buildinfo").unlink(missing_ok=True)
        shutil.rmtree(html / "_sources", ignore_errors=True)
        if out.exists():
            out.rename(earlier)
        html.rename(out)
    return out
