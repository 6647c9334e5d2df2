"""What a completion says: its text, its thought, and the verdict of its last line. Linear time, and no string raises."""
import re

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
