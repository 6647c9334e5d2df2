"""The checker of chains: gold chains, a fault at each step, anything at all, and what it proves."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundmind_lite import data
from soundmind_lite.course import chains
from soundmind_lite.data import STATEMENTS
from soundmind_lite.profiles import ASSETS
from soundmind_lite.prompts import chain_of_thought, gold_completion
from soundmind_lite.rewards import answer_reward
from soundmind_lite.tiny import syllogisms
from soundmind_lite.tiny.syllogisms import Problem

ROW = {
    "id": "1",
    "major_premise": "all birds are tigers",
    "minor_premise": "all robins are birds",
    "conclusion": "all robins are tigers",
}
GOLD = (
    "<think>Major premise: all birds are tigers. Minor premise: all robins are birds. "
    "Conclusion: all robins are tigers. Let birds be it: all it are tigers, all robins are it. "
    "So all robins are tigers. This matches the conclusion.</think>\nAnswer: entailed"
)
BROKEN = {  # each step, and what is written in place of which words
    "major": ("Major premise: all birds", "Major premise: some birds"),
    "minor": ("Minor premise: all robins are birds", "Minor premise: all birds are robins"),
    "conclusion": ("Conclusion: all robins are tigers", "Conclusion: all robins are birds"),
    "middle": ("Let birds be it", "Let tigers be it"),
    "derived": ("So all robins are tigers", "So all tigers are robins"),
    "comparison": ("This matches", "This does not match"),
    "answer": ("Answer: entailed", "Answer: not-entailed"),
}
PROBLEMS = [  # of every form that mini_alr draws from
    Problem(form, ("robins", "birds", "tigers"))
    for mood in syllogisms.MOODS
    for label in (True, False)
    for form in syllogisms.forms(mood, label)
]


def row_of(problem):
    return dict(zip(STATEMENTS, problem.statements)) | {"id": "1", "label": problem.label}


@pytest.mark.parametrize("split", data.SPLITS)
def test_every_gold_chain_is_valid(split):
    rows = list(data.load_alr("mini", split, audio=None))
    assert len(rows) in (60, 240)
    texts = [gold_completion(chain_of_thought(r["reasoning"]), r["label"]) for r in rows]
    assert {chains.check(row, text).first_false for row, text in zip(rows, texts)} == {None}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert chains.valid_steps_reward(texts, **columns) == [1.0] * len(rows)


def test_the_names_of_the_steps_are_those_of_the_sentences():
    assert chains.STEPS == (*chains.BEGINNINGS, "answer") == tuple(BROKEN)


@pytest.mark.parametrize("step", chains.STEPS)
def test_a_broken_step_is_found_at_that_step(step):
    right, wrong = BROKEN[step]
    assert GOLD.count(right) == 1
    broken = GOLD.replace(right, wrong)
    verdict = chains.check(ROW, broken)
    assert verdict.first_false == step
    assert verdict.share < 1
    assert chains.kind(ROW, broken) == chains.FALSE_STEP


@pytest.mark.parametrize("step", chains.STEPS[:-1])
def test_a_step_that_is_missing_or_there_twice_is_false(step):
    sentences = GOLD.removeprefix("<think>").partition("</think>")[0].split(". ")
    place = chains.STEPS.index(step)
    said = sentences[place].rstrip(".")
    for new in ([], [said, said]):
        text = ". ".join([*sentences[:place], *new, *sentences[place + 1 :]])
        verdict = chains.check(ROW, f"<think>{text}</think>\nAnswer: entailed")
        assert not getattr(verdict, step)


def test_a_false_step_alone_costs_its_own_share():
    misheard = GOLD.replace("Major premise: all birds", "Major premise: all cats")
    assert chains.check(ROW, misheard).share == pytest.approx(6 / 7)


def test_case_and_white_space_do_not_matter():
    loud = "<think>" + GOLD[7:].replace("So all", "SO  ALL").replace(" Let", "\n\nLet")
    assert chains.check(ROW, loud).first_false is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Answer: entailed", "no thought"),
        (GOLD.replace("</think>", ""), "not closed"),
        ("", "empty"),
        ("<think> </think>\nAnswer: entailed", "empty thought"),
    ],
)
def test_without_a_closed_thought_there_is_no_chain(text, why):
    assert chains.kind(ROW, text) == chains.NO_CHAIN, why
    assert chains.check(ROW, text).share == 0


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_valid_chain_cannot_end_with_a_wrong_answer(problem):
    """For every form: all derived statements, comparisons and answers, from right premises."""
    row = row_of(problem)
    gold = gold_completion(problem.reasoning, problem.label)
    before = gold.partition("So ")[0]
    pairs = itertools.permutations(problem.nouns, 2)
    every = [problem.reasoning.partition("So ")[2].partition(".")[0], chains.NOTHING]
    every += [syllogisms.in_words((q, *pair)) for pair in pairs for q in syllogisms.QUANTIFIERS]
    comparisons, verdicts = chains.COMPARISONS, ("entailed", "not-entailed")
    valid = 0
    for derived, comparison, verdict in itertools.product(every, comparisons, verdicts):
        text = f"{before}So {derived}. This {comparison}.</think>\nAnswer: {verdict}"
        if chains.check(row, text).first_false is None:
            valid += 1
            assert answer_reward([text], [problem.label]) == [2.0]
    assert valid


def test_a_converse_is_the_same_only_for_no_and_some():
    assert chains.same("some cats are dogs", "some dogs are cats")
    assert not chains.same("all cats are dogs", "all dogs are cats")
    assert chains.same("nothing follows", "all dogs are cats") is False
    assert chains.same("nothing", "all dogs are cats") is None
    assert chains.same("all dogs are cats", None) is None


def test_counted_by_answer_and_chain():
    answers = [
        {"completion": GOLD, "correct": True},
        {"completion": GOLD.replace("Let birds", "Let cats"), "correct": True},
        {"completion": "Answer: not-entailed", "correct": False},
    ]
    found = chains.kinds([ROW] * 3, answers)
    assert found == {
        (True, chains.VALID): 1,
        (True, chains.FALSE_STEP): 1,
        (False, chains.NO_CHAIN): 1,
    }


@pytest.mark.parametrize("run", [f"{name}_seed{s}" for name in ("all", "steps") for s in range(3)])
def test_the_shipped_answers_are_those_of_the_result(run):
    folder = ASSETS / "runs" / run
    after = json.loads((folder / "after.json").read_text(encoding="utf-8"))
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert after["summary"] == result["after"]
    rows = list(data.load_alr("mini", "test", audio=None))
    found = chains.kinds(rows, after["answers"])
    right = sum(count for (correct, _), count in found.items() if correct)
    assert right / 240 == result["after"]["accuracy"]
    assert not found[False, chains.VALID]


def test_a_row_that_is_no_syllogism_is_an_error():
    """ALR's own rows: nothing proves their steps."""
    free = {"major_premise": ["It rained all day."], "minor_premise": ["Is it wet?"]}
    with pytest.raises(ValueError, match="row 0 of the batch: expected three statements"):
        chains.valid_steps_reward([GOLD], **free, conclusion=["It is wet."])


