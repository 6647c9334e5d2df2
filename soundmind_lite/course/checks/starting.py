"""Checks of notebook 00: the task."""

from ... import rewards
from ...data import load_alr
from ...prompts import VERDICTS, chain_of_thought
from ..checking import Wrong, call, entries, near, number, refuses, text
from ..explain import explain


def first_question() -> dict:
    """The question that notebook 00 plays: row 0003 of the test split."""
    return load_alr("mini", "test")[2]


@refuses("not-entailed", "Take both premises as true")
@refuses("yes", "Write 'entailed' or 'not-entailed'")
@refuses(1, "1 is its label; write the verdict")
def check_00_1(verdict):
    row = first_question()
    if verdict in (0, 1):
        raise Wrong(f"{verdict!r} is its label; write the verdict, 'entailed' or 'not-entailed'.")
    said = rewards.parse_answer(f"Answer: {verdict}")
    if said is None:
        raise Wrong("Write 'entailed' or 'not-entailed', as a string.")
    if said != VERDICTS[row["label"]]:
        raise Wrong(
            f"Take both premises as true: {row['major_premise']}; {row['minor_premise']}. "
            f"Could '{row['conclusion']}' still be false? Draw three circles."
        )
    return "If the premises are true, the conclusion can't be false."


@refuses("<think>one two</think>\nAnswer: entailed", "length reward pays 0.20 of 1")
@refuses("Answer: entailed", "there is no <think>")
@refuses(
    "<think>all tigers are lemons and no pirates are lemons so it follows</think> entailed",
    "the last line is not an answer line",
)
@refuses(
    "<think>all tigers are lemons but no pirates are, so it is false</think>\nAnswer: not-entailed",
    "the label says entailed",
)
def check_00_2(completion):
    row = first_question()
    for term in explain(text(completion), row["label"], reference_length=10):
        if term.reward < term.maximum:
            raise Wrong(
                f"The {term.name} reward pays {term.reward:.2f} of {term.maximum:g}: "
                f"{term.reason}. (Ten words of reasoning are enough here.)"
            )
    if chain_of_thought(row["reasoning"]) in completion:
        raise Wrong("It earns the full reward, but copies the reasoning above. Use your own words.")
    return "You have written what the model has to learn to write."


NOT_THIS_GROUP = {
    "A": "All eight of A are right and complete. Which of them should become more probable than "
    "another?",
    "C": "All eight of C earn 0. Which of them should become more probable than another? The "
    "hardest question teaches only once a sample of it succeeds.",
}
NOT_THIS_REASON = {
    1: "The group is right, but B's rewards aren't the highest, A's are. What do B's have that "
    "A's don't?",
    3: "The group is right, but C is the hardest question. What do B's rewards have that C's "
    "don't?",
}


@refuses({"group": "A", "reason": 1}, "All eight of A are right")
@refuses({"group": "C", "reason": 3}, "All eight of C earn 0")
@refuses({"group": "B", "reason": 1}, "B's rewards aren't the highest")
@refuses({"group": "B", "reason": 3}, "C is the hardest question")
@refuses({"group": "A", "reason": 2}, "All eight of A are right")
@refuses({"group": "B"}, "'reason': an answer is missing")
def check_00_3(decision):
    entries(decision, ("group", "reason"))
    group, reason = str(decision["group"]).upper(), str(decision["reason"])
    if group not in ("A", "B", "C") or reason not in ("1", "2", "3"):
        raise Wrong("Choose a group 'A', 'B' or 'C', and the number 1, 2 or 3 of a reason.")
    if group in NOT_THIS_GROUP:
        raise Wrong(NOT_THIS_GROUP[group])
    if int(reason) in NOT_THIS_REASON:
        raise Wrong(NOT_THIS_REASON[int(reason)])
    return (
        "GRPO compares completions of one question. In A and C all are equal, so every advantage "
        "is 0; TRL reports the share of such groups as frac_reward_zero_std."
    )


@refuses(lambda labels: 0.5, "The labels aren't always half and half")
@refuses(lambda labels: sum(labels) / len(labels), "the other verdict is right more often")
@refuses(lambda labels: max(sum(labels), len(labels) - sum(labels)), "a number of rows")
@refuses(lambda labels: min(sum(labels), len(labels) - sum(labels)) / len(labels), "the worse of")
@refuses(lambda labels: 100 * max(sum(labels), len(labels) - sum(labels)) / len(labels), "per cent")
def check_00_4(best_constant):
    for ones, zeros in ((120, 120), (7, 3), (296, 360)):
        labels, rows = [1] * ones + [0] * zeros, ones + zeros
        found = number(call(best_constant, labels))
        best = max(ones, zeros) / rows
        if near(found, best):
            continue
        mistakes = {
            "That is a number of rows; divide it by how many there are.": max(ones, zeros),
            "Give a share between 0 and 1, not per cent.": 100 * best,
            "The labels aren't always half and half.": 0.5,
            f"With {ones} entailed and {zeros} not, the other verdict is right more often.": (
                ones / rows if ones < zeros else None
            ),
            "That is the worse of the two verdicts.": min(ones, zeros) / rows,
        }
        for diagnosis, value in mistakes.items():
            if value is not None and near(found, value):
                raise Wrong(diagnosis)
        raise Wrong(
            f"With {ones} entailed and {zeros} not, the better constant answer is right on "
            f"{max(ones, zeros)} of {rows}. You gave {found:.4g}."
        )
    return (
        "mini_alr 50.0 %, ALR's test split 54.9 %: compare accuracies with these. "
        "One figure of the paper's ablation, 48.84 %, lies below the latter."
    )
