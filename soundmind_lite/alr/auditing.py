"""The audit of rows: what would make a result untrue."""
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import mean

from .text import written_verdict
from ..audio import SAMPLE_RATE, AudioError, load_audio
from ..prompts import VERDICTS

LONGEST_CLIP = 300.0  # seconds; what the 7B's processor takes before it cuts


@dataclass
class Audit:
    """What an audit found; each finding is `(id, what)` with the id as `split/id`."""

    rows: int = 0
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    shared_premises: list[tuple[str, str]] = field(default_factory=list)
    bad_audio: list[tuple[str, str]] = field(default_factory=list)
    lengths: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.rows} rows"]
        for name in ("conflicts", "duplicates", "shared_premises", "bad_audio"):
            findings = getattr(self, name)
            lines.append(f"{name.replace('_', ' '):16} {len(findings):5}")
            lines += [f"    {identifier}: {what}" for identifier, what in findings[:3]]
            if len(findings) > 3:
                lines.append(f"    … and {len(findings) - 3} more")
        return "\n".join(lines + [f"{name:16} {value:8.1f}" for name, value in self.lengths.items()])


def audit(rows, max_seconds: float = LONGEST_CLIP) -> Audit:
    """Checks rows, of one or several splits, for what makes a result untrue; `max_seconds` is the limit for a clip.

    `shared_premises` counts major premises that stand in more than one split. Rows loaded without sound get no sound check.
    """
    rows = list(rows)
    result = Audit(rows=len(rows))
    questions, premises, seconds = defaultdict(list), defaultdict(list), []
    for row in rows:
        identifier = f"{row['split']}/{row['id']}"
        questions[_folded(row["question"])].append(identifier)
        premises[_folded(row["major_premise"])].append(identifier)
        verdict = written_verdict(row["reasoning"])
        if verdict and verdict != VERDICTS[row["label"]]:
            result.conflicts.append((identifier, f"label says {VERDICTS[row['label']]}, the reasoning ends with {verdict}"))
        for clip in filter(None, (row["question_audio"], row["answer_audio"])):
            try:
                seconds.append(len(load_audio(clip, max_seconds)) / SAMPLE_RATE)
            except AudioError as error:
                result.bad_audio.append((identifier, str(error)))
    result.duplicates = [(ids[0], "same question as " + ", ".join(ids[1:])) for ids in questions.values() if len(ids) > 1]
    split = lambda identifier: identifier.split("/")[0]
    elsewhere = {ids[0]: [i for i in ids if split(i) != split(ids[0])] for ids in premises.values()}
    result.shared_premises = [(first, "same major premise as " + ", ".join(others)) for first, others in elsewhere.items() if others]
    words = {"question words": "question", "reasoning words": "reasoning"}
    result.lengths = {name: mean(len(row[column].split()) for row in rows) for name, column in words.items()} if rows else {}
    if seconds:
        result.lengths |= {"seconds, mean": mean(seconds), "seconds, longest": max(seconds)}
    return result


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
