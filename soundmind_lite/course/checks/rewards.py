"""Checks of notebook 03: rule-based rewards."""

from ... import rewards
from ...data import load_alr
from ...evaluation import quotes_premises
from ...prompts import VERDICTS, chain_of_thought
from ..checking import Wrong, call, expect, near, numbers, refuses, text
from ..explain import explain
from ..published import published_reward
from .starting import first_question

GOOD = (
    "<think>all cats are dogs, all dogs are birds, so all cats are birds</think>\nAnswer: entailed"
)


def _without_cap(completions, reference_length, **_):
    words = [len(rewards.reasoning_of(completion).split()) for completion in completions]
    return [count / reference for count, reference in zip(words, reference_length)]


@refuses(_without_cap, "not capped")
def check_03_1(length_reward):
    texts = [
        "<think>one two three</think>\nAnswer: entailed",
        "<think>" + "word " * 40 + "</think>",
        "no thought at all",
        "<think>never closed",
    ]
    found = call(length_reward, texts, reference_length=[6, 20, 5, 5], label=[1, 1, 1, 1])
    mistakes = {
        "The reward is not capped: twice the length must not pay twice. Use min(1, …).": (
            [0.5, 2.0, 0.0, 0.0]
        ),
        "You count characters. L is in words.": [1.0, 1.0, 0.0, 0.0],
        "You count all words of the completion. Only those inside the closed thought count.": (
            [4 / 6, 1.0, 0.8, 0.4]
        ),
        "A thought that is never closed must earn nothing, or the model learns never to stop.": (
            [0.5, 1.0, 0.0, 0.4]
        ),
    }
    expect(
        found,
        [0.5, 1.0, 0.0, 0.0],
        mistakes=mistakes,
        otherwise="For four completions (3 of 6 words, 40 of 20, no thought, an open thought):",
    )


FORMAT_CASES = (
    (GOOD, True, "the requested format"),
    (GOOD + "\n\n", True, "blank lines at the end, which are harmless"),
    ("Answer: entailed", False, "an answer without a thought"),
    ("<think></think>\nAnswer: entailed", False, "an empty thought"),
    ("<think>because\nAnswer: entailed", False, "a thought that is never closed"),
    (GOOD + "\nor maybe not", False, "words after the answer line"),
    ("Sure! " + GOOD, False, "words before the thought"),
    ("<think>a</think><think>b</think>\nAnswer: entailed", False, "two thoughts"),
    ("<think>a</think>\nAnswer: entailed or not-entailed", False, "two verdicts in one answer"),
    ("<think>a</think>\nAnswer: maybe", False, "an answer that is neither verdict"),
    ("</think>a<think>\nAnswer: entailed", False, "the tags in the wrong order"),
    (
        "<think>x</think>\nI am sure.\nAnswer: entailed",
        False,
        "words between the thought and the answer line",
    ),
    ("<think>  \n </think>\nAnswer: entailed", False, "a thought of white space only"),
    ("<think>a</think> Answer: entailed", True, "an answer line that follows on the same line"),
)


@refuses(lambda completion: True, "accepts an answer without a thought")
@refuses(lambda completion: False, "refuses the requested format")
def check_03_2(has_format):
    for completion, accepted, description in FORMAT_CASES:
        if bool(call(has_format, completion)) != accepted:
            action = "refuses" if accepted else "accepts"
            raise Wrong(f"Your function {action} {description}: {completion!r:.90}")
    return f"All {len(FORMAT_CASES)} cases, the adversarial ones too."


