"""The pages of the site: Markdown and notebooks of the repository, as Sphinx gets them.

Links between files of the repository become links between pages where the target is a page, and
links to the repository elsewhere. Nothing is run: notebooks keep the outputs they are committed
with.
"""

import os
import re
import tomllib
from pathlib import PurePosixPath

import nbformat

from ..profiles import ASSETS, ROOT
from . import ledger

TEMPLATES = ASSETS / "site"
CARDS = ("assets/mini_alr/README.md", "assets/tiny_omni/README.md")
COURSE = "The course"  # the section of the README before which the home page shows the loop
LIBRARY, TROUBLE = "The library", "If something goes wrong"  # its sections with pages of their own
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)")
# a picture from elsewhere that is a link
BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?://[^)]*\)\]\(([^)]*)\)")
EXERCISE = re.compile(
    r"^### Exercise ([\d.]+) · (.+)\nDifficulty ([●○]{3}), (\d+) minutes?\.", re.MULTILINE
)

# (lesson, what a cell of it holds, the lab that its page shows after that cell). The reward lab and
# the planner need no line: the widgets' saved pictures name them.
LABS = (
    ("05_train_with_grpo", "rollout_player(", '<div data-live="rollout_player"></div>'),
)


class SiteError(RuntimeError):
    """The site can't be built; the message says why."""


def project() -> dict:
    """The project's table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def address() -> str:
    """The repository's address, from pyproject.toml."""
    return project()["urls"]["Repository"]


def pages() -> dict[str, str]:
    """The repository's files that become pages, and the name of each in the source folder.

    Solutions stay in the repository.
    """
    teaching = ROOT / "notebooks" / "teaching"
    files = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    files += sorted([*teaching.glob("*.md"), *teaching.glob("*.ipynb")])
    names = [*(file.relative_to(ROOT).as_posix() for file in files), *CARDS]
    return {"README.md": "index.md"} | {name: name for name in names}


def linked(text: str, name: str) -> str:
    """The Markdown text of the file `name` with its links adapted; badges become words."""
    known, folder = pages(), PurePosixPath(name).parent

    def adapted(match: re.Match) -> str:
        picture, words, target = match.groups()
        path, mark, section = target.partition("#")
        if picture or not path or ":" in path:
            return match[0]
        file = os.path.normpath((folder / path).as_posix()).replace(os.sep, "/")
        if file.startswith("..") or not (ROOT / file).exists():
            return match[0]
        if file in known:
            page = os.path.relpath(known[file], folder).replace(os.sep, "/")
        else:
            kind = "tree" if (ROOT / file).is_dir() else "blob"
            page = f"{address()}/{kind}/main/{file}"
        return f"[{words}]({page}{mark}{section})"

    text = BADGE.sub(r"[\1](\2)", text)
    text = re.sub(r"\) (?=\[Open in )", ") · ", text)
    return LINK.sub(adapted, text)


def sections(text: str) -> dict[str, str]:
    """The parts of a Markdown text by their second-level titles; "" is what precedes the first."""
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2]))


def readme() -> dict[str, str]:
    """The README's sections with their links adapted.

    SiteError names a section that other pages need and that the README lacks.
    """
    found = sections(linked((ROOT / "README.md").read_text(encoding="utf-8"), "README.md"))
    for title in (COURSE, TROUBLE):
        if title not in found:
            raise SiteError(f"README.md has no section {title!r}, which the site shows")
    return found


def template(name: str) -> str:
    """A page of `assets/site` with its links adapted.

    The comment `<!-- README -->` is replaced by what the README says about errors.
    """
    text = linked((TEMPLATES / name).read_text(encoding="utf-8"), name)
    return text.replace("<!-- README -->", readme()[TROUBLE].strip())


