"""The doctor of rewards in the pages says what `diagnosis.check_rollouts` says."""

import json
import random
from pathlib import Path

import pytest
from lab_controls import choose, error_of, load, texts, wait

from soundmind_lite.course import diagnosis
from soundmind_lite.profiles import ASSETS
from soundmind_lite.publish import live, web_rewards
from soundmind_lite.runs import report

pytest_plugins = ("site_browser",)
pytestmark = pytest.mark.slow
SCRIPTS = ("python", "rewards", "diagnosis")
BOX = '<div data-live="doctor_lab"></div>'
RUN_PORT = """(() => {
  const {readLines, checkRollouts, inWords} = soundmind.diagnosis;
  return runs.map(lines => checkRollouts(readLines(lines)).map(inWords));
})()"""


def as_lines(rollouts: list[dict]) -> str:
    return "".join(json.dumps(rollout) + "\n" for rollout in rollouts)


def in_python(rollouts: list[dict]) -> list[str]:
    return [str(finding) for finding in diagnosis.check_rollouts(rollouts)]


def in_page(page, runs: list[list[dict]]) -> list[list[str]]:
    page.run(f"globalThis.runs = {json.dumps([as_lines(run) for run in runs])}; 0")
    return page.run(RUN_PORT)


@pytest.fixture
def page(lab_page):
    return load(lab_page(), *SCRIPTS)


def planted(rng: random.Random) -> list[dict]:
    """Rollouts with random rewards of several kinds, of which some never pay, or rarely."""
    kinds = (
        lambda: rng.choice([0.0, 1.0]),
        lambda: rng.choice([0.0] * 20 + [2.0]),
        lambda: rng.uniform(0, 0.012),
        lambda: rng.choice([-1.0, 0.0, -0.5]),
        lambda: rng.choice([-1.0, 1.0]),
        lambda: rng.choice([1.0] * 30 + [-1.0]),
        lambda: rng.choice([None, 0.5, 0.125]),
        lambda: None,
        lambda: 1.0,
        lambda: 0,
        lambda: -rng.random() * 1e-9,
        lambda: rng.uniform(-900, 900),
    )
    texts = [
        *("<think>a</think>\nAnswer: entailed", "<think>a", "Answer: entailed", "", "</think>"),
        *("<think> </think>\x1f", "<think><think>a</think>", "<think>a</think>\x85b"),
    ]
    rewards = {f"reward_{i}": kind for i, kind in enumerate(rng.sample(kinds, 4))}
    numbered, size, rollouts = rng.random() < 0.3, rng.choice([2, 4, 8]), []
    for i in range(size * rng.randint(1, 12)):
        place = i // size
        line = {"step": 1 + place // 4, "id": rng.choice([None, "0001"]) if numbered else place}
        line |= {"group": place} if numbered else {}
        line["completion"] = rng.choice(texts)
        line |= {name: kind() for name, kind in rewards.items() if rng.random() > 0.02}
        line["advantage"] = rng.choice([0.0, -0.0, 4e-7, 0.5, -0.5, 6e-7]) if place % 3 else 1e-8
        rollouts.append(line)
    return rollouts


def test_shipped_runs_and_planted_faults_are_diagnosed_as_in_python(page):
    files = sorted((ASSETS / "runs").glob("**/completions.jsonl"))
    runs = [report.read_lines(file) for file in files]
    steps = report.groups_of(runs[0])
    runs += [[line for group in groups.values() for line in group] for groups in steps.values()]
    rng = random.Random(5)
    runs += [planted(rng) for _ in range(1_000)]
    expected = [in_python(run) for run in runs]
    assert in_page(page, runs) == expected
    said = {words for findings in expected for words in findings}
    for words in ("constant, so", "too rare", "never above", "almost always", "never applies"):
        assert any(words in finding for finding in said), words
    assert {finding[:4] for finding in said} == {"OK  ", "--  "}


@pytest.mark.parametrize(
    ("rule", "instead"),
    [
        ("const FEW = 0.1", "const FEW = 0.2"),
        ("fixed(mean, 2)", "mean.toFixed(2)"),
        ("fixed(rollout.advantage, 6)", "fixed(rollout.advantage, 9)"),
        ("entry[1] > best[1]", "entry[1] >= best[1]"),
        ('"group" in rollout ?', "false ?"),
        ("percent(paid)} of the completions`;\n    if", "Math.round(100 * paid)}%`;\n    if"),
    ],
)
def test_the_test_notices_a_changed_rule(page, rule, instead):
    script = (live.SCRIPTS / "diagnosis.js").read_text(encoding="utf-8")
    assert script.count(rule) == 1
    page.run(script.replace(rule, instead) + ";0")
    rng = random.Random(5)
    runs = [planted(rng) for _ in range(1_000)]
    assert in_page(page, runs) != [in_python(run) for run in runs]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("\n \n", "there are no lines"),
        ("[1]\n", "line 1 is not a JSON object: [1]"),
        ('{"step": 1}\n', 'line 1 lacks "id"'),
        ("\nstep,id\n", "line 2 is not a JSON object: step,id"),
    ],
)
def test_what_is_no_run_is_an_error(page, lines, words):
    call = f"soundmind.diagnosis.readLines({json.dumps(lines)})"
    assert words in error_of(page, call)


