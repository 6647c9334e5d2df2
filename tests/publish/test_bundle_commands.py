"""The offline folder of the teacher kit's README, made and installed with a course of one package.

The package is one small wheel in a folder that stands for the package index.
"""

import os
import zipfile
from pathlib import Path

import pytest
from readme_commands import bash, block

pytest_plugins = ("site_pages",)

WHEEL = {
    "tiny_thing.py": 'WORD = "here"\n',
    "tiny_thing-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
    "tiny_thing-1.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
}
COMMIT = (
    "git init --quiet && git add . && "
    "git -c user.name=T -c user.email=t@example.org commit --quiet --message course"
)


@pytest.fixture
def course(tmp_path):
    """A committed course with a requirement, and a learner's run that isn't committed."""
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / "tiny_thing-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in WHEEL.items():
            wheel.writestr(path, text)
        record = "".join(f"{path},,\n" for path in WHEEL)
        wheel.writestr("tiny_thing-1.0.dist-info/RECORD", record)
    course = tmp_path / "course"
    (course / "notebooks").mkdir(parents=True)
    (course / "notebooks" / "00_start_here.ipynb").write_text("{}")
    (course / "requirements.txt").write_text("tiny-thing==1.0\n")
    bash(COMMIT, course).check_returncode()
    (course / "runs").mkdir()
    (course / "runs" / "result.json").write_text("{}")
    return course


def no_index(**others) -> dict[str, str]:
    """Variables for pip: no index but what is named here, whatever this machine's settings are."""
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", **others}


def test_the_folder_installs_without_a_network(course):
    packages, copy, site = block("pip wheel").splitlines()
    index = str(course.parent / "index")
    done = bash(f"{packages}\n{copy}", course, **no_index(PIP_FIND_LINKS=index))
    assert done.returncode == 0, done.stderr
    offline = course.parent / "offline"
    assert [path.name for path in (offline / "wheels").iterdir()] == [
        "tiny_thing-1.0-py3-none-any.whl"
    ]
    copied = sorted(path.name for path in (offline / "course").iterdir())
    assert copied == [".git", "notebooks", "requirements.txt"]
    assert site == "python -m soundmind_lite site --out ../offline/site"

    (course.parent / "index").rename(course.parent / "unplugged")
    done = bash(block("--find-links wheels"), offline, **no_index())
    assert done.returncode == 0, done.stderr
    done = bash('venv/bin/python -c "import tiny_thing as t; print(t.WORD, t.__file__)"', offline)
    word, file = done.stdout.split()
    assert word == "here"
    assert Path(file).is_relative_to(offline / "venv")


def test_a_missing_package_is_found_out(course):
    (course / "requirements.txt").write_text("tiny-thing==1.0\nno-such-package\n")
    index = str(course.parent / "index")
    done = bash(block("pip wheel"), course, **no_index(PIP_FIND_LINKS=index))
    assert done.returncode != 0
    assert "no-such-package" in done.stderr


def test_the_site_goes_beside_it(built):
    """`built` runs that command, in a folder named as the course's is."""
    assert built.parts[-2:] == ("offline", "site")
    assert (built / "index.html").is_file()
