"""Reading an answer, and the three text rewards: TRL's `fn(completions, **columns) -> list[float]`.

A completion is a string or a conversation of one message. Every function reads it in linear time
and never raises on its content; a column that makes no sense (a label of 2, a reference length of
0) raises ValueError. The weights are the paper's; its rewards for speech are in `speech.rewards`.
"""

import math
import re
from numbers import Real

from .prompts import VERDICTS

ANSWER_LINE = re.compile(r"Answer: (not[- ]entailed|entailed)\.?", re.IGNORECASE | re.ASCII)
OPEN, CLOSE = "<think>", "</think>"

Completion = str | list[dict[str, str]]


def completion_text(completion: Completion) -> str:
    """The text of a completion in either of TRL's forms; content that isn't text counts as ""."""
    content = completion if isinstance(completion, str) else completion[0]["content"]
    return content if isinstance(content, str) else ""


def parse_answer(text: str) -> str | None:
    """The verdict on the last non-blank line, "entailed" or "not-entailed"; None without one.

    >>> parse_answer("<think>All birds sing.</think>\\nAnswer: Not entailed.")
    'not-entailed'
    >>> parse_answer("Answer: entailed or not-entailed") is None
    True
    """
    last_line = text.rstrip().rsplit("\n", 1)[-1].strip()
    match = ANSWER_LINE.fullmatch(last_line)
    return match and match[1].lower().replace(" ", "-")


def reasoning_of(text: str) -> str:
    """The text between the first `<think>` and the `</think>` after it; "" without such a pair."""
    _, _, rest = text.partition(OPEN)
    inside, close, _ = rest.partition(CLOSE)
    return inside if close else ""


def has_text_format(text: str) -> bool:
    """True for exactly one `<think>…</think>` with reasoning in it, then only the answer line."""
    text = text.strip()
    if text.count(OPEN) != 1 or text.count(CLOSE) != 1 or not text.startswith(OPEN):
        return False
    after = text.partition(CLOSE)[2].strip()
    return bool(reasoning_of(text).strip()) and "\n" not in after and parse_answer(text) is not None


def answer_reward(completions: list[Completion], label: list[int], **_) -> list[float]:
    """2.0 if the parsed answer is the label's verdict, else 0.0 (λ3).

    `label`: 1 for entailed, 0 for not-entailed.

    >>> answer_reward(["Answer: entailed", "I think it is entailed"], label=[1, 1])
    [2.0, 0.0]
    """
    for value in label:
        if value not in (0, 1):
            raise ValueError(f"label must be 1 (entailed) or 0 (not-entailed), got {value!r}")
    answers = [parse_answer(completion_text(completion)) for completion in completions]
    return [2.0 if a == VERDICTS[int(y)] else 0.0 for a, y in zip(answers, label, strict=True)]


def text_format_reward(completions: list[Completion], **_) -> list[float]:
    """1.0 for the format that the prompt asks for, else 0.0, whichever the answer (λ1).

    >>> text_format_reward(["<think>Why.</think>\\nAnswer: entailed", "Answer: entailed"])
    [1.0, 0.0]
    """
    return [float(has_text_format(completion_text(completion))) for completion in completions]


def text_length_reward(
    completions: list[Completion], reference_length: list[float], **_
) -> list[float]:
    """min(1, L / L_ref): words of reasoning against those of the row's own reasoning (λ4).

    >>> text_length_reward(["<think>one two</think>"], reference_length=[4])
    [0.5]
    """
    check_references("reference_length", reference_length, unit="words")
    lengths = [len(reasoning_of(completion_text(c)).split()) for c in completions]
    return [min(1.0, n / reference) for n, reference in zip(lengths, reference_length, strict=True)]


def check_references(name: str, values: list[float], *, unit: str) -> None:
    """ValueError unless every reference is a positive number."""
    for value in values:
        if not (isinstance(value, Real) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a positive number of {unit}, got {value!r}")


def __getattr__(name: str):
    # The audio rewards speak and listen; that package is loaded only if they are asked for.
    if name in ("audio_format_reward", "audio_length_reward", "AUDIO_REWARDS"):
        from .speech import rewards

        return getattr(rewards, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


TEXT_REWARDS = (answer_reward, text_format_reward, text_length_reward)
