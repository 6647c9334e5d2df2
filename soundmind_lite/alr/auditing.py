"""The audit of rows: what makes a result untrue."""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import mean

import numpy as np

from ..audio import SAMPLE_RATE, AudioError, load_audio, named
from ..data import CLIPS, row_name
from ..prompts import VERDICTS
from .rows import checked
from .text import contradiction

READ = ("id", "split", "question", "major_premise", "reasoning", "label", *CLIPS)
FINDINGS = ("conflicts", "duplicates", "shared_premises", "bad_audio")
AUDIBLE = 1e-3  # full scale is 1, so this is -60 dB; quiet speech is at -40 dB
WINDOW = SAMPLE_RATE // 20  # samples, 50 ms: shorter than a syllable
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

    `bad_audio` also lists clips in which nothing can be heard, though they may be loaded.
    `shared_premises` lists major premises that occur in more than one split. The audio of rows
    that were loaded without it is not checked.
    """
    rows = checked(rows, *READ)
    result = Audit(rows=len(rows))
    questions, premises, seconds = defaultdict(list), defaultdict(list), []
    for row in rows:
        name = row_name(row)
        questions[_folded(row["question"])].append(name)
        premises[_folded(row["major_premise"])].append(name)
        if written := contradiction(row):
            what = f"label says {VERDICTS[row['label']]}, the reasoning ends with {written}"
            result.conflicts.append((name, what))
        for clip in (row[column] for column in CLIPS if row[column]):
            try:
                audio = load_audio(clip, max_seconds)
                seconds.append(len(audio) / SAMPLE_RATE)
                path = clip.get("path") if isinstance(clip, dict) else clip
                with named(str(path)):
                    check_audible(audio)
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


def check_audible(audio: np.ndarray) -> None:
    """AudioError for a clip in which nothing can be heard, such as a muted microphone's.

    Its level is the largest standard deviation of the samples in 50 ms: a constant is silent, too.
    """
    windows = [audio[i : i + WINDOW] for i in range(0, len(audio), WINDOW)]
    level = max(float(window.std()) for window in windows)
    if level < AUDIBLE:
        what = f"nothing can be heard (level {level:.1g}, and {AUDIBLE:g} is needed)"
        raise AudioError(f"{what}; record it again, or leave the row out")


def _folded(text: str) -> str:
    return " ".join(text.lower().split())
