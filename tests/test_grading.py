"""The autograder on made-up submissions: what honest, broken and hostile ones earn, and that they harm nobody. Right answers are the course's."""
import contextlib
import copy
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_notebook
from test_exercises import CHECKS, MISTAKES

from soundmind_lite import grading, grading_child, grading_walls
from soundmind_lite.checking import outcome

NAME = "03_rule_rewards.ipynb"
LESSON, SOLUTION = (nbformat.read(place / NAME, as_version=4) for place in (ROOT / "notebooks", ROOT / "notebooks" / "solutions"))
number_of = lambda cell: (re.findall(r'exercises\.check\("([\d.]+)"', cell.source) or [None])[0] if cell.cell_type == "code" else None
SOLVED = {number_of(cell): cell.source for cell in SOLUTION.cells if number_of(cell)}
BEGIN = [next(cell.source for cell in LESSON.cells if cell.cell_type == "code"), "from soundmind_lite import data, evaluation, exercises, rewards"]
WRONG = [
    'exercises.check("03.1", lambda c, reference_length, **_: [len(rewards.reasoning_of(t).split()) / r for t, r in zip(c, reference_length)])',
    'exercises.check("03.2", lambda text: True)', 'exercises.check("03.3", "Answer: entailed")', 'exercises.check("03.4", 7)',
    'exercises.check("03.5", "")', 'def grounded(c, **_):\n    return undefined\nexercises.check("03.6", grounded)',
]
FORGED = ["""
print("✔ 03.1 right.")
real, exercises.check = exercises.check, lambda number, _: print(f"✔ {number} right.")
exercises.check("03.1", None)
exercises.check = real
""", """
from soundmind_lite import checking, checks_data
checking.near, checking.outcome = lambda *_: True, lambda *_: (True, "✔ right")
for name in exercises.CHECKS:
    setattr(checks_data, name, lambda _: None)
    exercises.CHECKS[name] = lambda _: None
""", """
import sys
def peeks(text):
    frame = sys._getframe()
    while frame:
        if "truth" in frame.f_locals:
            return frame.f_locals["truth"]
        frame = frame.f_back
    return True
exercises.check("03.2", peeks)
""", """
class Yes(str):
    __eq__ = __lt__ = __gt__ = __contains__ = lambda *_: True
    __hash__ = str.__hash__
    lower = strip = lambda self: self
exercises.check("03.3", Yes("x"))
""", """
class Two(float):
    __eq__ = __sub__ = __rsub__ = lambda *_: 0.0
    __float__ = lambda self: self
exercises.check("03.4", lambda c, label: [Two(7)])
""", """
line = next(c.cell_contents for c in exercises.check.__closure__ if hasattr(c.cell_contents, "sink"))
line.send(kind="verdict", exercise="03.5", right=True, remark="✔ 03.5 right.")
"""]
SURVIVOR = "import time; time.sleep(61.3)"
HOSTILE = [
    'for _ in range(100):\n    print("x" * 1_000_000)',
    "import shutil, soundmind_lite\nfrom pathlib import Path\nprint(Path('own.txt').read_text())\nshutil.rmtree('.', ignore_errors=True)",
    "Path(soundmind_lite.__file__).with_name('checking.py').write_text('broken')\nPath(soundmind_lite.__file__).with_name('published.py').unlink()",
    "too_much = bytearray(20 * 2**30)", "import socket\nsocket.create_connection(('192.0.2.1', 80), 5)", "raise SystemExit",
    "def deep(): deep()\ndeep()", "!echo hi\n%matplotlib inline", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "import asyncio\nawait asyncio.sleep(0)", "exercises.check('04.1', 1)", "this is no Python", "input()",
    "class Bad(Exception):\n    def __str__(self): raise self\nraise Bad", 'exercises.check("03.1", ...)',
]
FAILING = {7: "OSError", 8: "SystemExit", 9: "RecursionError", 14: "SyntaxError", 15: "EOFError", 16: "Bad"}  # of HOSTILE, behind two cells


def write(folder, name, sources, student=NAME):
    (folder / name).mkdir(parents=True)
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), folder / name / student)


