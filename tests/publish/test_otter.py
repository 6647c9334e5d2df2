"""Otter's tests for the lessons: what they hold, and what six notebooks of a class score in otter.

The commands are those of the teacher kit's grading.md. They need the extra `grade`.
"""

import ast
import importlib.util
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell
from readme_commands import bash, block

from soundmind_lite.course.exercises import CHECKS
from soundmind_lite.publish import otter

NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
RULES = "03_rule_rewards.ipynb"
needs_otter = pytest.mark.skipif(
    importlib.util.find_spec("otter") is None,
    reason='otter-grader is not installed: pip install ".[grade]"',
)


def code_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def bound_names(source):
    """The names that a cell's code binds."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def test_every_check_has_a_lesson():
    numbers = [number for path in LESSONS for number in otter.exercises_of(path)]
    assert sorted(map(otter.check_name, numbers)) == sorted(CHECKS)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_and_solution_check_the_same_variables(path):
    assert otter.exercises_of(path) == otter.exercises_of(NOTEBOOKS / "solutions" / path.name)


@pytest.mark.parametrize("folder", ["", "solutions"])
@pytest.mark.parametrize("name", [path.name for path in LESSONS])
def test_an_answer_is_still_there_after_the_last_cell(folder, name):
    """Otter runs the tests after the last cell: no later cell may bind the variable again."""
    code = code_of(NOTEBOOKS / folder / name)
    found = otter.exercises_of(NOTEBOOKS / folder / name)
    for number, variable in found.items():
        checked = [i for i, source in enumerate(code) if f'check("{number}"' in source]
        for source in code[checked[-1] + 1 :]:
            assert variable not in bound_names(source), f"{number}: {variable} is bound again"


@needs_otter
def test_a_test_says_what_the_check_says(tmp_path):
    from otter.test_files import ExceptionTestFile

    files = otter.write_tests(NOTEBOOKS / RULES, tmp_path / "tests")
    assert [file.name for file in files] == [f"check_03_{i}.py" for i in range(1, 9)]
    test = ExceptionTestFile.from_file(str(files[4]))
    for answer, score, words in (
        ("<think>" + "la " * 25 + "</think>\nAnswer: entailed", 1, "passed"),
        ("Answer: entailed", 0, "✘ 03.5 not yet."),
        ("", 0, "○ 03.5 not finished yet."),
    ):
        test.run({"hack": answer})
        assert (test.name, test.score, test.possible) == ("03.5", score, 1)
        assert words in test.test_case_results[0].message
    test.run({})
    assert test.score == 0
    assert "not finished yet" in test.test_case_results[0].message


def test_what_the_command_refuses(tmp_path, monkeypatch, capsys):
    empty = tmp_path / "empty.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), empty)
    unknown = tmp_path / "unknown.ipynb"
    cells = [new_code_cell('exercises.check("99.1", answer)')]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), unknown)
    for notebook, out, words in (
        (empty, tmp_path / "a", "has no exercises; give a lesson"),
        (unknown, tmp_path / "b", "there is no check for exercise 99.1"),
        (tmp_path / "missing.ipynb", tmp_path / "c", "No such file"),
        (NOTEBOOKS / RULES, tmp_path, "File exists"),
    ):
        monkeypatch.setattr("sys.argv", ["otter", str(notebook), "--out", str(out)])
        with pytest.raises(SystemExit) as stopped:
            otter.main()
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.ipynb", "unknown.ipynb"]


REPORT = """import soundmind_lite

