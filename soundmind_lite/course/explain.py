"""Why a completion earns what it earns: each reward term with its points, the words that earned them, and what is missing."""
from dataclasses import dataclass

from ..prompts import VERDICTS
from ..rewards import CLOSE, OPEN, answer_reward, completion_text, has_text_format, parse_answer, reasoning_of, text_format_reward, text_length_reward


@dataclass(frozen=True)
class Term:
    """One reward term of one completion. `evidence` is the part of the completion that the term looked at."""

    name: str
    points: float
    maximum: float
    reason: str
    evidence: str


def explain(completion, label: int, reference_length: float) -> list[Term]:
    """The three text terms of one completion, with reasons. The points come from the reward functions themselves.

    >>> [term.reason for term in explain("Answer: entailed", label=0, reference_length=4)][0]
    'says entailed, the label says not-entailed'
    """
    text = completion_text(completion)
    thought = reasoning_of(text)
    points = (answer_reward([text], [label]), text_format_reward([text]), text_length_reward([text], [reference_length]))
    names, maxima = ("answer", "format", "length"), (2.0, 1.0, 1.0)
    reasons = (_about_answer(text, label), format_fault(text) or "one closed thought, then the answer line", _about_length(text, reference_length))
    evidence = (last_line(text), text if has_text_format(text) else "", thought)
    return [Term(n, p[0], m, r, e) for n, p, m, r, e in zip(names, points, maxima, reasons, evidence, strict=True)]


def last_line(text: str) -> str:
    """The last non-blank line, the only one that `parse_answer` reads."""
    return text.rstrip().rsplit("\n", 1)[-1].strip()


def _about_answer(text: str, label: int) -> str:
    said, truth = parse_answer(text), VERDICTS[label]
    if said is None:
        return "the last line is no answer line" if text.strip() else "the completion is empty"
    return f"says {said}, as the label does" if said == truth else f"says {said}, the label says {truth}"


def format_fault(text: str) -> str | None:
    """The first thing that keeps a completion from the asked format, or None if it has it."""
    if has_text_format(text):
        return None
    text = text.strip()
    if not text:
        return "the completion is empty"
    for tag in (OPEN, CLOSE):
        if (count := text.count(tag)) != 1:
            return f"{tag} stands {count} times, once is asked" if count else f"there is no {tag}"
    if not text.startswith(OPEN):
        return f"something stands before {OPEN}"
    if text.index(CLOSE) < text.index(OPEN):
        return f"{CLOSE} comes before {OPEN}"
    if not reasoning_of(text).strip():
        return "the thought is empty"
    return "there is no answer line after the thought" if parse_answer(text) is None else "something stands between the thought and the answer line"


def _about_length(text: str, reference_length: float) -> str:
    if OPEN not in text or CLOSE not in text.partition(OPEN)[2]:
        return "there is no closed thought to count"
    return f"{len(reasoning_of(text).split())} words of reasoning, the reference has {reference_length:g}"