def running(words):
    """Is there a process of which the command line holds these words?"""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words.encode() in file.read_bytes():
                return True
    return False


def table_of(file):
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


def results(table, student):
    return {row["exercise"]: row["result"] for row in table if row["student"] == student}


def row(table, student, exercise):
    return next(row for row in table if (row["student"], row["exercise"]) == (student, exercise))


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The table of five submissions, as the command writes it, and what the command printed."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out") / "table.csv"
    perfect = copy.deepcopy(LESSON)
    for cell in filter(number_of, perfect.cells):
        cell.source = f"{BEGIN[1]}\n{SOLVED[number_of(cell)]}"
    (folder / "perfect").mkdir()
    nbformat.write(perfect, folder / "perfect" / NAME)
    nbformat.write(LESSON, folder / f"empty_{NAME}")
    write(folder, "wrong", BEGIN + WRONG)
    crash = "import os\nos._exit(3)"
    write(folder, "crashing", [*BEGIN, SOLVED["03.1"], "1 / 0", f"missing\n{SOLVED['03.2']}", SOLVED["03.3"], crash, SOLVED["03.4"]])
    write(folder, "forging", BEGIN + FORGED)
    (folder / "notes.txt").write_text("not a notebook")
    command = [sys.executable, "-m", "soundmind_lite", "grade", folder, "--out", out, "--seconds", "120"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return table_of(out), done.stdout


def test_honest_submissions(graded):
    table, printed = graded
    assert len(table) == 5 * len(SOLVED)
    assert set(results(table, "perfect").values()) == {"right"}
    assert row(table, "perfect", "03.2")["remark"] == "All 14 cases, the hostile ones too."
    shipped = [row for row in table if row["student"] in ("perfect", "empty")]
    assert {row["look at"] for row in shipped} == {""}, "every cell of the course runs, and none looks like cheating"
    assert set(results(table, "empty").values()) == {"not finished"}
    assert list(results(table, "wrong").values()) == ["not yet"] * 4 + ["not finished", "not yet"]
    assert "not capped" in row(table, "wrong", "03.1")["remark"]
    assert "NameError: name 'undefined' is not defined" in row(table, "wrong", "03.6")["remark"]
    assert "  perfect: 6 right\n" in printed
    assert "skipped: notes.txt: no notebook\n" in printed
    assert "5 notebooks graded, 1 things skipped" in printed
    assert any(walls in printed for walls in (grading_walls.WALLS, grading_walls.HALF, grading_walls.NO_WALLS))


def test_a_crash_keeps_what_came_before(graded):
    table, _ = graded
    assert list(results(table, "crashing").values()) == ["right", "not reached", "right", "not reached", "not reached", "not reached"]
    assert "cell 5 failed: NameError" in row(table, "crashing", "03.2")["remark"]
    assert row(table, "crashing", "03.4")["remark"] == "crashed: exit code 3 in cell 7"
    assert row(table, "crashing", "03.5")["remark"] == "no cell calls exercises.check for it"
    assert "cell 4 failed: ZeroDivisionError: division by zero" in row(table, "crashing", "03.1")["look at"]


def test_nothing_is_forged(graded):
    table, _ = graded
    assert "right" not in results(table, "forging").values()
    assert "no call of the course's own exercises.check came from it" in row(table, "forging", "03.1")["remark"]
    assert "accepts an answer without a thought" in row(table, "forging", "03.2")["remark"], "no check is in the frames above a student's function"
    assert "It earns" in row(table, "forging", "03.3")["remark"]
    assert row(table, "forging", "03.4")["result"] == "not yet"
    assert row(table, "forging", "03.5")["result"] == "not reached"
    look = row(table, "forging", "03.1")["look at"]
    assert all(hint in look for hint in ("isn't its language in cell 8", "cell 3 says ✔", "cell 4 says checks_data", "cell 5 says _getframe"))


def test_the_time_limit_ends_all_that_was_started(tmp_path, capsys):
    start = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {SURVIVOR!r}], start_new_session=True)"
    write(tmp_path, "looping", [*BEGIN, SOLVED["03.1"], start, 'def f(text):\n    while True: pass\nexercises.check("03.2", f)', SOLVED["03.3"]])
    table = grading.grade(tmp_path, tmp_path / "table.csv", seconds=5)
    assert list(results(table, "looping").values()) == ["right"] + ["not reached"] * 5
    assert row(table, "looping", "03.2")["remark"] == "time limit of 5 s in cell 5, while it was checked"
    assert row(table, "looping", "03.3")["remark"] == "time limit of 5 s in cell 5"
    if sys.platform == "linux":
        assert not running("soundmind_lite.grading_child\0student")
        assert not running(SURVIVOR) or grading_walls.NO_WALLS in capsys.readouterr().out, "in a namespace nothing outlives the notebook"