@refuses("Answer: entailed", "doesn't find it where it looks")
@refuses("Answer:", "a verdict is not")
@refuses("<answer>no</answer> Answer:", "Which verdict")
@refuses(["x"], "Expected a string")
def check_03_3(magic):
    answers = load_alr("mini", "test")["reasoning"]
    earned = published_reward([text(magic)] * len(answers), answers)
    if min(earned) == 2.0:
        return f"One fixed string earns 2.0 on all {len(answers)} rows, whatever their audio says."
    at_most = f"It earns {max(earned)} at most."
    if "answer:" not in magic.lower()[-10:]:
        raise Wrong(
            f"{at_most} The reward looks for the word 'answer:' and doesn't find it where it "
            "looks. (Hint 1.)"
        )
    if "<answer>" not in magic.lower():
        raise Wrong(
            f"{at_most} The word 'answer:' is found; a verdict is not. Inside which tag might the "
            "reward look for it? (Hint 2.)"
        )
    raise Wrong(f"{at_most} Which verdict does the reward take for the truth on every row?")


def _finds_the_word(completions, label):
    return [2.0 if "entailed" in completion.lower() else 0.0 for completion in completions]


def _pays_one(completions, label):
    pairs = zip(completions, label)
    return [float(rewards.parse_answer(completion) == VERDICTS[y]) for completion, y in pairs]


@refuses(_finds_the_word, "'not-entailed' is still read as entailed")
@refuses(_pays_one, "the wrong amount")
def check_03_4(fixed_reward):
    cases = (
        ("<think>why</think>\nAnswer: entailed", 1, 2.0, "a gold answer of label 1 earns nothing"),
        (
            "<think>why</think>\nAnswer: not-entailed",
            0,
            2.0,
            "a gold answer of label 0 earns nothing",
        ),
        (
            "<think>why</think>\nAnswer: entailed.",
            1,
            2.0,
            "the full stop at the end still spoils the answer",
        ),
        (
            "<think>why</think>\nAnswer: not entailed",
            0,
            2.0,
            "'not entailed' with a space is a spelling that the data uses",
        ),
        (
            "<think>why</think>\nAnswer: not-entailed",
            1,
            0.0,
            "'not-entailed' is still read as entailed",
        ),
        (
            "<think>why</think>\nAnswer: entailed",
            0,
            0.0,
            "the truth must come from the label, not from the text",
        ),
        ("<answer>entailed</answer> Answer:", 1, 0.0, "the fixed string still pays"),
        (
            "Answer: entailed\nAnswer: not-entailed\nWho knows?",
            0,
            0.0,
            "an answer in the middle must not count; only the last line does",
        ),
    )
    for completion, label, expected, fault in cases:
        found = numbers(call(fixed_reward, [completion], label=[label]))
        if expected and near(found, [1.0]):
            raise Wrong("The right rows, but the wrong amount: a right verdict earns 2.0.")
        if not near(found, [expected]):
            raise Wrong(
                f"For {completion!r} with label {label} expected {expected}, "
                f"got {found[0] if found else found}: {fault}."
            )
    return "Every gold answer earns its reward now, and the fixed string doesn't."


@refuses("la la", "It earns 0.00 of 4")
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


@refuses(lambda completions, **_: [1.0] * len(completions), "a thought of 40 times")
def check_03_6(grounded):
    row = first_question()
    premises = [row[name] for name in ("major_premise", "minor_premise", "conclusion")]
    columns = {
        "major_premise": [row["major_premise"]],
        "minor_premise": [row["minor_premise"]],
        "conclusion": [row["conclusion"]],
    }
    honest = f"<think>{chain_of_thought(row['reasoning'])}</think>\nAnswer: entailed"
    lazy = "<think>" + "so " * 40 + "</think>\nAnswer: entailed"
    outside = f"<think>hm</think> {' '.join(premises)}\nAnswer: entailed"
    cases = (
        (honest, True, "an honest thought"),
        (lazy, False, "a thought of 40 times 'so'"),
        (outside, False, "premises outside the thought"),
    )
    for completion, pays, description in cases:
        reward = numbers(call(grounded, [completion], **columns))[0]
        if (reward > 0.5) != pays:
            wanted = "more" if pays else "less"
            raise Wrong(f"It pays {reward:.2f} for {description}; expected {wanted} than 0.5.")
    return "The loophole is smaller, not closed: copying the premises isn't reasoning either."
