"""An autograder: runs a class's notebooks and writes a table of what each student's exercises earn.

`python -m soundmind_lite grade FOLDER --out table.csv`. FOLDER holds a folder for each student, in which the names of notebooks start with the
number of the course's notebook (`anna/03_rule_rewards.ipynb`), or loose notebooks with the student before the number (`anna_03_rule_rewards.ipynb`),
or both. What fits no rule, and each of two notebooks of the same number, is named, counted and not graded. Cells are code cells, counted from 1.

How. No verdict is read from an output. A submission runs in a process of its own (`grading_child`), in a temporary folder with its own copy of the
library, where `exercises.check` hands what it gets to this process. It goes on to the judge, a third process with an untouched copy that runs no
learner's code: it gets plain data, and asks for the results of functions. So printing "right", replacing `exercises.check`, changing the library, or
an object that equals everything earns nothing. All cells run in order, also after a failed one. An exercise is right if one of its calls was.

What holds a submission. The wall-clock limit ends its process group. On Linux its memory is limited and, where user namespaces are permitted, it
has no network, sees no other process nor the class's and the course's notebooks, and writes to its own folder only. Elsewhere (macOS, Windows, many
containers) Python's sockets are blocked and that is all: best effort. The last line printed says which it was. Without namespaces, grade only whom
you know, or on a machine that you can lose: such code may write to your files, this table included, and start what outlives the limit. The number
of processes and the disk are limited nowhere.

What a determined cheater can still do. The checks, their cases and the solutions are public: an answer that only knows the cases
(`return [0.5, 1.0, 0.0, 0.0]`) is right, and so is one copied from the course or a friend. "look at" names failed cells, exercises checked more than
once, and words that an honest answer doesn't need: hints, no proof. Read the answers of who matters.
"""
import csv
import hashlib
import os
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from .grading_child import STRANGE
from .grading_peer import Ended, Peer, bring_files, copies, environment_of, files_in, remove
from .grading_walls import unreadable_for_others
from .notebooks import FOLDER as COURSE

COLUMNS = ("student", "notebook", "exercise", "result", "remark", "look at")
RESULTS = ("right", "not yet", "not finished", "not reached")
LARGEST_NOTEBOOK = 30_000_000  # bytes
TELLTALES = re.compile(
    r"checks_(?:data|training|speech)|\bCHECKS\b|lite(?:\.| import )(?:checking|grading)|exercises\s*\.\s*check\s*=|solutions|✔|FAULTS"
    r"|_getframe|\bctypes\b|/proc/|os\._exit|sys\.modules|\bgc\.get"
)


@dataclass(frozen=True, order=True)
class Submission:
    student: str
    notebook: str
    path: Path
    loose: bool


@dataclass
class Findings:
    """What is known of a submission so far. `best`: result and remark of each exercise; `times`: how often it was checked."""

    cells: list[str] = field(default_factory=list)
    best: dict[str, tuple[str, str]] = field(default_factory=dict)
    times: Counter = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cell: int = 0
    checking: str = ""
    ended: str = ""
    walls: str = ""


def course() -> dict[str, list[str]]:
    """The exercises of the course's notebooks, {"03": ["03.1", …], …}. Raises FileNotFoundError if they aren't beside the library."""
    paths = sorted(COURSE.glob("[0-9][0-9]_*.ipynb"))
    found = {path.name[:2]: re.findall(r'exercises\.check\("([\d.]+)"', "\n".join(code_cells(path))) for path in paths}
    if not found:
        raise FileNotFoundError(f"{COURSE} holds no course notebooks; grade from a clone of the repository")
    return found


def code_cells(path: Path) -> list[str]:
    """The sources of a notebook's code cells. Raises ValueError if it can't be read."""
    try:
        if path.stat().st_size > LARGEST_NOTEBOOK:
            raise ValueError(f"larger than {LARGEST_NOTEBOOK // 10**6} MB; clear its outputs")
        return [str(cell.source) for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    except Exception as error:  # nbformat lets through whatever a broken file causes
        raise ValueError(f"not a readable notebook: {error or type(error).__name__}") from error


def whose(place: Path, numbers: set[str]) -> tuple[str, str] | str:
    """(student, number) of a notebook at a place below the class's folder, or why it fits no rule."""
    if len(place.parts) > 2:
        return "it lies too deep; notebooks lie directly in the student's folder"
    if len(place.parts) == 2:
        number = re.match(r"\d\d(?!\d)", place.name)
        known = number and number[0] in numbers
        return (place.parts[0], number[0]) if known else "its name does not start with the number of a notebook of the course"
    found = [match for match in re.finditer(r"_(\d\d)(?=_|$)", place.stem) if match[1] in numbers and match.start()]
    if len(found) != 1:
        return f"{'more than one number' if found else 'no number'} of the course after a name, as in anna_03_rule_rewards.ipynb"
    return place.stem[: found[0].start()], found[0][1]


def collect(folder: Path, numbers: set[str]) -> tuple[list[Submission], list[str]]:
    """The submissions in a folder, sorted, and a line for each thing that fits no rule. Raises NotADirectoryError."""
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder; give the one that holds the class's notebooks")
    found, skipped = {}, []
    for entry in sorted(folder.iterdir()):
        inside = entry.is_dir() and not entry.is_symlink()
        files = files_in(entry) if inside else [entry]
        notebooks = [file for file in files if file.suffix.lower() == ".ipynb"]
        skipped += [] if notebooks else [f"{entry.name}: no notebook" + " in it" * inside]
        for file in notebooks:
            known = whose(file.relative_to(folder), numbers) if file.is_file() and not file.is_symlink() else "a link, or no plain file"
            if isinstance(known, str):
                skipped.append(f"{file.relative_to(folder)}: {known}")
            else:
                found.setdefault(known, []).append(Submission(*known, file, loose=not inside))
    for several in found.values():
        if len(several) > 1:
            why = f"one of {len(several)} notebooks {several[0].notebook} of {several[0].student}; keep one"
            skipped += [f"{one.path.relative_to(folder)}: {why}" for one in several]
    return sorted(one for several in found.values() if len(several) == 1 for one in several), skipped


def fingerprint(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.rglob("*")) if file.is_file()}