def test_fields_that_are_no_numbers_are_errors(page):
    good = {"step": 1, "id": "a", "completion": "", "own": 1.0, "advantage": 0.0}
    changes = ({"own": "1"}, {"advantage": None}, {"completion": 3})
    for change in changes:
        call = f"soundmind.diagnosis.readLines({json.dumps(as_lines([good, good | change]))})"
        assert error_of(page, call).startswith(f'line 2: "{next(iter(change))}" is')


def test_faults_are_planted_in_what_the_run_earned():
    for again, line in zip(web_rewards.scored(), web_rewards.steps(*web_rewards.PLANTED)):
        assert again.keys() == line.keys()
        for name, value in line.items():
            close = pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
            assert again[name] == close


@pytest.fixture
def lab(lab_page):
    return wait(lab_page('<div data-live="doctor_lab"></div>'))


def shown(page) -> list[str]:
    """The findings as the lab shows them: "OK" or "--", what, remedy."""
    return texts(page, ".lab-findings li")


def expected(rollouts: list[dict]) -> list[str]:
    findings = diagnosis.check_rollouts(rollouts)
    return [f"OK{f.what}" if f.ok else f"--{f.what}:{f.remedy}" for f in findings]


def test_the_lab_diagnoses_its_examples(lab):
    complaints = {}
    for number, example in enumerate(web_rewards.examples(Path())):
        choose(lab, ".lab select", number)
        assert shown(lab) == expected(example["rollouts"])
        complaints[example["name"]] = sum(words.startswith("--") for words in shown(lab))
    assert list(complaints.values()) == [0, 1, 3, 3, 1, 1]
    (status,) = texts(lab, ".lab-sum")
    assert status == f"{example['name']}. 64 completions in 8 groups; 1 of 4 findings to act on"


def test_the_lab_reads_pasted_lines_and_files(lab, tmp_path):
    choose(lab, ".lab textarea", "hello")
    assert texts(lab, ".lab-sum") == ["these lines: line 1 is not a JSON object: hello"]
    assert shown(lab) == []
    rollouts = web_rewards.scored(longer=10)
    choose(lab, ".lab textarea", as_lines(rollouts))
    assert shown(lab) == expected(rollouts)
    file = tmp_path / "completions.jsonl"
    file.write_text(as_lines(web_rewards.rollouts()), encoding="utf-8")
    root = lab.send("DOM.getDocument")["root"]["nodeId"]
    field = lab.send("DOM.querySelector", nodeId=root, selector=".lab input[type=file]")
    lab.send("DOM.setFileInputFiles", files=[str(file)], nodeId=field["nodeId"])
    read = """new Promise(done => {
      const look = () => document.querySelector(".lab-sum").textContent.includes("1280")
        ? done(true) : setTimeout(look, 20);
      look();
    })"""
    assert lab.run(read)
    assert shown(lab) == expected(web_rewards.rollouts())
    assert all(address.startswith("file:") for address in lab.requested())
    assert lab.complaints() == []
