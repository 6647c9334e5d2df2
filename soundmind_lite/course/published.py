"""The published reward of June 2025, rebuilt from what it does, as a case to study in notebook 03. Never train with it.

It is no copy: these few lines behave as the published reward was observed to behave on ALR's dev and test rows. Gold answers earn 0 on all 1,262
rows, and one fixed string earns 2.0 on every row. Its terms for length and sound never receive their references, so they are left out here.
"""
import re

TAGGED = re.compile(r"<answer>([^<]*)</answer>", re.IGNORECASE)


def true_verdict(answer: str) -> str:
    """The verdict that it takes for the truth, read from the row's written answer and not from its label."""
    return "entailed" if "entailed" in answer.lower() else "not-entailed"


def published_reward(completions: list[str], answer: list[str], **_) -> list[float]:
    """Points for each completion against the row's written `answer`."""
    return [_score(completion.strip(), truth) for completion, truth in zip(completions, answer, strict=True)]


def _score(text: str, answer: str) -> float:
    points = 1.0 if "answer:" in text[-5:].lower() else 0.0
    if "answer:" not in text[-10:].lower():
        return points
    tagged = TAGGED.search(text)
    if tagged is None:
        return points
    said = "entailed" if "entailed" in tagged[1].lower() else "not-entailed"
    return points + (2.0 if said == true_verdict(answer) else 0.0)
