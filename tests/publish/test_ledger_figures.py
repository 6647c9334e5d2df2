"""The figures of the paper ledger against the code, the shipped runs, the notebooks and the real
annotations: no row may say what its source doesn't."""

import json
import math
import re
from dataclasses import asdict, dataclass
from functools import cache

import pytest
from conftest import ROOT

from soundmind_lite import data, grpo, profiles, rewards
from soundmind_lite.alr.text import statements
from soundmind_lite.models import audio_token_count
from soundmind_lite.prompts import gold_completion
from soundmind_lite.publish import ledger
from soundmind_lite.speech.rewards import AUDIO_REWARDS
from soundmind_lite.speech.spoken import Speech
from soundmind_lite.tiny import data as tiny_data

ROWS = ledger.load()
ITEMS = {row["item"]: row for row in ROWS}
# "93.8 % [after.accuracy]" is a figure, and "in assets/runs/…/result.json" the source of the
# figures before it
QUOTED = re.compile(
    r"(?P<figure>[\d,]*\.?\d+(?:e-?\d+)?)(?P<percent> %)?(?: (?:s|MB))? \[(?P<key>\w+(?:\.\w+)*)\]"
    r"|\bin (?P<source>(?:assets|soundmind_lite)/[\w/.]+\.(?:json|py))"
)


@dataclass
class Quotation:
    """A figure of the ledger, and the entry of the source that it is quoted from."""

    figure: str
    percent: bool
    key: str
    source: str = ""


def quotations(row):
    """The figures of a row's `ours`."""
    found, waiting = [], []
    for match in QUOTED.finditer(row["ours"]):
        if match["source"]:
            assert waiting, f"{row['item']}: {match['source']} is named without a figure of it"
            for quotation in waiting:
                quotation.source = match["source"]
            found += waiting
            waiting = []
        else:
            figure = match["figure"].replace(",", "")
            waiting.append(Quotation(figure, bool(match["percent"]), match["key"]))
    assert not waiting, f"{row['item']}: {waiting} without a source"
    return found


def paid(functions, **columns):
    """What each reward pays for a gold completion, and their sum under the name "sum"."""
    completion = gold_completion("all cats sing", 0)
    found = {reward.__name__: reward([completion], **columns)[0] for reward in functions}
    return found | {"sum": sum(found.values())}


def text_rewards():
    found = paid(rewards.TEXT_REWARDS, label=[0], reference_length=[3])
    return found | {"TEXT_REWARDS": found["sum"]}


def audio_rewards():
    """For speech whose transcript is what was spoken."""
    speech = Speech(
        "all cats sing answer not entailed", 2.0, "All cats sing. Answer, not entailed."
    )

    def voice(completions, hear=None, **_):
        return [speech]

    found = paid(AUDIO_REWARDS, voice=voice, label=[0], reference_seconds=[2.0])
    return found | {"AUDIO_REWARDS": found["sum"]}


@cache
def entries(source):
    """All that a source says, under the names that the ledger uses."""
    if source.endswith(".json"):
        return json.loads((ROOT / source).read_text(encoding="utf-8"))
    match source.removeprefix("soundmind_lite/"):
        case "rewards.py":
            return text_rewards()
        case "speech/rewards.py":
            return audio_rewards()
        case "profiles.py":
            return {name: asdict(profile) for name, profile in profiles.PROFILES.items()}
        case "grpo.py":
            return vars(grpo.grpo_config(profiles.get("tiny"), ROOT / "runs"))
        case "data.py":
            return data.ALR_ROWS
        case "tiny/data.py":
            return tiny_data.SPLITS
    raise LookupError(f"{source} is no source of figures that this test knows")


def entry(key, source):
    value = entries(source)
    for name in key.split("."):
        value = value[name]
    return value


def as_quoted(value, quotation):
    """The value with as many digits as the figure has."""
    digits = len(quotation.figure.partition("e")[0].partition(".")[2])
    kind = "e" if "e" in quotation.figure else "f"
    value = 100 * value if quotation.percent else value
    return float(f"{value:.{digits}{kind}}")


@pytest.mark.parametrize("row", ROWS, ids=[row["item"] for row in ROWS])
def test_each_figure_of_ours_is_that_of_its_source(row):
    for quotation in quotations(row):
        value = entry(quotation.key, quotation.source)
        assert as_quoted(value, quotation) == float(quotation.figure), quotation


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("λ1", "text_format_reward"),
        ("λ2", "audio_format_reward"),
        ("λ3", "answer_reward"),
        ("λ4", "text_length_reward"),
        ("λ5", "audio_length_reward"),
    ],
)
def test_the_lambdas_of_the_paper_are_paid(item, name):
    (row,) = [row for row in ROWS if f"({item})" in row["item"]]
    (quotation,) = quotations(row)
    stated = float(re.match(rf"{item} = (\d\.\d+)", row["paper"])[1])
    assert stated == (text_rewards() | audio_rewards())[name]
    assert (float(quotation.figure), quotation.key) == (stated, name)