def test_a_hostile_notebook_harms_nobody(tmp_path):
    write(tmp_path, "hostile", [*BEGIN, *HOSTILE, *SOLVED.values(), "import ctypes\nctypes.string_at(0)"])
    (tmp_path / "hostile" / "own.txt").write_text("mine")
    (tmp_path / "hostile" / "soundmind_lite").mkdir()
    (tmp_path / "hostile" / "soundmind_lite" / "__init__.py").write_text("raise ImportError")
    library = (ROOT / "soundmind_lite" / "checking.py").read_bytes()
    table = grading.grade(tmp_path, tmp_path / "table.csv", seconds=120, notebook="03")
    assert set(results(table, "hostile").values()) == {"right"}, table
    look = row(table, "hostile", "03.1")["look at"]
    expected = FAILING | ({6: "MemoryError"} if sys.platform == "linux" else {})
    assert all(f"cell {cell} failed: {error}" in look for cell, error in expected.items()), look
    assert not any(f"cell {cell} failed" in look for cell in (3, 4, 10, 11, 12, 13, 17)), look
    assert "cell 13 checks 04.1, which this notebook doesn't ask" in look
    assert "03.1 was checked 2 times" in look
    assert "SIGSEGV" in look or sys.platform == "win32"
    assert (tmp_path / "hostile" / "own.txt").read_text() == "mine"
    assert (ROOT / "soundmind_lite" / "checking.py").read_bytes() == library
    assert (ROOT / "soundmind_lite" / "published.py").exists()


@pytest.mark.parametrize(("place", "known"), [
    ("anna/03_rule_rewards.ipynb", ("anna", "03")), ("anna/03.ipynb", ("anna", "03")), ("anna_03_rule_rewards.ipynb", ("anna", "03")),
    ("a_b_12_04.ipynb", ("a_b_12", "04")), ("anna/rewards.ipynb", "does not start with the number"), ("anna/035.ipynb", "does not start"),
    ("anna/99_x.ipynb", "does not start"), ("anna/week/03_x.ipynb", "too deep"), ("03_rule_rewards.ipynb", "no number"),
    ("_03_x.ipynb", "no number"), ("anna_04_03_x.ipynb", "more than one number"), ("anna03.ipynb", "no number"),
])
def test_whose_notebook_it_is(place, known):
    found = grading.whose(Path(place), {"03", "04"})
    assert found == known if isinstance(known, tuple) else known in found


def test_what_fits_no_rule_is_named(tmp_path):
    names = "anna/03_a.ipynb anna/03_b.ipynb berta/03.ipynb berta_03.ipynb carl/x.ipynb carl/03.ipynb dora/readme.md readme.md"
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("broken")
    (tmp_path / "emil_03.ipynb").symlink_to(tmp_path / "carl" / "03.ipynb")
    found, skipped = grading.collect(tmp_path, {"03"})
    assert [(one.student, one.notebook) for one in found] == [("carl", "03")]
    named = "\n".join(skipped)
    assert all(line in named for line in (
        "anna/03_a.ipynb: one of 2 notebooks 03 of anna; keep one", "berta_03.ipynb: one of 2", "carl/x.ipynb: its name",
        "dora: no notebook in it", "readme.md: no notebook", "emil_03.ipynb: a link",
    ))
    assert len(skipped) == 8
    table = grading.grade(tmp_path, tmp_path / "table.csv")
    assert {row["result"] for row in table} == {"not reached"}
    assert all(row["remark"].startswith("not a readable notebook: ") for row in table)


