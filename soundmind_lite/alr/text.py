"""The texts of ALR's rows: the three statements of a question, the chain of thought and the verdict that an answer writes."""
import re

WRITTEN_ANSWER = re.compile(r"Answer: *(not[- ]entailed|entailed)\b", re.IGNORECASE | re.ASCII)
LAST_ANSWER = re.compile(WRITTEN_ANSWER.pattern + r"\.?\s*\Z", re.IGNORECASE | re.ASCII)


def statements(question: str) -> tuple[str, str, str] | None:
    """Major premise, minor premise and conclusion of a question in ALR's wording, or None. Linear in the length of the question."""
    parts = question.partition('Major premise is "')[2]
    major, found_minor, parts = parts.partition('Minor premise is "')
    minor, found_conclusion, parts = parts.partition('Conclusion is "')
    conclusion, end, _ = parts.partition('".')
    quoted = [text.rstrip().removesuffix(".") for text in (major, minor)]
    if not (found_minor and found_conclusion and end) or not all(text.endswith('"') for text in quoted):
        return None
    return quoted[0][:-1], quoted[1][:-1], conclusion


def chain_of_thought(reasoning: str) -> str:
    """The reasoning without the answer line that ends it, if one does."""
    return LAST_ANSWER.sub("", reasoning).strip()


def written_verdict(reasoning: str) -> str | None:
    """The verdict that the reasoning writes last, for the audit only: 64 of 1,262 real rows contradict their label there."""
    written = WRITTEN_ANSWER.findall(reasoning)
    return written[-1].lower().replace(" ", "-") if written else None
