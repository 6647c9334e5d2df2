"""The texts of ALR's rows: a question's three statements, and the verdict an answer writes."""

from ..prompts import VERDICTS, WRITTEN_ANSWER


def statements(question: str) -> tuple[str, str, str] | None:
    """Major premise, minor premise and conclusion of a question in ALR's wording, or None.

    Takes time linear in the length of the question.
    """
    rest = question.partition('Major premise is "')[2]
    major, found_minor, rest = rest.partition('Minor premise is "')
    minor, found_conclusion, rest = rest.partition('Conclusion is "')
    conclusion, end, _ = rest.partition('".')
    major, minor = (text.rstrip().removesuffix(".") for text in (major, minor))
    if not (found_minor and found_conclusion and end):
        return None
    if not (major.endswith('"') and minor.endswith('"')):
        return None
    return major[:-1], minor[:-1], conclusion


def written_verdict(reasoning: str) -> str | None:
    """The last verdict in the reasoning, for the audit only.

    In 64 of 1,262 real rows it contradicts the label.
    """
    written = WRITTEN_ANSWER.findall(reasoning)
    return written[-1].lower().replace(" ", "-") if written else None


def contradiction(row: dict) -> str | None:
    """The verdict that a row's reasoning ends with, if it isn't its label's; else None."""
    written = written_verdict(row["reasoning"])
    return None if written == VERDICTS[row["label"]] else written
