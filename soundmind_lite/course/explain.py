"""Why a completion earns what it earns: each reward term, what it read, and what is missing."""

from dataclasses import dataclass

from ..prompts import VERDICTS
from ..rewards import (
    CLOSE,
    OPEN,
    answer_reward,
    completion_text,
    has_text_format,
    parse_answer,
    reasoning_of,
    text_format_reward,
    text_length_reward,
)


@dataclass(frozen=True)
class Term:
    """One reward term of one completion; `evidence` is the part of the completion that it read."""

    name: str
    reward: float
    maximum: float
    reason: str
    evidence: str


def explain(completion, label: int, *, reference_length: float) -> list[Term]:
    """The three text rewards of one completion, computed by the reward functions, with reasons.

    `label` is 1 for entailed and 0 for not-entailed, `reference_length` is in words.

    >>> explain("Answer: entailed", label=0, reference_length=4)[0].reason
    'says entailed, the label says not-entailed'
    """
    text = completion_text(completion)
    (answer,) = answer_reward([text], [label])
    (form,) = text_format_reward([text])
    (length,) = text_length_reward([text], [reference_length])
    fault = format_fault(text)
    formatted = text if fault is None else ""
    format_reason = fault or "one closed thought, then the answer line"
    length_reason = _about_length(text, reference_length)
    return [
        Term("answer", answer, 2.0, _about_answer(text, label), last_line(text)),
        Term("format", form, 1.0, format_reason, formatted),
        Term("length", length, 1.0, length_reason, reasoning_of(text)),
    ]


def last_line(text: str) -> str:
    """The last non-blank line, the only one that `parse_answer` reads."""
    return text.rstrip().rsplit("\n", 1)[-1].strip()


def _about_answer(text: str, label: int) -> str:
    said, truth = parse_answer(text), VERDICTS[label]
    if not text.strip():
        return "the completion is empty"
    if said is None:
        return "the last line is not an answer line"
    return (
        f"says {said}, as the label does"
        if said == truth
        else f"says {said}, the label says {truth}"
    )


def format_fault(text: str) -> str | None:
    """The first deviation from the format that the prompt asks for, or None if there is none."""
    if has_text_format(text):
        return None
    text = text.strip()
    if not text:
        return "the completion is empty"
    for tag in (OPEN, CLOSE):
        count = text.count(tag)
        if count == 0:
            return f"there is no {tag}"
        if count > 1:
            return f"{tag} occurs {count} times instead of once"
    if not text.startswith(OPEN):
        return f"there is text before {OPEN}"
    if text.index(CLOSE) < text.index(OPEN):
        return f"{CLOSE} comes before {OPEN}"
    if not reasoning_of(text).strip():
        return "the thought is empty"
    after = text.partition(CLOSE)[2]
    if parse_answer(text) is None:
        if "\n" not in after and parse_answer(after) is not None:
            return f"the answer must be on a line of its own, after {CLOSE}"
        return "there is no answer line after the thought"
    return "there is text between the thought and the answer line"


def _about_length(text: str, reference_length: float) -> str:
    if OPEN not in text or CLOSE not in text.partition(OPEN)[2]:
        return "there is no closed thought to count"
    words = len(reasoning_of(text).split())
    return f"{words} words of reasoning, the reference has {reference_length:g}"
