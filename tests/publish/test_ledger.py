"""The paper ledger against the code, the shipped runs, the notebooks and the real annotations: no row may say what its source doesn't."""
import inspect
import json
import math
import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from functools import cache

import pytest
from conftest import ROOT

from soundmind_lite.publish import ledger

ROWS = ledger.load()
REFERENCES = sorted({reference for row in ROWS for reference in row["code"]})
ITEMS = {row["item"]: row for row in ROWS}
# "93.8 % [after.accuracy]" is a figure, "in assets/runs/…/result.json" the source of the figures before it
QUOTED = re.compile(
    r"(?P<figure>[\d,]*\.?\d+(?:e-?\d+)?)(?P<percent> %)?(?: (?:s|MB))? \[(?P<key>\w+(?:\.\w+)*)\]"
    r"|\bin (?P<source>(?:assets|soundmind_lite)/[\w/.]+\.(?:json|py))"
)


def quotations(row):
    """The figures of a row's `ours` as (figure, is it in per cent, entry, source)."""
    found, waiting = [], []
    for match in QUOTED.finditer(row["ours"]):
        if match["source"]:
            found += [(*quoted, match["source"]) for quoted in waiting]
            assert waiting, f"{row['item']}: {match['source']} is named without a figure of it"
            waiting = []
        else:
            waiting.append((match["figure"].replace(",", ""), bool(match["percent"]), match["key"]))
    assert not waiting, f"{row['item']}: {waiting} without a source"
    return found


def paid():
    """What each reward pays for a gold completion that is heard as it was written, and the sums."""
    from soundmind_lite import rewards
    from soundmind_lite.prompts import gold_completion
    from soundmind_lite.speech.spoken import Speech

    columns = dict(label=[0], reference_length=[3], reference_seconds=[2.0])
    voice = lambda completions, hear=None, **_: [Speech("all cats sing answer not entailed", 2.0, "All cats sing. Answer, not entailed.")]
    points = {f.__name__: f([gold_completion("all cats sing", 0)], **columns)[0] for f in rewards.TEXT_REWARDS}
    points |= {f.__name__: f([gold_completion("all cats sing", 0)], voice=voice, **columns)[0] for f in rewards.AUDIO_REWARDS}
    return points | {name: sum(points[f.__name__] for f in getattr(rewards, name)) for name in ("TEXT_REWARDS", "AUDIO_REWARDS")}


@cache
def entries(source):
    """All that a source says, under the names that the ledger uses."""
    from soundmind_lite import data, grpo, profiles
    from soundmind_lite.tiny import data as tiny_data

    if source.endswith(".json"):
        return json.loads((ROOT / source).read_text(encoding="utf-8"))
    return {
        "soundmind_lite/rewards.py": paid,
        "soundmind_lite/profiles.py": lambda: {name: asdict(profile) for name, profile in profiles.PROFILES.items()},
        "soundmind_lite/grpo.py": lambda: vars(grpo.config(profiles.get("tiny"), ROOT / "runs")),
        "soundmind_lite/data.py": lambda: data.ALR_ROWS,
        "soundmind_lite/tiny_data.py": lambda: tiny_data.SPLITS,
    }[source]()


def entry(key, source):
    value = entries(source)
    for name in key.split("."):
        value = value[name]
    return value


def as_quoted(value, figure, percent):
    """The value with as many digits as the figure has."""
    digits, kind = len(figure.partition("e")[0].partition(".")[2]), "e" if "e" in figure else "f"
    return float(f"{100 * value if percent else value:.{digits}{kind}}")


def test_every_kind_has_rows_and_no_item_stands_twice():
    assert {row["kind"] for row in ROWS} == set(ledger.KINDS)
    assert len(ITEMS) == len(ROWS) >= 35


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_reference_leads_somewhere_and_its_line_is_right(reference):
    found, (file, _, line) = ledger.resolve(reference), ledger.line_of(reference).partition(":")
    assert (ROOT / file).is_file()
    if reference.startswith("notebooks/"):
        assert found == ROOT / file
        return
    name = reference.rpartition(":")[2].rpartition(".")[2]
    assert re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8").splitlines()[int(line) - 1])
    if inspect.isclass(found) or inspect.isroutine(found):
        found = inspect.unwrap(found)  # `torch.no_grad` and its like
        first = inspect.getsourcelines(found)[1]
        assert inspect.getsourcefile(found) == str(ROOT / file)
        assert first <= int(line) <= first + 2  # inspect counts from a decorator


