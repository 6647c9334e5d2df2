"""The published reward of June 2025, rebuilt from its behaviour, as a case to study in notebook 03.

Don't train with it. It is not a copy: it behaves as the published reward was observed to behave
on ALR's dev and test rows, where gold answers earn 0 on all 1,262 rows and one fixed string earns
2.0 on every row. Its length and audio terms never receive their references, so they are left out.
"""

import re

TAGGED = re.compile(r"<answer>([^<]*)</answer>", re.IGNORECASE)


def true_verdict(answer: str) -> str:
    """The verdict that it takes for the truth, from the row's written answer, not its label."""
    return "entailed" if "entailed" in answer.lower() else "not-entailed"


def published_reward(completions: list[str], answer: list[str], **_) -> list[float]:
    """The reward of each completion, given the row's written `answer`."""
    pairs = zip(completions, answer, strict=True)
    return [_score(completion.strip(), written) for completion, written in pairs]


def _score(text: str, answer: str) -> float:
    reward = 1.0 if "answer:" in text[-5:].lower() else 0.0
    if "answer:" not in text[-10:].lower():
        return reward
    tagged = TAGGED.search(text)
    if tagged is None:
        return reward
    said = "entailed" if "entailed" in tagged[1].lower() else "not-entailed"
    return reward + (2.0 if said == true_verdict(answer) else 0.0)
