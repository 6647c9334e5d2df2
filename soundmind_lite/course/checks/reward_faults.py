"""Checks of notebook 03: how rewards are fooled, and when the length term rules."""

from ... import rewards
from ...data import load_alr
from ...evaluation import quotes_premises
from ...prompts import chain_of_thought
from ..checking import Wrong, call, entries, near, numbers, refuses, text
from ..explain import explain
from ..published import REPAIRS
from .starting import first_question

CHANGED_ITS_MIND = ("Answer: entailed\nNo, wait.\nAnswer: not-entailed", 1)
NO_VERDICT = ("", 1)
HEDGES = ("Answer: entailed or not-entailed", 1)


@refuses({"A": CHANGED_ITS_MIND, "B": NO_VERDICT, "C": ("Answer: entailed", 1)}, "C pays 2.0, and")
@refuses({"A": HEDGES, "B": NO_VERDICT, "C": ("Answer: not-entailed", 1)}, "C pays 0.0")
@refuses({"A": "Answer: entailed", "B": NO_VERDICT, "C": HEDGES}, "A: expected a pair")
@refuses({"A": CHANGED_ITS_MIND, "B": ("", "entailed"), "C": HEDGES}, "B: the label is 1 or 0")
@refuses({"A": CHANGED_ITS_MIND, "C": HEDGES}, "'B': an answer is missing")
def check_03_4(counterexamples):
    entries(counterexamples, REPAIRS)
    for name, repair in REPAIRS.items():
        pair = counterexamples[name]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Wrong(f"{name}: expected a pair (completion, label), got {pair!r:.60}.")
        completion, label = pair
        if label not in (0, 1):
            raise Wrong(f"{name}: the label is 1 or 0, got {label!r:.40}.")
        (paid,) = repair([text(completion)], [int(label)])
        (fair,) = rewards.answer_reward([completion], [int(label)])
        if paid == 0:
            raise Wrong(f"{name} pays 0.0 for your completion. Find one that it pays.")
        if paid == fair:
            raise Wrong(
                f"{name} pays 2.0, and rightly so: the last line is an answer line with the "
                "label's verdict. Find a completion that should earn nothing."
            )
    return (
        "A reads an answer that was taken back, B pays for the absence of a word, and C reads "
        "half a line. Training can find all three."
    )


LA = "<think>" + "la " * 25 + "</think>"


@refuses("la la", "It earns 0.00 of 4")
@refuses(f"{LA}\nAnswer: not-entailed", "says not-entailed, the label says entailed")
@refuses(f"{LA} Answer: entailed", "It earns 1.00 of 4")
@refuses("<think>" + "la " * 20 + "</think>\nAnswer: entailed", "It earns 3.80 of 4. length")
@refuses(
    "<think>No pirates are lemons. All tigers are lemons. No tigers are pirates. "
    + "So it is. " * 5
    + "</think>\nAnswer: entailed",
    "might pass for reasoning",
)
def check_03_5(hack):
    row = first_question()
    terms = explain(text(hack), row["label"], reference_length=25)
    total = sum(term.reward for term in terms)
    if total < 4:
        lacking = next(term for term in terms if term.reward < term.maximum)
        raise Wrong(f"It earns {total:.2f} of 4. {lacking.name}: {lacking.reason}.")
    if quotes_premises(row, hack):
        raise Wrong(
            "That states both premises and the conclusion, so it might pass for reasoning. "
            "Use words that have nothing to do with the question."
        )
    return (
        "A reward of 4 without any reasoning. Half of the time, that is: here you knew the verdict."
    )


def _thoughts(completions):
    return [rewards.reasoning_of(completion).lower() for completion in completions]


def _conclusion_alone(completions, conclusion, **_):
    pairs = zip(_thoughts(completions), conclusion)
    return [float(stated.lower() in thought) for thought, stated in pairs]


def _premises_alone(completions, major_premise, minor_premise, **_):
    rows = zip(_thoughts(completions), major_premise, minor_premise)
    return [float(a.lower() in t and b.lower() in t) for t, a, b in rows]


def _anywhere(completions, **columns):
    names = ("major_premise", "minor_premise", "conclusion")
    rows = zip(completions, *(columns[name] for name in names))
    return [float(quotes_premises(dict(zip(names, stated)), text)) for text, *stated in rows]


def _of_the_first_row(completions, **columns):
    first = {name: columns[name][0] for name in ("major_premise", "minor_premise", "conclusion")}
    return [float(quotes_premises(first, thought)) for thought in _thoughts(completions)]


