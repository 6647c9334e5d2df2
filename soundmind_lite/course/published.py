"""The published reward of June 2025, rebuilt from its behaviour, as a case to study in notebook 03,
and three attempts to repair it, each with one fault left.

Don't train with any of them. The first is not a copy: it behaves as the published reward was
observed to behave on ALR's dev and test rows, where gold answers earn 0 on all 1,262 rows and one
fixed string earns 2.0 on every row. Its length and audio terms never receive their references, so
they are left out.
"""

import re

from ..prompts import VERDICTS

TAGGED = re.compile(r"<answer>([^<]*)</answer>", re.IGNORECASE)


def true_verdict(answer: str) -> str:
    """The verdict that it takes for the truth, from the row's written answer, not its label."""
    return "entailed" if "entailed" in answer.lower() else "not-entailed"


def published_reward(completions: list[str], answer: list[str], **_) -> list[float]:
    """The reward of each completion, given the row's written `answer`."""
    pairs = zip(completions, answer, strict=True)
    return [score(completion.strip(), written) for completion, written in pairs]


def score(text: str, answer: str) -> float:
    """What it pays for one completion, given the row's written `answer`."""
    reward = 1.0 if "answer:" in text[-5:].lower() else 0.0
    if "answer:" not in text[-10:].lower():
        return reward
    tagged = TAGGED.search(text)
    if tagged is None:
        return reward
    said = "entailed" if "entailed" in tagged[1].lower() else "not-entailed"
    return reward + (2.0 if said == true_verdict(answer) else 0.0)


def repair_a(completions: list[str], label: list[int], **_) -> list[float]:
    """2.0 for the label's verdict, else 0.0; the first answer in the completion counts."""
    paid = []
    for text, value in zip(completions, label, strict=True):
        found = re.search(r"Answer: (not-entailed|entailed)", text)
        right = found is not None and found[1] == VERDICTS[value]
        paid.append(2.0 if right else 0.0)
    return paid


def repair_b(completions: list[str], label: list[int], **_) -> list[float]:
    """2.0 for the label's verdict, else 0.0; read on the last line: with "not", or without."""
    paid = []
    for text, value in zip(completions, label, strict=True):
        last_line = text.rstrip().rsplit("\n", 1)[-1].lower()
        said = "not-entailed" if "not" in last_line else "entailed"
        paid.append(2.0 if said == VERDICTS[value] else 0.0)
    return paid


def repair_c(completions: list[str], label: list[int], **_) -> list[float]:
    """2.0 for the label's verdict, else 0.0; read at the beginning of the last line."""
    paid = []
    for text, value in zip(completions, label, strict=True):
        last_line = text.rstrip().rsplit("\n", 1)[-1]
        found = re.match(r"Answer: (not-entailed|entailed)", last_line)
        right = found is not None and found[1] == VERDICTS[value]
        paid.append(2.0 if right else 0.0)
    return paid


REPAIRS = {"A": repair_a, "B": repair_b, "C": repair_c}