def home() -> str:
    """The home page: the README without the sections that have pages of their own.

    It shows the project's description, the picture of how data flows, and where to look things up.
    """
    parts = readme()
    opening = parts.pop("")
    title, _, rest = opening.partition("\n")
    text = f"{title}\n{project()['description']}\n{rest}"
    for name, part in parts.items():
        if name == COURSE:
            text += (TEMPLATES / "loop.md").read_text(encoding="utf-8") + "\n"
        if name not in (LIBRARY, TROUBLE):
            text += f"## {name}\n{part}"
    end = (TEMPLATES / "home_end.md").read_text(encoding="utf-8")
    return f"{text.rstrip()}\n\n{end}{teaching_tree()}"


def teaching_tree() -> str:
    """The part of the sidebar that lists the teacher kit, its README first; "" if there is none."""
    kit = [name for name in pages() if name.startswith("notebooks/teaching/")]
    if not kit:
        return ""
    names = [name.rpartition(".")[0] for name in kit]
    names.sort(key=lambda name: (not name.endswith("README"), name))
    entries = [f"Slides <{name}>" if name.endswith("slides") else name for name in names]
    return toctree(entries, caption="For teachers")


def toctree(entries: list[str], caption: str = "") -> str:
    """A hidden list of pages for the sidebar."""
    options = ":hidden:\n" + (f":caption: {caption}\n" if caption else "")
    return "\n```{toctree}\n" + options + "\n" + "\n".join(entries) + "\n```\n"


def lesson(name: str):
    """A notebook as its page shows it.

    Its exercises are listed in front, and what is for teachers is marked.
    """
    notebook = nbformat.read(ROOT / name, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    if "/teaching/" not in name:
        first.source += "\n\n" + at_a_glance(notebook, name)
    with_labs(notebook, name)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = linked(cell.source, name)
            text = EXERCISE.sub(lambda match: f"({anchor(match[1])})=\n{match[0]}", text)
            notes = cell.metadata.get("slideshow", {}).get("slide_type") == "notes"
            cell.source = f"::::{{admonition}} For the teacher\n{text}\n::::" if notes else text
    return notebook


def with_labs(notebook, name: str) -> None:
    """Puts each lab of `LABS` after the code cell that it belongs to. SiteError without one."""
    for lesson_name, code, box in LABS:
        if PurePosixPath(name).stem != lesson_name:
            continue
        found = [i for i, cell in enumerate(notebook.cells) if code in cell.source]
        if not found:
            raise SiteError(f"{name} has no cell with {code!r}, after which a lab belongs")
        notebook.cells.insert(found[0] + 1, nbformat.v4.new_markdown_cell(box))


def at_a_glance(notebook, name: str) -> str:
    """The exercises of a lesson with their difficulty and minutes, and where its solutions are."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = [match.groups() for text in texts for match in EXERCISE.finditer(text)]
    minutes = sum(int(minutes) for *_, minutes in found)
    lines = [f"**Exercises:** {len(found)}, about {minutes} minutes together.", ""]
    for number, title, difficulty, minutes in found:
        lines.append(f"- [{number} · {title}](#{anchor(number)}) {difficulty} {minutes} min")
    solutions = f"{address()}/blob/main/notebooks/solutions/{PurePosixPath(name).name}"
    lines += [
        "",
        f"To do them, run the notebook; its [solutions]({solutions}) are a notebook, too.",
    ]
    return "\n".join(lines)


def anchor(number: str) -> str:
    """The anchor of an exercise, "exercise-03-1" for "03.1"."""
    return f"exercise-{number.replace('.', '-')}"


def ledger_page() -> str:
    """The paper ledger; its notebooks and lines of code become links."""
    code = f"{address()}/blob/main/soundmind_lite/"
    text = re.sub(r"`(notebooks/(\d\d)_\w+\.ipynb)`", r"[notebook \2](\1)", ledger.markdown())
    return re.sub(r"`soundmind_lite/([\w/]+\.py):(\d+)`", rf"[`\1:\2`]({code}\1#L\2)", text)