def test_a_reference_to_nothing_is_named():
    nowhere = ("soundmind_lite.rewards:no_reward", "soundmind_lite.nowhere:x", "soundmind_lite.trainer:AudioGRPOTrainer.nothing")
    for reference in (*nowhere, "notebooks/99_none.ipynb", "rewards", "os:path"):
        for function in (ledger.resolve, ledger.line_of):
            with pytest.raises(LookupError, match=f"^{re.escape(reference)}: "):
                function(reference)
    with pytest.raises(LookupError, match=r"grpo\.py doesn't define batch_advantages; name the module that does"):
        ledger.line_of("soundmind_lite.grpo:batch_advantages")  # imported there, defined in seam


@pytest.mark.parametrize("run", sorted({row["run"] for row in ROWS if row["run"]}))
def test_what_is_to_run_can_be_run(run):
    from soundmind_lite.__main__ import parser

    words = shlex.split(run)
    if words[:3] == ["python", "-m", "pytest"]:
        assert all((ROOT / test).is_file() for test in words[3:])
    elif run.endswith(".ipynb"):
        assert ledger.resolve(run).suffix == ".ipynb"
    else:
        if words[:3] == ["accelerate", "launch", "--config_file"]:
            assert (ROOT / words[3]).is_file()
            words = ["python", *words[4:]]
        assert words[:3] == ["python", "-m", "soundmind_lite"]
        args = parser().parse_args(words[3:])
        if given := getattr(args, "run", None):
            assert (ROOT / given / "adapter").is_dir()


@pytest.mark.parametrize("row", ROWS, ids=[row["item"] for row in ROWS])
def test_each_figure_of_ours_is_that_of_its_source(row):
    for figure, percent, key, source in quotations(row):
        assert as_quoted(entry(key, source), figure, percent) == float(figure), f"{key} in {source}"


def test_the_lambdas_of_the_paper_are_paid():
    names = ("text_format_reward", "audio_format_reward", "answer_reward", "text_length_reward", "audio_length_reward")
    for item, name in zip(("λ1", "λ2", "λ3", "λ4", "λ5"), names):
        (row,) = [row for row in ROWS if f"({item})" in row["item"]]
        stated = float(re.match(rf"{item} = (\d\.\d+)", row["paper"])[1])
        assert stated == paid()[name]
        assert [(float(figure), key) for figure, _, key, _ in quotations(row)] == [(stated, name)]


def test_a_share_is_traced_and_a_tiny_one_is_called_tiny():
    for row in ROWS:
        assert not re.search(r"\d %(?! \[)", row["ours"]), row["item"]
        assert "assets/runs" not in row["ours"].partition("tiny")[0], row["item"]
        if row["kind"] in ("result", "ablation"):
            assert row["ours"].startswith(("not run", "not repeated here"))
            assert "assets/runs" not in row["ours"] or "not comparable" in row["ours"], row["item"]


def test_the_figures_of_an_ablation_are_those_of_its_runs():
    for item, dropped in (("no answer reward", {"answer_reward"}), ("no text rewards", {"text_format_reward", "text_length_reward"})):
        files = [source for *_, source in quotations(ITEMS[f"{item}, audio→text"])]
        assert len(files) == 3 * len(dropped)
        settings = [json.loads((ROOT / file).with_name("run.json").read_text(encoding="utf-8")) for file in files]
        kept = {frozenset(run["rewards"]) for run in settings}
        assert kept == {frozenset({"answer_reward", "text_format_reward", "text_length_reward"} - {name}) for name in dropped}


def test_notebook_06_gives_the_same_table():
    cells = json.loads((ROOT / "notebooks" / "06_evaluate.ipynb").read_text(encoding="utf-8"))["cells"]
    table = re.findall(r"^\| ([\w.+ -]+) \| \**(\d\d\.\d\d)\** \| not run \|$", "\n".join("".join(cell["source"]) for cell in cells), re.MULTILINE)
    assert len(table) == 7
    for model, figure in table:
        assert ITEMS[f"{model}, audio→text"]["paper"].split()[0] == figure