def test_messages_are_read_like_strings():
    columns = {name: [ROW[name]] * 2 for name in STATEMENTS}
    messages = [[{"role": "assistant", "content": GOLD}], [{"role": "assistant", "content": None}]]
    assert chains.valid_steps_reward(messages, **columns, label=[1, 1]) == [1.0, 0.0]


PIECES = (
    *("<think>", "</think>", "So ", "This ", "Let ", ".", ": ", "Answer: ", "nothing follows"),
    *("Major premise: ", "Conclusion: ", "matches the conclusion", "all birds are tigers"),
    *("\n", "\x00", "İ", "ß", "😀", "it", "are are are", "\u2028", "no "),
)


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_string_is_an_error(text):
    for completion in (text, f"<think>{text}</think>\nAnswer: entailed", GOLD[:200] + text):
        verdict = chains.check(ROW, completion)
        assert 0 <= verdict.share <= 1
        assert (verdict.first_false is None) == (verdict.share == 1)
        assert chains.kind(ROW, completion) in (chains.NO_CHAIN, chains.FALSE_STEP, chains.VALID)


@pytest.mark.parametrize(
    "piece", ["<think>", "So ", ".", "So a. ", "Let birds be it: ", "</think>"]
)
def test_time_is_linear(piece):
    def seconds(count):
        text = f"<think>{piece * count}</think>\nAnswer: entailed"
        start = time.perf_counter()
        chains.check(ROW, text)
        return time.perf_counter() - start

    seconds(10)
    assert seconds(100_000) < 2  # quadratic time would be hours