def converse(student: Peer, judge: Peer, wanted: list[str], deadline: float, findings: Findings) -> None:
    """Takes down what a submission reports, and fetches a verdict for each check, until its end. Raises TimeoutError or Ended."""
    while (message := student.receive(deadline))["kind"] != "end":
        kind, exercise = message["kind"], message.get("exercise")
        if kind == "cell":
            findings.cell += 1
        elif kind == "failed":
            if len(findings.failures) < 1000:  # whoever makes them up fills no memory with them
                findings.failures[findings.cell] = plain(message.get("why"))
        elif kind != "check":
            raise Ended(STRANGE)
        elif exercise not in wanted:
            findings.notes = [*findings.notes[:9], f"cell {findings.cell} checks {plain(exercise)}, which this notebook doesn't ask"]
            student.send(kind="done")
        else:
            findings.checking = exercise
            judge.send(exercise=exercise, value=message.get("value"))
            while (order := judge.receive(deadline))["kind"] == "call":
                student.send(**order)
                reply = student.receive(deadline)
                if reply["kind"] not in ("result", "raised"):
                    raise Ended(STRANGE)
                judge.send(**reply)
            result = {True: "right", False: "not yet", None: "not finished"}[order["right"]]
            remark = "" if result == "not finished" else re.sub(r"^\W+[\d.]+ (right|not yet)\. ?", "", order["remark"])
            if RESULTS.index(result) <= RESULTS.index(findings.best.get(exercise, RESULTS[-1:])[0]):
                findings.best[exercise] = (result, plain(remark))
            findings.times[exercise] += 1
            findings.checking = ""
            student.send(kind="done")


def run(submission: Submission, wanted: list[str], judge: Peer, pristine: Path, work: Path, seconds: float) -> Findings:
    """Runs the cells of a submission in the new folder `work`, until the time limit, and returns what was found."""
    findings = Findings()
    try:
        findings.cells = code_cells(submission.path)
    except ValueError as error:
        findings.ended = plain(error)
        return findings
    course_folder = copies(pristine, work / "course")
    (folder := course_folder / "notebooks").mkdir()
    if not submission.loose:
        findings.notes += bring_files(submission.path.parent, folder)
    needed = [Path(place).resolve() for place in (work, sys.prefix, sys.base_prefix, sys.executable)]
    hidden = [place.resolve() for place in (submission.path.parent if submission.loose else submission.path.parent.parent, COURSE)]
    hidden = [str(place) for place in hidden if not any(one.is_relative_to(place) for one in needed)]
    student = Peer("student", str(folder), str(work), *hidden, library=course_folder, environment=environment_of(work))
    try:
        judge.ready()  # the first time both load at once
        findings.walls = student.ready()
        student.send(cells=findings.cells)
        converse(student, judge, wanted, time.monotonic() + seconds, findings)
    except TimeoutError:
        findings.ended = f"time limit of {seconds:g} s"
    except Ended as end:
        findings.ended = str(end)
    finally:
        student.kill()
    return findings