def test_the_figures_of_the_paper_add_up_as_stated():
    splits = [row["paper"].replace(",", "") for row in ROWS if "ALR, split" in row["item"]]
    counts = [[int(n) for n in re.findall(r"\d+(?= rows| entailed| not-entailed)", text)] for text in splits]
    assert sum(rows for rows, _, _ in counts) == 6446
    assert all(rows == yes + no for rows, yes, no in counts)
    share = lambda right: f"{100 * right / 656:.2f}"
    for item in ("majority class", "Qwen2.5-Omni-7B", "SoundMind-RL"):
        figure, right = re.match(r"(\d\d\.\d\d) \((\d+) of 656", ITEMS[f"{item}, audio→text"]["paper"]).groups()
        assert share(int(right)) == figure
    possible = {share(right) for right in range(657)}
    impossible, fine = (re.findall(r"\d\d\.\d\d", part) for part in ITEMS["could the ablation be shares of 656?"]["paper"].split(";"))
    assert impossible == [row["paper"] for row in ROWS if row["kind"] == "ablation"]
    assert not possible & set(impossible)
    assert possible >= set(fine)
    p = (534 + 509) / 2 / 656
    z = (534 - 509) / 656 / math.sqrt(2 * p * (1 - p) / 656)
    assert f"z = {z:.2f}, p ≈ {math.erfc(z / math.sqrt(2)):.3f}" in ITEMS["is 81.40 more than 77.59?"]["ours"]


def test_the_mean_question_makes_as_many_tokens_as_stated():
    from soundmind_lite.models import audio_token_count

    assert f"62.33 s, makes {audio_token_count(6233):,} audio tokens" in ITEMS["prompt length"]["ours"]
    assert "62.33 in" in ITEMS["ALR, split train"]["paper"]


def test_the_dev_half_of_the_audit_holds_on_the_real_annotations(real_rows):
    from soundmind_lite.alr.text import statements

    labels = [row["label"] for row in real_rows]
    contradicted = [row for row in real_rows if row["label"] == 1 and row["answer"].rstrip().endswith("Answer: not-entailed.")]
    sizes = f"{len(labels)} rows, {sum(labels)} entailed and {len(labels) - sum(labels)} not-entailed"
    assert sizes in ITEMS["ALR, split val, called dev"]["paper"]
    assert f"({len(contradicted)} dev, " in ITEMS["audit: labels against texts"]["paper"]
    assert all(statements(row["user_content"]) for row in real_rows)


BROKEN = [
    (lambda row: row.pop("ours"), "the field 'ours' is missing"), (lambda row: row.update(page="7"), "the field 'page' is unknown"),
    (lambda row: row.update(code="soundmind_lite.rewards:answer_reward"), "'code' must be a list"),
    (lambda row: row.update(code=[7]), "'code' must be a list"),
    (lambda row: row.update(paper=2.0), "'paper' must be a str"), (lambda row: row.update(where=" "), "'where' must be a str"),
    (lambda row: row.update(run=None), "'run' must be a str"), (lambda row: row.update(kind="joke"), "there is no 'kind' 'joke'"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_broken_row_is_named(tmp_path, change, message):
    rows = json.loads(ledger.FILE.read_text(encoding="utf-8"))[:2]
    change(rows[1])
    (tmp_path / "ledger.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"ledger row 2, .*{re.escape(message)}"):
        ledger.load(tmp_path / "ledger.json")


def test_the_tables_name_every_item_and_every_line():
    text = ledger.markdown()
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")}
    for row in ROWS:
        assert re.search(rf"(?<!\\)\| {re.escape(row['where'])} (?<!\\)\|", lines[row["item"]])
        assert len(re.findall(r"(?<!\\)\|", lines[row["item"]])) == 7  # six cells, whatever the texts hold
        for reference in row["code"]:
            assert f"`{ledger.line_of(reference)}`" in lines[row["item"]]


def test_a_bar_in_a_text_stays_in_its_cell(monkeypatch):
    monkeypatch.setattr(ledger, "load", lambda: [ROWS[0] | {"item": "either", "ours": "one | other"}])
    assert "| one \\| other |" in ledger.markdown()


def test_the_tables_need_no_torch():
    code = "import sys; from soundmind_lite import ledger; ledger.markdown(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
