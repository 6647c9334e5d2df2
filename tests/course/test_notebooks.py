"""What every notebook keeps to.

That they run, and that their facts are still true, nbval shows: it runs each of them, too.
"""

import ast
import importlib
import pkgutil
import re
import statistics
import tomllib

import nbformat
import pytest
from conftest import ROOT

import soundmind_lite
from soundmind_lite.course import pictures

PATHS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
LESSONS = [path for path in PATHS if path.parent.name == "notebooks"]
SOLUTIONS = [path for path in PATHS if path.parent.name == "solutions"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]


def names(path):
    return path.parent.name + "/" + path.stem


every = pytest.mark.parametrize("path", PATHS, ids=names)
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=names)


def cells(path, kind="code"):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def markdown(path):
    return "\n\n".join(cell.source for cell in cells(path, "markdown"))


def exports():
    """Every public function and class that a module of the library defines itself."""
    found = {}
    for info in pkgutil.walk_packages(soundmind_lite.__path__, "soundmind_lite."):
        if info.name != "soundmind_lite.__main__":
            module = importlib.import_module(info.name)
            found |= {
                n: info.name
                for n, v in vars(module).items()
                if callable(v) and getattr(v, "__module__", "") == module.__name__ and n[0] != "_"
            }
    return found


def defined(cell):
    """Names that the cell's code binds to a function or class of its own."""
    tree = ast.parse(cell.source)
    names = {
        node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    lambdas = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda)
    )
    return names | {
        target.id for node in lambdas for target in node.targets if isinstance(target, ast.Name)
    }


def test_lessons_and_solutions_are_pairs():
    assert [p.name for p in LESSONS] == [p.name for p in SOLUTIONS]
    assert len({p.name[:2] for p in LESSONS}) == len(LESSONS)


@every
def test_no_function_of_the_library_is_written_again(path):
    for cell in cells(path):
        if "exercise" not in cell.metadata.get("tags", ()):
            again = defined(cell) & set(exports())
            words = "which the library exports; show its source and import it"
            assert not again, f"{path.name} defines {again}, {words}"


def test_a_second_definition_would_be_found():
    cell = nbformat.v4.new_code_cell("parse_answer = lambda text: None\ndef audit(rows): ...")
    assert defined(cell) & set(exports()) == {"parse_answer", "audit"}


@every
def test_code_cells_are_short(path):
    lengths = [
        len([line for line in cell.source.splitlines() if line.strip()]) for cell in cells(path)
    ]
    assert statistics.median(lengths) <= 8
    assert max(lengths) <= 25
    assert max(len(line) for cell in cells(path) for line in cell.source.splitlines()) <= 100, (
        "a reader would have to scroll"
    )


@every_lesson
def test_first_screen_and_end(path):
    first, last = cells(path, "markdown")[0].source, cells(path, "markdown")[-1].source
    for part in ("**Goal.**", "**You need**", "**Time:**", "GPU", "**Memory:**"):
        assert part in first, f"{path.name}: {part} is missing from the first screen"
    for part in ("## Recap", "## Quiz", "**Next:**"):
        assert part in last, f"{path.name}: {part} is missing from the end"


@every_lesson
def test_the_quiz_answers_back(path):
    _, _, quiz = cells(path, "markdown")[-1].source.partition("## Quiz")
    questions = re.split(r"^\*\*\d\. ", quiz, flags=re.MULTILINE)[1:]
    assert len(questions) >= 3
    for question in questions:
        choices = re.findall(r"^<details><summary>(.+)</summary>(.+)</details>$", question, re.M)
        replies = [reply for _, reply in choices]
        assert len(choices) >= 3, question
        assert len(choices) == question.count("<details>"), question
        right = [reply for reply in replies if reply.startswith("✔ Right. ")]
        wrong = [reply for reply in replies if reply.startswith("✘ No. ")]
        assert (len(right), len(wrong)) == (1, len(choices) - 1), question
        assert min(map(len, replies)) >= 40, f"a reason for each choice: {question}"


@every_lesson
def test_exercises_are_complete(path):
    texts = [text for text in re.split(r"\n### ", markdown(path)) if text.startswith("Exercise ")]
    numbers = [re.match(r"Exercise ([\d.]+) · ", text)[1] for text in texts]
    assert numbers == [f"{path.name[:2]}.{i + 1}" for i in range(len(numbers))]
    assert len(numbers) >= 3
    for number, text in zip(numbers, texts):
        assert re.search(r"Difficulty [●○]{3}, \d+ minutes?\.", text), (
            f"{number}: difficulty and minutes"
        )
        assert re.search(r"<details><summary>Hint", text), f"{number}: a folded hint"
    for notebook in (path, path.parent / "solutions" / path.name):
        checked = re.findall(
            r'exercises\.check\("([\d.]+)"', "\n".join(cell.source for cell in cells(notebook))
        )
        assert sorted(checked) == numbers, f"{notebook}: every exercise has its check"


