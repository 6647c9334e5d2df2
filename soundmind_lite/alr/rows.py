"""One check of rows at every door: columns, types and labels, before anything is sampled."""

from collections.abc import Mapping
from numbers import Integral, Real
from os import PathLike, fspath

from datasets import Audio, Dataset, IterableDataset

from ..data import CLIPS, STATEMENTS, ALRFormatError

WITHOUT_AUDIO = "these rows were loaded without audio"
ENTAILED = "label must be 1 (entailed) or 0 (not-entailed)"
ANSWERED = ("id", *STATEMENTS, "label")
SOURCES = ("path", "bytes", "array")  # of a clip, in a dict


def name_of(row, index: int) -> str:
    """What messages call a row: its split and id, as far as it has them, else its index."""
    found = [str(row[name]) for name in ("split", "id") if row.get(name) is not None]
    return "/".join(found) if "id" in row and found else f"number {index}"


def checked(rows, *columns: str, audio: bool = False) -> list[dict]:
    """The rows as dicts that hold these columns in their types; `audio` needs a question's clip.

    A label that equals 0 or 1, such as True, 1.0 or a NumPy integer, becomes that int. Raises
    ALRFormatError for the first row that isn't so.
    """
    return [
        checked_row(row, i, *columns, audio=audio) for i, row in enumerate(undecoded(rows, *CLIPS))
    ]


def for_answers(rows, setting: str) -> list[dict]:
    """Rows with what `evaluation.answer_rows` reads in this setting."""
    from_audio = setting.startswith("audio")
    columns = ANSWERED if from_audio else (*ANSWERED, "question")
    return checked(rows, *columns, audio=from_audio)


def checked_row(row, index: int, *columns: str, audio: bool = False) -> dict:
    """One of `checked`'s rows."""
    if not isinstance(row, Mapping):
        what = f"a row is a dict of columns, got {type(row).__name__}"
        raise ALRFormatError(f"row number {index}: {what}; use the rows of load_alr")
    row, where = dict(row), f"row {name_of(row, index)}"
    for column in (*columns, *(["question_audio"] if audio else [])):
        if column not in row:
            there = ", ".join(row)
            raise ALRFormatError(f"{where}: no column {column!r}; the columns are {there}")
        if column == "label":
            row[column] = label_of(row[column], where)
        elif column in CLIPS:
            row[column] = _clip(row[column], f"{where}: {column}")
        elif column != "id" or not _is_count(row[column]):
            _check_text(row[column], f"{where}: {column}")
    if audio and row["question_audio"] is None:
        remedy = "use load_alr(…, audio='question'), or the setting 'text-text'"
        raise ALRFormatError(f"{where}: question_audio is None: {WITHOUT_AUDIO}; {remedy}")
    return row


def label_of(value, where: str) -> int:
    """The label as the int 0 or 1; ALRFormatError, beginning with `where`, for anything else."""
    number = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(number, Real) and number in (0, 1):
        return int(number)
    raise ALRFormatError(f"{where}: {ENTAILED}, got {value!r:.60}")


def undecoded(rows, *columns: str):
    """The rows, with columns of the kind `datasets.Audio` as {"path", "bytes"}: datasets would
    decode them with a package that isn't needed here. Anything else is unchanged."""
    features = getattr(rows, "features", None) or {}
    for name in columns:
        if isinstance(features.get(name), Audio):
            rows = rows.cast_column(name, Audio(decode=False))
    return rows


def for_training(given: dict) -> dict:
    """A trainer's arguments with data sets whose prompts can take their `audio`, in all rows.

    Audio columns are undecoded, and a prompt that is a string becomes a user turn. Raises
    ALRFormatError, with row and column, for another prompt and for what is no clip; of a stream
    when it reaches the row.
    """
    owned = given.get("environment_factory") is not None  # which may bring the prompts
    names = ("train_dataset", "eval_dataset")
    return given | {name: _data_set(given.get(name), name, owned) for name in names}