def plain(text, most: int = 400) -> str:
    """One line of printable characters: what a student wrote must not steer a terminal or break a row."""
    line = "".join(character if character.isprintable() else "?" for character in " ".join(str(text).split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def why_not_reached(exercise: str, findings: Findings) -> str:
    holding = [n for n, source in enumerate(findings.cells, 1) if re.search(rf"""check\(\s*["']{re.escape(exercise)}["']""", source)]
    if findings.ended and (not findings.cells or findings.checking == exercise or (holding and holding[-1] >= findings.cell)):
        place = f" in cell {findings.cell}" if findings.cell else ""
        return findings.ended + place + (", while it was checked" if findings.checking == exercise else "")
    if not holding:
        return "no cell calls exercises.check for it"
    for cell in holding:
        if cell in findings.failures:
            return f"cell {cell} failed: {findings.failures[cell]}"
    return f"cell {holding[-1]} ran, but no call of the course's own exercises.check came from it"


def rows_of(submission: Submission, wanted: list[str], findings: Findings) -> list[dict[str, str]]:
    """A row for each exercise of the notebook."""
    look = [f"{findings.ended} in cell {findings.cell}"] if findings.ended and findings.cell else []
    look += findings.notes + [f"{exercise} was checked {times} times" for exercise, times in findings.times.items() if times > 1]
    for cell, source in enumerate(findings.cells, 1):
        look += [f"cell {cell} says {plain(word, 40)}" for word in dict.fromkeys(TELLTALES.findall(source))]
    look += [f"cell {cell} failed: {plain(why, 120)}" for cell, why in findings.failures.items()]
    found = {exercise: findings.best.get(exercise) or ("not reached", why_not_reached(exercise, findings)) for exercise in wanted}
    who, hints = (plain(submission.student), submission.notebook), plain("; ".join(look), 1000)
    return [dict(zip(COLUMNS, (*who, exercise, *result_and_remark, hints))) for exercise, result_and_remark in found.items()]


def write_table(rows: list[dict[str, str]], out: Path) -> None:
    """Writes beside the file and renames. A cell that starts with = + - @ gets an apostrophe, or a spreadsheet takes it for a formula."""
    beside = out.with_name(out.name + ".part")
    with beside.open("w", encoding="utf-8-sig", newline="", errors="replace") as file:  # Excel needs the mark to read UTF-8
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: "'" + value if value[:1] in tuple("=+-@") else value for name, value in row.items()} for row in rows)
    os.replace(beside, out)


def tally(rows: list[dict[str, str]]) -> str:
    return ", ".join(f"{count} {result}" for result in RESULTS if (count := sum(row["result"] == result for row in rows)))


def grade(folder: Path, out: Path, seconds: float = 300, notebook: str | None = None) -> list[dict[str, str]]:
    """Grades the class's notebooks in `folder` (only those of one number, if given), writes the table to `out`, prints a summary; returns the rows.

    `seconds`: wall clock of a submission, after its process has started. Raises OSError or ValueError if folder, out or notebook can't be, and
    RuntimeError if the library's copy was changed by a submission: then nothing graded is to be trusted, and no table is written.
    """
    exercises = course()
    if notebook is not None and notebook not in exercises:
        raise ValueError(f"the course has no notebook {notebook!r}; it has {', '.join(exercises)}")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise FileNotFoundError(f"{out}: --out is a file in a folder that exists")
    submissions, skipped = collect(folder, set(exercises))
    asked = [one for one in submissions if notebook in (None, one.notebook)]
    print(*(f"skipped: {plain(line)}" for line in skipped), sep="\n", end="\n" * bool(skipped))
    if not asked:
        counts = f"{len(skipped)} skipped, {len(submissions)} of other numbers"
        raise ValueError(f"{folder}: nothing to grade, {counts}; a notebook lies at anna/03_rule_rewards.ipynb, for example")
    unreadable_for_others()
    rows, walls, judge = [], {}, None
    top = Path(tempfile.mkdtemp(prefix="grade_")).resolve()
    try:
        pristine = copies(COURSE.parent, top / "pristine")
        before = fingerprint(pristine)
        for place, one in enumerate(asked):
            if judge is None:
                judge = Peer("judge", library=pristine, environment=dict(os.environ))
            begun = time.monotonic()
            findings = run(one, exercises[one.notebook], judge, pristine, top / str(place), seconds)
            if fingerprint(pristine) != before:
                raise RuntimeError(f"{plain(one.path)} changed the library that grades; no table was written. Take it out, look at it, grade again")
            if findings.ended and findings.checking:  # a judge that waits for an answer, or choked on one
                judge.kill()
                judge = None
            new = rows_of(one, exercises[one.notebook], findings)
            took = "; ".join(filter(None, (f"{time.monotonic() - begun:.0f} s", findings.ended)))
            print(plain(f"{one.student} {one.notebook}: {tally(new)} ({took})"), flush=True)
            rows, walls = rows + new, walls | {findings.walls: None}
            remove(top / str(place))
    finally:
        if judge is not None:
            judge.kill()
        remove(top)
    write_table(rows, out)
    others = len(submissions) - len(asked)
    print(f"\n{len(asked)} notebooks graded, {len(skipped)} things skipped, {others} notebooks of other numbers left out. By student:")
    for student in dict.fromkeys(row["student"] for row in rows):
        print(f"  {student}: {tally([row for row in rows if row['student'] == student])}")
    print(f"Written to {out}. Submissions ran with: {'; '.join(filter(None, walls)) or 'nothing, none ran'}.")
    return rows