@refuses(lambda completions, **_: [1.0] * len(completions), "a thought of 40 times")
@refuses(lambda completions, **_: [0.0] * len(completions), "an honest thought")
@refuses(_conclusion_alone, "states the conclusion alone")
@refuses(_premises_alone, "premises alone")
@refuses(_anywhere, "premises outside the thought")
@refuses(_of_the_first_row, "another question")
def check_03_6(grounded):
    names = ("major_premise", "minor_premise", "conclusion")
    row, other = (load_alr("mini", "test")[i] for i in (2, 3))
    major, minor, conclusion = (row[name] for name in names)
    thoughts = {
        "an honest thought": (chain_of_thought(row["reasoning"]), row, True),
        "a thought of 40 times 'so'": ("so " * 40, row, False),
        "a thought that states the conclusion alone": (conclusion, row, False),
        "a thought that states the premises alone": (f"{major}. {minor}.", row, False),
        "a thought with one premise and the conclusion": (f"{minor}. {conclusion}.", row, False),
        "an honest thought in capitals": (chain_of_thought(row["reasoning"]).upper(), row, True),
        "a thought about another question": (chain_of_thought(row["reasoning"]), other, False),
        "the second question's own thought": (chain_of_thought(other["reasoning"]), other, True),
    }
    cases = [
        (f"<think>{thought}</think>\nAnswer: entailed", row_of, pays, description)
        for description, (thought, row_of, pays) in thoughts.items()
    ]
    stated = f"{major}. {minor}. {conclusion}."
    outside = f"<think>hm</think> {stated}\nAnswer: entailed"
    cases.append((outside, row, False, "premises outside the thought"))
    cases.append((f"<think>{stated}", row, False, "a thought that is never closed"))
    columns = {name: [row_of[name] for _, row_of, _, _ in cases] for name in names}
    found = numbers(call(grounded, [completion for completion, *_ in cases], **columns))
    if len(found) != len(cases):
        raise Wrong(f"Expected {len(cases)} rewards for {len(cases)} completions: {len(found)}.")
    for (_, _, pays, description), reward in zip(cases, found):
        if not near(reward, float(pays)):
            raise Wrong(f"It pays {reward:.2f} for {description}; expected {pays:.1f}.")
    return "The loophole is smaller, not closed: copying the premises isn't reasoning either."


SCALED = {"group": "about the same", "none": "a tenth"}
HOW_MUCH = ("a tenth", "about the same", "ten times as large")


@refuses({"group": "a tenth", "none": "a tenth"}, "group: the std is multiplied by 0.1, too")
@refuses({"group": "about the same", "none": "about the same"}, "none: nothing is divided")
@refuses({"group": "about the same"}, "'none': an answer is missing")
@refuses({"group": "smaller", "none": "a tenth"}, "group: choose one of")
@refuses({"group": "ten times as large", "none": "a tenth"}, "group: the std is multiplied")
def check_03_7(prediction):
    entries(prediction, SCALED, choices=HOW_MUCH)
    if prediction["group"] != SCALED["group"]:
        raise Wrong(
            "group: the std is multiplied by 0.1, too. What is left of the factor after the "
            "division?"
        )
    if prediction["none"] != SCALED["none"]:
        raise Wrong(
            "none: nothing is divided; the advantage is the reward minus the group's mean. What "
            "does a factor of 0.1 do to it?"
        )
    return "A smaller weight doesn't tame a term that is divided by its own std. Run the next cell."


NOT_THIS_CHANGE = {
    "A": "A: a smaller weight shrinks the std of an all-right group by the same factor, so after "
    "the division the length decides as before (03.7).",
    "C": "C: a larger β holds back every change of the policy, learning to be right as well.",
    "D": "D: every thought is then at the cap and earns 1, so length no longer rules; but L_ref is "
    "no longer the row's own, and the paper's rewards were to stay as they are.",
}
NOT_THIS_BECAUSE = {
    2: "B is the right change, but it makes no group a zero-std group: the rewards, and their "
    "spread, stay as they are. What changes is how large the advantages of this group are beside "
    "those of a group with wrong answers.",
    3: "B is the right change, but the reference doesn't enter it; β weighs the KL. What happens "
    "to the advantages of an all-right group beside those of a mixed one?",
}


@refuses({"change": "A", "because": 1}, "shrinks the std of an all-right group")
@refuses({"change": "C", "because": 3}, "holds back every change")
@refuses({"change": "D", "because": 2}, "the paper's rewards were to stay")
@refuses({"change": "B", "because": 2}, "makes no group a zero-std group")
@refuses({"change": "B", "because": 3}, "the reference doesn't enter it")
@refuses({"change": "B"}, "'because': an answer is missing")
def check_03_8(decision):
    entries(decision, ("change", "because"))
    change, because = str(decision["change"]).upper(), str(decision["because"])
    if change not in ("A", "B", "C", "D") or because not in ("1", "2", "3"):
        raise Wrong("Choose a change 'A', 'B', 'C' or 'D', and the number 1, 2 or 3 of a reason.")
    if change in NOT_THIS_CHANGE:
        raise Wrong(NOT_THIS_CHANGE[change])
    if int(because) in NOT_THIS_BECAUSE:
        raise Wrong(NOT_THIS_BECAUSE[int(because)])
    return (
        "The rewards stay the paper's; a group with a wrong answer now counts for more than one "
        "in which only the length differs."
    )