def _data_set(rows, argument: str, owned: bool):
    if isinstance(rows, dict):
        parts = rows.items()
        return {name: _data_set(part, f"{argument}[{name!r}]", owned) for name, part in parts}
    if isinstance(rows, list):
        rows = Dataset.from_list(rows)
    rows = undecoded(rows, "audio")
    if isinstance(rows, IterableDataset):
        return rows.map(conversational, with_indices=True)
    if not isinstance(rows, Dataset) or not len(rows):
        return rows
    columns = rows.column_names
    if "prompt" not in columns and not owned:
        what = f"{argument} has no column 'prompt'; its columns are {', '.join(columns)}"
        raise ALRFormatError(f"{what}; make the rows with data.training_rows")
    if "audio" not in columns or "prompt" not in columns:
        return rows
    names = [_where(identifier, i) for i, identifier in enumerate(_ids(rows))]
    for clip, where in zip(rows["audio"], names):
        if clip is not None:  # a column holds one type, so one row tells
            _clip(clip, f"{where}: audio")
            break
    else:
        return rows
    prompts = list(rows["prompt"])
    conversations = [_conversation(prompt, where) for prompt, where in zip(prompts, names)]
    if conversations == prompts:
        return rows
    return rows.remove_columns("prompt").add_column("prompt", conversations)


def conversational(row: dict, index: int) -> dict:
    """A row with its prompt as messages that its `audio` can be added to; without that column as it
    is. Raises ALRFormatError."""
    if "audio" not in row:
        return row
    where = _where(row.get("id"), index)
    clip = _clip(row["audio"], f"{where}: audio")
    return {**row, "prompt": _conversation(row.get("prompt"), where), "audio": clip}


def _ids(rows: Dataset):
    return rows["id"] if "id" in rows.column_names else [None] * len(rows)


def _where(identifier, index: int) -> str:
    return f"row number {index}, without id" if identifier is None else f"row {identifier}"


def _conversation(prompt, where: str) -> list[dict]:
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list) or not all(_is_message(message) for message in prompt):
        what = "a prompt is a string, or messages with 'role' and 'content'"
        raise ALRFormatError(f"{where}: prompt: {what}, got {prompt!r:.60}")
    if not any(message["role"] == "user" for message in prompt):
        what = f"no user turn that the audio could be added to in {prompt!r:.60}"
        raise ALRFormatError(f"{where}: prompt: {what}")
    return [{**message, "content": _content(message["content"], where)} for message in prompt]


def _is_message(message) -> bool:
    kinds = (str, list)
    return isinstance(message, dict) and all(
        isinstance(message.get(name), kind) for name, kind in (("role", str), ("content", kinds))
    )


def _content(content: str | list[dict], where: str) -> str | list[dict]:
    """The content without the keys that Arrow fills with None; of parts it may hold text alone."""
    if isinstance(content, str):
        return content
    parts = [{name: value for name, value in part.items() if value is not None} for part in content]
    for part in parts:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            what = "beside the column audio, which the trainer adds, the content must be a string"
            raise ALRFormatError(f"{where}: prompt: {what}, or parts of text; got {part!r:.60}")
    return parts


def _clip(clip, where: str):
    """A clip in one of the forms of `audio.load_audio`, or None; a path as a string."""
    if clip is None or isinstance(clip, str):
        return clip
    if isinstance(clip, PathLike):
        return fspath(clip)
    if isinstance(clip, dict) and any(clip.get(name) is not None for name in SOURCES):
        return clip
    numbers = isinstance(clip, list) and len(clip) > 0 and isinstance(clip[0], Real)
    if numbers or hasattr(clip, "__array__"):
        return clip
    got = f"{clip!r:.60}"
    if isinstance(clip, list | tuple) and clip and not isinstance(clip[0], Real):
        got = f"a list of {len(clip)}; make a row for each clip, or join them"
    forms = "a path, a mono float array at 16 kHz, {'path', 'bytes'} or None"
    raise ALRFormatError(f"{where} must be {forms}, got {got}")


def _is_count(value) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _check_text(value, where: str) -> None:
    if not isinstance(value, str):
        raise ALRFormatError(f"{where} must be a string, got {value!r:.60}")
