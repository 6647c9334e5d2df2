"""The audit of rows: what makes a result untrue."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import mean

from ..audio import SAMPLE_RATE, AudioError, load_audio
from ..data import CLIPS, row_name
from ..prompts import VERDICTS
from .text import written_verdict

FINDINGS = ("conflicts", "duplicates", "shared_premises", "bad_audio")
SHOWN = 3  # findings of a kind in the printed table


@dataclass
class Audit:
    """What an audit found; a finding is a row's name and what is wrong with it."""

    rows: int = 0
    conflicts: list[tuple[str, str]] = field(default_factory=list)  # label against reasoning
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    shared_premises: list[tuple[str, str]] = field(default_factory=list)  # across splits
    bad_audio: list[tuple[str, str]] = field(default_factory=list)
    lengths: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.rows} rows"]
        for kind in FINDINGS:
            findings = getattr(self, kind)
            lines.append(f"{kind.replace('_', ' '):16} {len(findings):5}")
            lines += [f"    {name}: {what}" for name, what in findings[:SHOWN]]
            if len(findings) > SHOWN:
                lines.append(f"    … and {len(findings) - SHOWN} more")
        lines += [f"{name:16} {value:8.1f}" for name, value in self.lengths.items()]
        return "\n".join(lines)


def audit(rows, max_seconds: float) -> Audit:
    """Checks rows of one or several splits; a clip longer than `max_seconds` is bad.

    `shared_premises` lists major premises that occur in more than one split. The audio of rows
    that were loaded without it is not checked.
    """
    rows = list(rows)
    result = Audit(rows=len(rows))
    questions, premises, seconds = defaultdict(list), defaultdict(list), []
    for row in rows:
        name = row_name(row)
        questions[_folded(row["question"])].append(name)
        premises[_folded(row["major_premise"])].append(name)
        label, written = VERDICTS[row["label"]], written_verdict(row["reasoning"])
        if written and written != label:
            result.conflicts.append(
                (name, f"label says {label}, the reasoning ends with {written}")
            )
        for clip in (row[column] for column in CLIPS if row[column]):
            try:
                seconds.append(len(load_audio(clip, max_seconds)) / SAMPLE_RATE)
            except AudioError as error:
                result.bad_audio.append((name, str(error)))
    for first, *others in questions.values():
        if others:
            result.duplicates.append((first, f"same question as {', '.join(others)}"))
    for first, *others in premises.values():
        split = first.split("/")[0]
        elsewhere = [name for name in others if name.split("/")[0] != split]
        if elsewhere:
            what = f"same major premise as {', '.join(elsewhere)}"
            result.shared_premises.append((first, what))
    for column in ("question", "reasoning") if rows else ():
        words = mean(len(row[column].split()) for row in rows)
        result.lengths[f"{column} words"] = words
    if seconds:
        result.lengths["seconds, mean"] = mean(seconds)
        result.lengths["seconds, longest"] = max(seconds)
    return result


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
