"""The paper ledger: its references, commands and tables, and rows that are refused."""

import inspect
import json
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

from soundmind_lite.__main__ import parser
from soundmind_lite.publish import ledger

ROWS = ledger.load()
REFERENCES = sorted({reference for row in ROWS for reference in row["code"]})
RUNS = sorted({row["run"] for row in ROWS if row["run"]})
NOWHERE = (
    "soundmind_lite.rewards:no_reward",
    "soundmind_lite.nowhere:x",
    "soundmind_lite.trainer:AudioGRPOTrainer.nothing",
    "notebooks/99_none.ipynb",
    "rewards",
    "os:path",
)
BAR = r"(?<!\\)\|"  # between two cells


def test_every_kind_has_rows_and_no_item_stands_twice():
    assert {row["kind"] for row in ROWS} == set(ledger.KINDS)
    assert len({row["item"] for row in ROWS}) == len(ROWS) >= 35


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_leads_somewhere_and_its_line_is_right(reference):
    found = ledger.resolve(reference)
    file, _, line = ledger.line_of(reference).partition(":")
    assert (ROOT / file).is_file()
    if reference.startswith("notebooks/"):
        assert found == ROOT / file
        return
    name = reference.rpartition(":")[2].rpartition(".")[2]
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    assert re.search(rf"\b{name}\b", lines[int(line) - 1])
    if inspect.isclass(found) or inspect.isroutine(found):
        found = inspect.unwrap(found)  # `torch.no_grad` and its like
        source, first = inspect.getsourcelines(found)  # from the first decorator on
        above = next(i for i, text in enumerate(source) if re.match(r"\s*(def|class) ", text))
        assert inspect.getsourcefile(found) == str(ROOT / file)
        assert int(line) == first + above


@pytest.mark.parametrize("function", [ledger.resolve, ledger.line_of])
@pytest.mark.parametrize("reference", NOWHERE)
def test_a_reference_to_nothing_is_named(reference, function):
    with pytest.raises(LookupError, match=f"^{re.escape(reference)}: "):
        function(reference)


def test_a_reference_names_the_module_that_defines_it():
    words = r"grpo\.py doesn't define TEXT_REWARDS; name the module that does"
    assert ledger.resolve("soundmind_lite.grpo:TEXT_REWARDS")  # imported there, from rewards
    with pytest.raises(LookupError, match=words):
        ledger.line_of("soundmind_lite.grpo:TEXT_REWARDS")


@pytest.mark.parametrize("run", RUNS)
def test_what_is_to_run_can_be_run(run):
    words = shlex.split(run)
    if run.endswith(".ipynb"):
        assert ledger.resolve(run).is_file()
        return
    if words[:3] == ["python", "-m", "pytest"]:
        assert all((ROOT / test).is_file() for test in words[3:])
        return
    if words[:3] == ["accelerate", "launch", "--config_file"]:
        assert (ROOT / words[3]).is_file()
        words = ["python", *words[4:]]
    assert words[:3] == ["python", "-m", "soundmind_lite"]
    args = parser().parse_args(words[3:])
    run_folder = getattr(args, "run", None)
    assert run_folder is None or (ROOT / run_folder / "adapter").is_dir()


BROKEN = [
    (lambda row: row.pop("ours"), "the field 'ours' is missing"),
    (lambda row: row.update(page="7"), "the field 'page' is unknown"),
    (lambda row: row.update(code="soundmind_lite.rewards:answer_reward"), "'code' must be a list"),
    (lambda row: row.update(code=[7]), "'code' must be a list"),
    (lambda row: row.update(paper=2.0), "'paper' must be a str"),
    (lambda row: row.update(where=" "), "'where' must be a str"),
    (lambda row: row.update(run=None), "'run' must be a str"),
    (lambda row: row.update(kind="joke"), "there is no 'kind' 'joke'"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_broken_row_is_named(tmp_path, change, message):
    rows = json.loads(ledger.FILE.read_text(encoding="utf-8"))[:2]
    change(rows[1])
    (tmp_path / "ledger.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"ledger row 2, .*{re.escape(message)}"):
        ledger.load(tmp_path / "ledger.json")


def test_the_tables_name_every_item_and_every_line():
    lines = [line for line in ledger.markdown().splitlines() if line.startswith("| ")]
    by_item = {line.split(" | ")[0].removeprefix("| "): line for line in lines}
    for row in ROWS:
        line = by_item[row["item"]]
        assert re.search(rf"{BAR} {re.escape(row['where'])} {BAR}", line)
        assert len(re.findall(BAR, line)) == 7  # six cells, whatever the texts hold
        for reference in row["code"]:
            assert f"`{ledger.line_of(reference)}`" in line


def test_a_bar_in_a_text_stays_in_its_cell(monkeypatch):
    row = ROWS[0] | {"item": "either", "ours": "one | other"}
    monkeypatch.setattr(ledger, "load", lambda: [row])
    assert "| one \\| other |" in ledger.markdown()


def test_the_tables_need_no_torch():
    code = "from soundmind_lite.publish import ledger; ledger.markdown()"
    code += "; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
