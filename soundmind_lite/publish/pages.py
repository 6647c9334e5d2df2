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
LEDGER = "assets/ledger.json"
# pages that stand elsewhere than their files: who links to the README gets the home page
PLACES = {
    "README.md": "index.md",
    "assets/site/home.md": "index.md",
    "assets/site/library.md": "api/index.md",
    "CHANGELOG.md": "changes.md",
    LEDGER: "ledger.md",
}
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^()\s]+)\)")
# a picture from elsewhere that is a link
BADGE = re.compile(r"\[!\[([^\]]*)\]\(https?://[^)]*\)\]\(([^)]*)\)")
EXERCISE = re.compile(
    r"^### Exercise ([\d.]+) · (.+)\nDifficulty ([●○]{3}), (\d+) minutes?\.", re.MULTILINE
)

# (lesson, what a cell of it holds, the lab that its page shows after that cell). The reward lab and
# the planner need no line: the widgets' saved pictures name them.
LABS = (
    (
        "04_grpo_by_hand",
        "stds = {",
        'Move the rewards and see the advantages:\n\n<div data-live="advantages_lab">'
        "<p><em>The calculator needs JavaScript.</em></p></div>",
    ),
    ("05_train_with_grpo", "rollout_player(", '<div data-live="rollout_player"></div>'),
    (
        "05_train_with_grpo",
        'exercises.check("05.4"',
        'The rollouts of other runs, yours among them:\n\n<div data-live="doctor_lab">'
        "<p><em>The doctor needs JavaScript.</em></p></div>",
    ),
    (
        "slides",
        "Finds the course",
        '<b><a href="slides_offline.html">Slides: one file</a></b> with speaker notes, offline',
    ),
)


class SiteError(RuntimeError):
    """The site can't be built; the message says why."""


def address(what: str = "Repository") -> str:
    """The address of the "Repository", or of the site, its "Homepage", from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"][what]


def pages() -> dict[str, str]:
    """The repository's files that become pages, and the name of each in the source folder.

    Solutions stay in the repository.
    """
    teaching = ROOT / "notebooks" / "teaching"
    files = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    files += sorted([*teaching.glob("*.md"), *teaching.glob("*.ipynb")])
    names = [*(file.relative_to(ROOT).as_posix() for file in files), *CARDS]
    own = {f"assets/site/{file.name}": file.name for file in sorted(TEMPLATES.glob("*.md"))}
    return {name: name for name in names} | own | PLACES


def linked(text: str, name: str) -> str:
    """The Markdown text of the file `name` with its links adapted; badges become words."""
    known = pages()
    folder, page_folder = PurePosixPath(name).parent, PurePosixPath(known.get(name, name)).parent

    def adapted(match: re.Match) -> str:
        picture, words, target = match.groups()
        path, mark, section = target.partition("#")
        if not path or ":" in path:
            return match[0]
        file = os.path.normpath((folder / path).as_posix()).replace(os.sep, "/")
        if file.startswith("..") or not (ROOT / file).exists():
            return match[0]
        if picture or file in known:
            path = os.path.relpath(known.get(file, file), page_folder).replace(os.sep, "/")
        else:
            kind = "tree" if (ROOT / file).is_dir() else "blob"
            path = f"{address()}/{kind}/main/{file}"
        return f"{picture}[{words}]({path}{mark}{section})"

    text = BADGE.sub(r"[\1](\2)", text)
    text = re.sub(r"\) (?=\[Open in )", ") · ", text)
    return LINK.sub(adapted, text)


def text_of(name: str) -> str:
    """The text of a file's page, with its links adapted."""
    if name == LEDGER:
        return ledger_page()
    if name.endswith(".ipynb"):
        return nbformat.writes(lesson(name))
    return linked((ROOT / name).read_text(encoding="utf-8"), name)


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
