"""The rule rewards of SoundMind on text, in TRL's form `fn(completions, **columns) -> list[float]`.

A completion is a string or a conversation of one message. Every function reads a completion in linear time and never raises on
its content; a column that makes no sense (a label of 2, a reference length of 0) raises ValueError, since that is a fault in the data.
Weights are the paper's: answer 2.0 (λ3), text format 1.0 (λ1), text length 1.0 (λ4).
"""
import math
import re

from .prompts import VERDICTS

ANSWER_LINE = re.compile(r"Answer: (not[- ]entailed|entailed)\.?", re.IGNORECASE | re.ASCII)
OPEN, CLOSE = "<think>", "</think>"

Completion = str | list[dict[str, str]]


def completion_text(completion: Completion) -> str:
    """The text of a completion in either of TRL's forms; content that is no text counts as empty."""
    content = completion if isinstance(completion, str) else completion[0]["content"]
    return content if isinstance(content, str) else ""


def parse_answer(text: str) -> str | None:
    """The verdict of the last non-blank line, "entailed" or "not-entailed", or None if that line is not an answer line.

    >>> parse_answer("<think>All birds sing.</think>\\nAnswer: Not entailed.")
    'not-entailed'
    >>> parse_answer("Answer: entailed or not-entailed") is None
    True
    """
    last_line = text.rstrip().rsplit("\n", 1)[-1].strip()
    match = ANSWER_LINE.fullmatch(last_line)
    return match and match[1].lower().replace(" ", "-")


def reasoning_of(text: str) -> str:
    """What stands between the first `<think>` and the `</think>` after it, or "" if there is no such pair."""
    _, _, rest = text.partition(OPEN)
    inside, close, _ = rest.partition(CLOSE)
    return inside if close else ""


def has_text_format(text: str) -> bool:
    """True for exactly one `<think>…</think>` with some reasoning in it, then nothing but the answer line."""
    text = text.strip()
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1 or not text.startswith(OPEN) or not reasoning_of(text).strip():
        return False
    after = text.partition(CLOSE)[2].strip()
    return "\n" not in after and parse_answer(text) is not None


def answer_reward(completions: list[Completion], label: list[int], **_) -> list[float]:
    """2.0 if the parsed answer is the label's verdict, else 0.0 (λ3). `label`: 1 entailed, 0 not-entailed.

    >>> answer_reward(["Answer: entailed", "I think it is entailed"], label=[1, 1])
    [2.0, 0.0]
    """
    for value in label:
        if value not in (0, 1):
            raise ValueError(f"label must be 1 (entailed) or 0 (not-entailed), got {value!r}")
    return [2.0 if parse_answer(completion_text(c)) == VERDICTS[int(y)] else 0.0 for c, y in zip(completions, label, strict=True)]


def text_format_reward(completions: list[Completion], **_) -> list[float]:
    """1.0 for the format that the prompt asks for, else 0.0 (λ1). It does not look at which answer is given.

    >>> text_format_reward(["<think>Why.</think>\\nAnswer: entailed", "Answer: entailed"])
    [1.0, 0.0]
    """
    return [float(has_text_format(completion_text(c))) for c in completions]


def text_length_reward(completions: list[Completion], reference_length: list[float], **_) -> list[float]:
    """min(1, L / L_ref), with L the words of reasoning inside the closed thought and L_ref those of the row's own reasoning (λ4).

    >>> text_length_reward(["<think>one two</think>"], reference_length=[4])
    [0.5]
    """
    for value in reference_length:
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
            raise ValueError(f"reference_length must be a positive number of words, got {value!r}")
    lengths = [len(reasoning_of(completion_text(c)).split()) for c in completions]
    return [min(1.0, words / reference) for words, reference in zip(lengths, reference_length, strict=True)]


TEXT_REWARDS = (answer_reward, text_format_reward, text_length_reward)
