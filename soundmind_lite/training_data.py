"""Rows of ALR as TRL wants them, with the references of the length rewards."""
from .alr.text import chain_of_thought
from .audio import SAMPLE_RATE, load_clip
from .alr.bad_rows import ALRFormatError, BadRows
from .prompts import prompt
from .speech import speech_seconds
from .speech.spoken import WORDS_PER_SECOND

SETTINGS = ("audio-text", "text-text", "text-audio", "audio-audio")  # how the question comes, how the answer is given


def check_setting(setting: str) -> str:
    """The setting itself, or ValueError with those there are."""
    if setting not in SETTINGS:
        raise ValueError(f"there is no setting {setting!r}; choose one of {', '.join(SETTINGS)}")
    return setting


def row_name(row: dict) -> str:
    """How a row is called in messages: its split and its id."""
    return f"{row['split']}/{row['id']}"


def training_rows(rows, setting: str = "audio-text", on_bad_row: str | BadRows = "raise"):
    """The rows as TRL wants them: `prompt` with plain string content, `audio` (a path, None if the question comes as text), `label`,
    `reference_length` (words of the row's own reasoning) and `id`; where the answer is spoken also `reference_seconds`: seconds of speech in the row's
    answer clip, or, without one, its words at ALR's mean rate.

    A row without reasoning, or whose answer clip can't be used, raises ALRFormatError or AudioError; with `on_bad_row="skip"` it is left out and told in
    a `SkippedRows` warning. Raises ValueError for an unknown setting, for rows without sound and for a stream.
    """
    from datasets import Dataset, IterableDataset

    if isinstance(rows, IterableDataset):
        raise ValueError("training takes rows by their number, which a stream has not; use load_alr(…, streaming=False), or list(rows.take(100))")
    heard, spoken = check_setting(setting).startswith("audio"), setting.endswith("-audio")
    bad, made, rows = BadRows.of(on_bad_row), [], list(rows)
    known = len(bad.found)
    if heard and any(row["question_audio"] is None for row in rows):
        raise ValueError("these rows were loaded without sound; use load_alr(…, audio='question'), or the setting 'text-text'")
    for row in rows:
        with bad.met(row_name(row)):
            made.append({
                "id": row["id"], "prompt": prompt(None if heard else row["question"]), "audio": row["question_audio"] if heard else None,
                "label": row["label"], "reference_length": reasoning_words(row),
                **({"reference_seconds": reference_seconds(row)} if spoken else {}),
            })
    bad.tell(len(rows), known)
    return Dataset.from_list(made)


def reference_seconds(row: dict) -> float:
    """Seconds of speech of the row's own answer: detected in its clip, or its words at `WORDS_PER_SECOND` if it has none."""
    if row["answer_audio"] is None:
        return (reasoning_words(row) + 2) / WORDS_PER_SECOND  # and the two words of the answer
    if not (seconds := speech_seconds(load_clip(row_name(row), row["answer_audio"]), SAMPLE_RATE)):
        raise ALRFormatError(f"row {row_name(row)}: no speech is detected in {row['answer_audio']}; leave the row out")
    return seconds


def reasoning_words(row: dict) -> int:
    """Words of the row's own reasoning, the reference of the length reward; ALRFormatError if there are none."""
    if not (words := len(chain_of_thought(row["reasoning"]).split())):
        raise ALRFormatError(f"row {row_name(row)}: the answer holds no reasoning, so there is no length to compare with; leave the row out")
    return words
