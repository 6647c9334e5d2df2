"""Otter-grader tests for a lesson: `python -m soundmind_lite.publish.otter NOTEBOOK --out FOLDER`.

One test file per exercise, worth one point. A test runs the check that the learner sees, on the
variable that the notebook hands to `exercises.check`. Otter itself runs the notebooks; nothing here
imports it. notebooks/teaching/grading.md has the commands.
"""

import argparse
import csv
import json
import re
import sys
from pathlib import Path

import nbformat

from ..course.exercises import CHECKS

CHECK = re.compile(r'exercises\.check\("([\d.]+)", (\w+)\)')
# Otter hands the function the notebook's variable of that name, or None if there is none.
TEST = """OK_FORMAT = False

from otter.test_files import test_case

from soundmind_lite.course.checking import outcome
from soundmind_lite.course.exercises import CHECKS

name = "{number}"
points = 1


@test_case()
def right({variable}):
    verdict, remark = outcome("{number}", CHECKS["{check}"], {variable})
    assert verdict, remark
"""


def exercises_of(notebook: str | Path) -> dict[str, str]:
    """The variable that each exercise of a notebook is checked on, by the exercise's number.

    Raises ValueError if the notebook checks nothing, or an exercise that doesn't exist.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    found = dict(CHECK.findall("\n".join(cell.source for cell in cells)))
    if not found:
        raise ValueError(f"{notebook} has no exercises; give a lesson of notebooks/")
    for number in found:
        if check_name(number) not in CHECKS:
            raise ValueError(f"{notebook}: there is no check for exercise {number}")
    return found


def check_name(number: str) -> str:
    """The key of an exercise's check in CHECKS."""
    return f"check_{number.replace('.', '_')}"


def write_tests(notebook: str | Path, folder: str | Path) -> list[Path]:
    """Writes the test files of a notebook's exercises to a new folder and returns their paths.

    Raises FileExistsError if the folder exists: otter would run whatever else it holds, too.
    """
    folder = Path(folder)
    found = exercises_of(notebook)
    folder.mkdir(parents=True)
    written = []
    for number, variable in found.items():
        check = check_name(number)
        file = folder / f"{check}.py"
        file.write_text(TEST.format(number=number, variable=variable, check=check))
        written.append(file)
    return written


def table(folder: str | Path) -> None:
    """Prints the points in FOLDER/SUBMISSION/results.json, which `otter run` writes, as CSV.

    A submission without results (its time ran out, or its kernel died) has no points at all.
    """
    points = {}
    for submission in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
        file = submission / "results.json"
        tests = json.loads(file.read_text())["tests"] if file.is_file() else []
        points[submission.name] = {t["name"]: t["score"] for t in tests if "score" in t}
    numbers = sorted({number for earned in points.values() for number in earned})
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["submission", *numbers, "total"])
    for submission, earned in points.items():
        total = f"{sum(earned.values()):g}" if earned else "no result"
        shown = [f"{earned[number]:g}" if number in earned else "" for number in numbers]
        out.writerow([submission, *shown, total])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m soundmind_lite.publish.otter")
    parser.add_argument("notebook", type=Path, help="such as notebooks/03_rule_rewards.ipynb")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the test files")
    args = parser.parse_args()
    try:
        written = write_tests(args.notebook, args.out)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
