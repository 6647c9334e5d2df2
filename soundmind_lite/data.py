"""Rows in, the trainer's columns out.

`load_alr` reads the rows of a data set, `training_rows` makes the columns that the trainer and the
rewards take. Sources of files, formats, bad rows and the audit are in `alr/`.
"""

import math
import random
from pathlib import Path

from .profiles import ASSETS, one_of
from .prompts import chain_of_thought, prompt

ALR_ROWS = {"train": 5_184, "dev": 606, "test": 656}
SPLITS = tuple(ALR_ROWS)
STATEMENTS = ("major_premise", "minor_premise", "conclusion")
CLIPS = ("question_audio", "answer_audio")
COLUMNS = ("id", "split", "question", *STATEMENTS, "reasoning", "label", *CLIPS)
SETTINGS = ("audio-text", "text-text", "text-audio", "audio-audio")  # question, answer


class ALRFormatError(ValueError):
    """A row that isn't in ALR's format; the message names file, line and id."""


def row_name(row: dict) -> str:
    """The name of a row in messages: its split and its id, as far as it has them."""
    return "/".join(str(row[name]) for name in ("split", "id") if name in row)


def load_alr(
    source: str | Path = "mini",
    split: str = "train",
    *,
    streaming: bool = False,
    audio: str | None = "question",
    on_bad_row="raise",
    max_seconds: float | None = None,
    max_rows: int | None = None,
):
    """ALR as a `datasets.Dataset`, or an IterableDataset: `COLUMNS` and the rows' further fields.

    `source`: "mini" (the spoken syllogisms of this project), a folder or a zip in the published
    layout or in the hub's, or a hub id such as "SoundMind-RL/SoundMindDataset", with "@revision" if
    you like. `audio`: "question", "both" (answers too) or None; the audio columns hold paths, or
    None. Clips that aren't local are fetched first, or row by row if `streaming`, and kept.
    `max_rows` takes a random part of the split, always the same, and fetches its clips alone.

    `on_bad_row`: "raise" stops at the first row out of format; "skip" reads every clip now, leaves
    out rows that can't be used and lists them in a `SkippedRows` warning. `max_seconds` reads every
    clip now, too; a longer question is a bad clip. A stream reads clips when it reaches their row.

    Raises ALRFormatError for a bad row, AudioError for a bad clip, SourceError (an OSError) for
    files that can't be had or don't fit, ValueError for a bad argument.
    """
    from datasets import Dataset

    from .alr import bad_rows, further, layout, sources

    one_of(SPLITS, split, what="split")
    one_of(("question", "both", None), audio, what="choice of audio")
    for name, value in (("max_seconds", max_seconds), ("max_rows", max_rows)):
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be a positive number, got {value!r}")
    bad = bad_rows.BadRows.of(on_bad_row)
    files = sources.open_source(ASSETS / "mini_alr" if source == "mini" else source)
    rows = layout.read_split(files, split, audio=audio, bad=bad)
    count = len(rows) + len(bad.found)
    layout.check_count(split, count, name=files.name, is_copy=files.is_copy)
    if max_rows is not None and max_rows < len(rows):
        rows = [rows[i] for i in sorted(random.Random(0).sample(range(len(rows)), max_rows))]
        count = max_rows + len(bad.found)
    limit = math.inf if bad.policy == "skip" and max_seconds is None else max_seconds
    features = further.features_of(rows, name=files.name)
    if streaming:
        bad.report(count)
        given = dict(rows=rows, files=files, policy=bad.policy, count=count, limit=limit)
        return sources.streamed(bad_rows.stream, features=features, gen_kwargs=given)
    clips = [row[name] for row in rows for name in CLIPS if row[name]]
    files.check_space(clips)
    rows = bad_rows.usable(rows, bad, damaged=files.fetch(clips), limit=limit)
    bad.report(count)
    return Dataset.from_list(rows, features=features)


def training_rows(rows, setting: str = "audio-text", *, on_bad_row="raise"):
    """The rows as a `datasets.Dataset`: their own columns, which rewards get, and the trainer's.

    These are `prompt` (chat messages), `audio` (a path; None if the question is text),
    `reference_length` (words of the row's own reasoning), and for spoken answers
    `reference_seconds` (of speech in the row's own answer). `on_bad_row` as in `load_alr`.

    Raises ALRFormatError or AudioError for a row without reasoning or the audio that it needs, with
    a bad column or answer clip, ValueError for an unknown setting and for a stream.
    """
    from datasets import Dataset, IterableDataset

    from .alr.bad_rows import BadRows
    from .alr.rows import checked_row, name_of, undecoded
    from .speech.spoken import reference_seconds  # for spoken answers

    if isinstance(rows, IterableDataset):
        what = "training takes rows by their index, which a stream doesn't have"
        raise ValueError(f"{what}; use load_alr(…, streaming=False), or list(rows.take(100))")
    rows, bad, made = list(undecoded(rows, *CLIPS)), BadRows.of(on_bad_row), []
    from_audio = one_of(SETTINGS, setting, what="setting").startswith("audio")
    for index, row in enumerate(rows):
        with bad.reading(name_of(row, index)):
            row = checked_row(row, index, "id", "question", "reasoning", "label", audio=from_audio)
            columns = {"prompt": prompt(None if from_audio else row["question"])}
            columns["audio"] = row["question_audio"] if from_audio else None
            columns["reference_length"] = reasoning_words(row)
            if setting.endswith("-audio"):
                columns["reference_seconds"] = reference_seconds(row)
            made.append(row | columns)
    bad.report(len(rows))
    return Dataset.from_list(made)


def reasoning_words(row: dict) -> int:
    """Words of the row's own reasoning; ALRFormatError if there are none."""
    if not (words := len(chain_of_thought(row["reasoning"]).split())):
        what = "the answer holds no reasoning, so there is no length to compare with"
        raise ALRFormatError(f"row {row_name(row)}: {what}; leave the row out")
    return words


def audit(rows, max_seconds: float = 300.0):
    """Findings that would invalidate results on these rows; the 7B would cut longer clips."""
    from .alr import auditing

    return auditing.audit(rows, max_seconds)