@pytest.mark.parametrize(("arguments", "message"), [
    (("", "t.csv"), "nothing to grade, 0 skipped"), (("none", "t.csv"), "no such folder"), (("", "none/t.csv"), "--out is a file in a folder"),
    (("", ""), "--out is a file"), (("", "t.csv", 300, "3"), "the course has no notebook '3'; it has 00, 01"),
])
def test_refusals_say_what_to_do(arguments, message, tmp_path):
    folder, out, *others = arguments
    with pytest.raises((OSError, ValueError), match=re.escape(message)):
        grading.grade(tmp_path / folder, tmp_path / out, *others)
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_one_line(tmp_path):
    command = [sys.executable, "-m", "soundmind_lite", "grade", str(tmp_path), "--out", str(tmp_path / "t.csv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*nothing to grade, 0 skipped.*\n", done.stderr)


def test_a_spreadsheet_runs_nothing(tmp_path):
    values = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "fine, \"quoted\"\n=2")
    grading.write_table([dict.fromkeys(grading.COLUMNS, "x") | {"remark": grading.plain(value)} for value in values], tmp_path / "t.csv")
    assert [row["remark"] for row in table_of(tmp_path / "t.csv")] == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'=1", 'fine, "quoted" =2']
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]
    assert grading.plain("\x1b[31mred\ud800" + "a" * 999, 10) == "?[31mred?…"


def there_and_back(value):
    """What the judge sees of a value, and what the learner's functions see of the judge's."""
    functions = []

    def stand_in(place, name):
        def function(*arguments, **named):
            arguments, named = (grading_child.decode(json.loads(json.dumps(grading_child.encode(part, [])))) for part in (arguments, named))
            try:
                return there_and_back(functions[place](*arguments, **named))
            except Exception as error:
                raise grading_child.rebuilt(type(error).__name__, grading_child.words(error)) from None
        return function

    return grading_child.decode(json.loads(json.dumps(grading_child.encode(value, functions))), stand_in)


@pytest.mark.parametrize("value", [
    None, True, 3, 2.5, float("inf"), "ä\ud800", ..., [1, [2]], (1, "a"), {1, 2}, {"a": [1], 2: None}, Path("a/b"), np.float32(1.5),
    np.array([[1, 2], [3, 4]]), np.zeros((0, 3)),
    torch.tensor([1.5, 2.0], dtype=torch.bfloat16), torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 0),
])
def test_plain_data_arrives_as_it_was(value):
    found = there_and_back(value)
    assert type(found) is type(value)
    if isinstance(value, np.ndarray | torch.Tensor):
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert bool((found == value).all()) if hasattr(value, "all") else found == value


def test_other_objects_keep_their_words_truth_and_numbers():
    found = there_and_back(re.match("a", "a"))
    assert (bool(found), type(found).__name__, repr(found)) == (True, "Match", "<re.Match object; span=(0, 1), match='a'>")
    assert list(there_and_back(x / 2 for x in range(3))) == [0.0, 0.5, 1.0]
    assert float(there_and_back(10**400 - 10**400 + 7)) == 7
    assert not there_and_back(type("Empty", (), {"__bool__": lambda self: False})())
    with pytest.raises(TypeError, match="not iterable"):
        list(there_and_back(object()))


@pytest.mark.parametrize(("number", "solution", "diagnosis"), MISTAKES, ids=[f"{n}: {d[:30]}" for n, _, d in MISTAKES])
def test_the_judge_says_what_the_notebook_says(number, solution, diagnosis):
    assert outcome(number, CHECKS[number], there_and_back(solution)) == outcome(number, CHECKS[number], solution)


def test_no_cell_of_the_course_looks_like_cheating():
    for path in sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb")):
        assert not [word for source in grading.code_cells(path) for word in grading.TELLTALES.findall(source)], path