@pytest.mark.parametrize("path", SOLUTIONS, ids=names)
def test_solutions_are_right_and_compared(path):
    checks = [cell for cell in cells(path) if "exercises.check(" in cell.source]
    for cell in checks:
        assert "nbval-check-output" in cell.metadata.tags
        assert "".join(output.get("text", "") for output in cell.outputs).startswith("✔")


@every_lesson
def test_committed_with_outputs_and_small(path):
    assert path.stat().st_size <= 1.5e6
    assert all(cell.execution_count for cell in cells(path)), (
        "run it with python -m soundmind_lite.publish.notebooks"
    )
    unfinished = [cell for cell in cells(path) if "exercises.check(" in cell.source]
    assert all(
        "not finished yet" in "".join(o.get("text", "") for o in cell.outputs)
        for cell in unfinished
    )


@every
def test_no_trace_of_the_machine(path):
    text = path.read_text(encoding="utf-8")
    for trace in (str(ROOT), "/home/", "/root/", "/tmp/", "Traceback", "widget-view+json"):
        assert trace not in text, f"{path.name} holds {trace}"
    absolute = re.search(
        r"(?<![\w/:.…])(?:/[\w.-]+)+/(?:assets|notebooks|soundmind_lite)/", text
    )  # wherever the one who saved it keeps the course
    assert absolute is None, f"{path.name} holds {absolute[0]}"


@every
def test_pictures_have_alt_text_and_players_a_transcript(path):
    for cell in cells(path):
        for output in cell.outputs:
            assert "image/png" not in output.get("data", {}), (
                f"{path.name}: show.picture gives a picture its words"
            )
            html = "".join(output.get("data", {}).get("text/html", ""))
            assert html.count("<audio") == html.count("Transcript:")
            assert (
                html.count("<img ") + html.count("<svg ")
                == len(re.findall(r'<(?:img alt|svg role="img" aria-label)="[^"]{40,}"', html))
                == html.count("In words:")
            )


@every
def test_pictures_are_drawn_for_a_phone(path):
    """At most 4.6 inches wide, so that a phone shows letters of 10 points 11 px high."""
    for cell in cells(path):
        for output in cell.outputs:
            html = "".join(output.get("data", {}).get("text/html", ""))
            for width in re.findall(r'<img alt="[^"]*" width="(\d+)"', html):
                assert int(width) <= 4.6 * pictures.SHOWN


@every
def test_set_up_and_badges_hold_to_the_one_address(path):
    setup, start = [cell.source for cell in cells(path)[:2]]
    # what a reader reads first, below the folded cell that fetches the course
    assert len(start.splitlines()) <= 3
    assert start.endswith("profile = lesson.start()")
    assert setup == cells(LESSONS[0])[0].source, (
        f"{path.name}: its first code cell differs from that of 00"
    )
    assert f'"{ADDRESS}"' in setup, "the address in the set-up cell isn't the one of pyproject.toml"
    place = path.relative_to(ROOT).as_posix()
    repository = ADDRESS.removeprefix("https://github.com/")
    first = cells(path, "markdown")[0].source
    assert f"(https://colab.research.google.com/github/{repository}/blob/main/{place})" in first
    assert f"(https://kaggle.com/kernels/welcome?src={ADDRESS}/blob/main/{place})" in first
    assert f"(https://codespaces.new/{repository})" in first
    badges = re.findall(r"\[!\[(.*?)\]", first)
    assert badges == ["Open in Colab", "Open in Kaggle", "Open in Codespaces"]
    assert "(first switch *Internet* on) [![Open in Codespaces]" in first


def test_the_readme_fetches_from_the_same_address():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"git clone {ADDRESS} " in readme
    assert all(
        (ROOT / link).exists()
        for link in re.findall(r"\]\(((?:notebooks|assets)[\w./-]*)\)", readme)
    )


@every
def test_links_to_other_notebooks_lead_somewhere(path):
    for target in re.findall(r"\]\(([\w./]+\.ipynb)\)", markdown(path)):
        assert (path.parent / target).is_file(), f"{path.name} links to {target}"


def test_compared_facts_are_many():
    compared = {
        path.stem: sum(
            "nbval-check-output" in cell.metadata.get("tags", ()) for cell in cells(path)
        )
        for path in LESSONS
    }
    assert min(compared.values()) >= 1
    assert sum(compared.values()) >= 25, compared