@pytest.mark.parametrize("row", ROWS, ids=[row["item"] for row in ROWS])
def test_a_share_is_traced_and_a_tiny_one_is_called_tiny(row):
    assert not re.search(r"\d %(?! \[)", row["ours"])
    assert "assets/runs" not in row["ours"].partition("tiny")[0]
    if row["kind"] in ("result", "ablation"):
        assert row["ours"].startswith(("not run", "not repeated here"))
        assert "assets/runs" not in row["ours"] or "not comparable" in row["ours"]


@pytest.mark.parametrize(
    ("item", "dropped"),
    [
        ("no answer reward", ["answer_reward"]),
        ("no text rewards", ["text_format_reward", "text_length_reward"]),
    ],
)
def test_the_figures_of_an_ablation_are_those_of_its_runs(item, dropped):
    files = [quotation.source for quotation in quotations(ITEMS[f"{item}, audio→text"])]
    assert len(files) == 3 * len(dropped)
    kept = set()
    for file in files:
        run = json.loads((ROOT / file).with_name("run.json").read_text(encoding="utf-8"))
        kept.add(frozenset(run["rewards"]))
    all_three = {reward.__name__ for reward in rewards.TEXT_REWARDS}
    assert kept == {frozenset(all_three - {name}) for name in dropped}


def test_notebook_06_gives_the_same_table():
    notebook = json.loads((ROOT / "notebooks" / "06_evaluate.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    line = re.compile(r"^\| ([\w.+ -]+) \| \**(\d\d\.\d\d)\** \| not run \|$", re.MULTILINE)
    table = line.findall(text)
    assert len(table) == 7
    for model, figure in table:
        assert ITEMS[f"{model}, audio→text"]["paper"].split()[0] == figure


def test_the_counts_of_the_splits_add_up():
    splits = [row["paper"].replace(",", "") for row in ROWS if "ALR, split" in row["item"]]
    total = 0
    for text in splits:
        rows, entailed, not_entailed = (
            int(count) for count in re.findall(r"\d+(?= rows| entailed| not-entailed)", text)
        )
        assert rows == entailed + not_entailed
        total += rows
    assert total == 6446


def share(right):
    """A share of the 656 test rows in per cent, as the paper writes it."""
    return f"{100 * right / 656:.2f}"


@pytest.mark.parametrize("item", ["majority class", "Qwen2.5-Omni-7B", "SoundMind-RL"])
def test_a_share_of_the_test_rows_is_stated_with_its_count(item):
    paper = ITEMS[f"{item}, audio→text"]["paper"]
    figure, right = re.match(r"(\d\d\.\d\d) \((\d+) of 656", paper).groups()
    assert share(int(right)) == figure


def test_the_figures_of_the_ablation_are_no_shares_of_the_test_rows():
    possible = {share(right) for right in range(657)}
    paper = ITEMS["could the ablation be shares of 656?"]["paper"]
    impossible, fine = (re.findall(r"\d\d\.\d\d", part) for part in paper.split(";"))
    assert impossible == [row["paper"] for row in ROWS if row["kind"] == "ablation"]
    assert not possible & set(impossible)
    assert possible >= set(fine)


def test_the_unpaired_test_of_the_paper_s_two_figures_is_right():
    p = (534 + 509) / 2 / 656
    z = (534 - 509) / 656 / math.sqrt(2 * p * (1 - p) / 656)
    stated = f"z = {z:.2f}, p ≈ {math.erfc(z / math.sqrt(2)):.3f}"
    assert stated in ITEMS["is 81.40 more than 77.59?"]["ours"]


def test_the_mean_question_makes_as_many_tokens_as_stated():
    stated = f"62.33 s, makes {audio_token_count(6233):,} audio tokens"
    assert stated in ITEMS["prompt length"]["ours"]
    assert "62.33 in" in ITEMS["ALR, split train"]["paper"]


def test_the_dev_half_of_the_audit_holds_on_the_real_annotations(real_rows):
    entailed = [row for row in real_rows if row["label"] == 1]
    contradicted = [
        row for row in entailed if row["answer"].rstrip().endswith("Answer: not-entailed.")
    ]
    rows, yes, no = len(real_rows), len(entailed), len(real_rows) - len(entailed)
    sizes = f"{rows} rows, {yes} entailed and {no} not-entailed"
    assert sizes in ITEMS["ALR, split val, called dev"]["paper"]
    assert f"({len(contradicted)} dev, " in ITEMS["audit: labels against texts"]["paper"]
    assert all(statements(row["user_content"]) for row in real_rows)
