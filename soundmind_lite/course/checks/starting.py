"""Checks of notebook 00: the task."""

from ... import rewards
from ...data import load_alr
from ...prompts import VERDICTS, chain_of_thought
from ..checking import Wrong, expect, refuses, text
from ..explain import explain


def first_question() -> dict:
    """The question that notebook 00 plays: row 0003 of the test split."""
    return load_alr("mini", "test")[2]


@refuses("not-entailed", "Take both premises as true")
@refuses("yes", "Write 'entailed' or 'not-entailed'")
def check_00_1(verdict):
    row = first_question()
    said = rewards.parse_answer(f"Answer: {verdict}")
    if said is None:
        raise Wrong("Write 'entailed' or 'not-entailed', as a string.")
    if said != VERDICTS[row["label"]]:
        raise Wrong(
            f"Take both premises as true: {row['major_premise']}; {row['minor_premise']}. "
            f"Could '{row['conclusion']}' still be false? Draw three circles."
        )
    return "If the premises are true, the conclusion can't be false."


@refuses(50, "not per cent")
def check_00_2(share):
    expect(
        share,
        0.5,
        mistakes={"Give a share between 0 and 1, not per cent.": 50.0},
        otherwise="Half of the rows are entailed, and the coin doesn't depend on them.",
        reveal=False,
    )
    return "Keep it in mind: every accuracy of this course is compared with it."


@refuses("<think>one two</think>\nAnswer: entailed", "length term pays 0.20 of 1")
@refuses("Answer: entailed", "there is no <think>")
def check_00_3(completion):
    row = first_question()
    for term in explain(text(completion), row["label"], reference_length=10):
        if term.reward < term.maximum:
            raise Wrong(
                f"The {term.name} term pays {term.reward:.2f} of {term.maximum:g}: "
                f"{term.reason}. (Ten words of reasoning are enough here.)"
            )
    if chain_of_thought(row["reasoning"]) in completion:
        raise Wrong("It earns the full reward, but copies the reasoning above. Use your own words.")
    return "You have written what the model has to learn to write."