found = profile.name, soundmind_lite.__file__, str(Path.cwd())
Path({file!r}).write_text(" ".join(found))"""


def write_notebook(path, answers, extra=""):
    """Lesson 03 with these sources for its exercises, and one more cell after 03.2.

    Only the set-up, the imports and the exercises are kept; those without an answer stay stubs.
    """
    lesson = nbformat.read(NOTEBOOKS / RULES, as_version=4)
    sources = code_of(NOTEBOOKS / "solutions" / RULES)[:3]
    for cell in lesson.cells:
        for number, _ in otter.CHECK.findall(cell.source):
            sources.append(answers.get(number, cell.source))
            if number == "03.2":
                sources.append(extra)
    lesson.cells = [new_code_cell(source) for source in sources]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(lesson, path)


def write_class(folder):
    """Six notebooks in folder/class; `loops`, which gets less time, in folder/late/class."""
    solved = {}
    for source in code_of(NOTEBOOKS / "solutions" / RULES):
        for number, _ in otter.CHECK.findall(source):
            solved[number] = source
    half = {number: solved[number] for number in ("03.1", "03.2", "03.3")}
    fails = solved | {"03.4": "counterexamples = no_such_name"}
    report = REPORT.format(file=str(folder / "where.txt"))
    write_notebook(folder / "class" / "right.ipynb", solved, report)
    write_notebook(folder / "class" / "half.ipynb", half)
    write_notebook(folder / "class" / "empty.ipynb", {})
    write_notebook(folder / "class" / "raises.ipynb", fails)
    write_notebook(folder / "class" / "dies.ipynb", solved, "import os\n\nos._exit(3)")
    loop = "import time\n\nwhile True:\n    time.sleep(1)"
    write_notebook(folder / "late" / "class" / "loops.ipynb", solved, loop)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A folder in which all of grading.md's commands have run, as in the course's own folder."""
    folder = tmp_path_factory.mktemp("course")
    for name in ("soundmind_lite", "assets", "notebooks", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    write_class(folder)
    bash(block("otter generate"), folder).check_returncode()
    grade, _, print_table = block("otter run").partition("python -c")
    # The one that never ends gets little time; the others have all of it, also on a busy machine.
    assert grade.count(" 300 ") == 1
    (folder / "late" / "grading").symlink_to(folder / "grading")
    (folder / "temporary").mkdir()
    temporary = str(folder / "temporary")
    with ThreadPoolExecutor() as beside:  # it waits more than it works
        soon = grade.replace(" 300 ", " 40 ")
        waiting = beside.submit(bash, soon, folder / "late", TMPDIR=temporary)
        bash(grade, folder).check_returncode()
        late = waiting.result()
    assert "loops: no result, see graded/loops/log.txt" in late.stdout
    (folder / "late" / "graded" / "loops").rename(folder / "graded" / "loops")
    bash("python -c" + print_table, folder).check_returncode()
    return folder


@needs_otter
@pytest.mark.slow
def test_the_table_is_the_one_that_the_page_shows(course):
    table = (course / "graded" / "scores.csv").read_text(encoding="utf-8")
    assert table.splitlines() == [
        "submission,03.1,03.2,03.3,03.4,03.5,03.6,03.7,03.8,total",
        "dies,,,,,,,,,no result",
        "empty,0,0,0,0,0,0,0,0,0",
        "half,1,1,1,0,0,0,0,0,3",
        "loops,,,,,,,,,no result",
        "raises,1,1,1,0,1,1,1,1,7",
        "right,1,1,1,1,1,1,1,1,8",
    ]
    assert block("submission,", "text") == table


@needs_otter
@pytest.mark.slow
def test_results_have_the_diagnosis_and_logs_the_reason(course):
    graded = course / "graded"
    results = json.loads((graded / "half" / "results.json").read_text(encoding="utf-8"))
    said = {test["name"]: test["output"] for test in results["tests"]}
    assert "03.4 not finished yet" in said["03.4"]
    assert "Kernel died" in (graded / "dies" / "log.txt").read_text(encoding="utf-8")
    for name in ("dies", "loops"):
        assert not (graded / name / "results.json").exists()


@needs_otter
@pytest.mark.slow
def test_out_of_time_leaves_no_kernel_and_no_folder(course):
    # Jupyter may leave a dead kernel's connection file (a few ports, in JSON) if it is interrupted.
    left = [path for path in (course / "temporary").iterdir() if path.suffix != ".json"]
    assert left == []
    kernels = subprocess.run(["pgrep", "--full", str(course / "temporary")], capture_output=True)
    assert kernels.stdout == b""


@needs_otter
@pytest.mark.slow
def test_the_first_cell_finds_the_course_that_is_graded_with(course):
    """In otter's folder, not where this course is, and with all that lesson.start looks for."""
    name, package, folder = (course / "where.txt").read_text().split()
    assert name == "tiny"
    assert package == f"{folder}/soundmind_lite/__init__.py"
    assert str(ROOT) not in package
