"""ALR's annotations, in its two layouts.

Published: `{split}.jsonl` with a row a line (`id`, `user_content`, `answer`, `label`), and the
clips `{split}/{id}/question.wav` and `{split}/{id}/answer_{label}.wav`; a clip may also have
another of `SUFFIXES`, in capitals, too. Hub: `{split}/metadata.jsonl`, which has other names for
the texts and names the files of each row. The label is the truth; it is never read from the text.
"""

import json
import re
import warnings
from collections import Counter

from ..data import ALR_ROWS, CLIPS, ALRFormatError
from .bad_rows import BadRows
from .further import FurtherFields
from .text import statements

FIELDS = {"id": str, "user_content": str, "answer": str, "label": int}
PUBLISHED = {}
HUB = {  # what the layout calls our fields
    "user_content": "annotation_question",
    "answer": "annotation_answer",
    "question_file": "question_file_name",
    "answer_file": "answer_file_name",
}
FILES = ("question_file", "answer_file")  # of a row; None if the layout doesn't name them
SUFFIXES = (  # of the files that audio.load_audio reads; the first that is there is the clip
    *(".wav", ".flac", ".ogg", ".mp3", ".opus", ".m4a", ".aac", ".webm", ".mp4", ".oga"),
    *(".aif", ".aiff", ".caf", ".au", ".w64", ".rf64", ".amr", ".3gp", ".mka", ".weba", ".wma"),
)
USUAL = 4  # of them; the others, and capitals, are asked for only where none of these is there
SAFE_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")  # of a path, so that it leaves no folder
LONGEST_ID = 200  # characters; most systems allow 255 in a file name
# a token that controls a model, such as the end of a turn or the placeholder of a clip
CONTROL = re.compile(r"<\|[^\s|]{1,40}\|>")
WORDING = 'Major premise is "…". Minor premise is "…". Conclusion is "…".'


def parse_row(line: bytes, where: str, names: dict[str, str] = PUBLISHED) -> dict:
    """One line of annotations as a checked dict with `FIELDS`, `FILES` and `further` fields.

    `names` is what the layout calls our fields. Raises ALRFormatError; `where` names file and line.
    """
    try:
        # utf-8-sig: files written on Windows may begin with a byte order mark
        row = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        what = f"not UTF-8 (byte {error.start}); save the file as UTF-8"
        raise ALRFormatError(f"{where}: {what}") from error
    except (ValueError, RecursionError) as error:
        raise ALRFormatError(f"{where}: not JSON ({error!s:.100})") from error
    if not isinstance(row, dict):
        expected = f"expected an object with the fields {', '.join(FIELDS)}"
        raise ALRFormatError(f"{where}: {expected}, got {type(row).__name__}")
    where = f"{where}, id {row.get('id', 'missing')!r}"
    parsed = {name: _field(row, names.get(name, name), where, FIELDS[name]) for name in FIELDS}
    for name in FILES:
        parsed[name] = _field(row, names[name], where, str) if name in names else None
    _check_values(parsed, where)
    known = {names.get(name, name) for name in (*FIELDS, *FILES)}
    parsed["further"] = {name: value for name, value in row.items() if name not in known}
    return parsed


def _unique(pairs: list[tuple]) -> dict:
    """The object of a line; a name given twice would hide its first value."""
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the field {twice[0]!r} is given twice")
    return dict(pairs)


def _field(row: dict, name: str, where: str, kind: type):
    if name not in row:
        raise ALRFormatError(f"{where}: the field {name!r} is missing")
    value = row[name]
    if not isinstance(value, kind) or isinstance(value, bool):
        expected = f"{name!r} must be of type {kind.__name__}"
        raise ALRFormatError(f"{where}: {expected}, got {value!r:.80}")
    if kind is str and any("\ud800" <= character <= "\udfff" for character in value):
        what = f"{name!r} holds half of a Unicode pair, which no file can store"
        raise ALRFormatError(f"{where}: {what}")
    return value


def _check_values(row: dict, where: str) -> None:
    if row["label"] not in (0, 1):
        expected = "label must be 1 (entailed) or 0 (not-entailed)"
        raise ALRFormatError(f"{where}: {expected}, got {row['label']}")
    if control := CONTROL.search(row["user_content"]):
        what = f"the question holds {control[0]!r}, which a chat template would take for a command"
        raise ALRFormatError(f"{where}: {what}")
    if not SAFE_PART.fullmatch(row["id"]):
        what = "an id is a file name and may hold letters, digits, '.', '_' and '-' only"
        raise ALRFormatError(f"{where}: {what}")
    if len(row["id"]) > LONGEST_ID:
        what = f"an id is a file name and may have {LONGEST_ID} letters, not {len(row['id'])}"
        raise ALRFormatError(f"{where:.200}…: {what}")
    if not all(statements(row["user_content"]) or [""]):
        raise ALRFormatError(f"{where}: the question has no '{WORDING}'")


def read_split(files, split: str, *, audio: str | None, bad: BadRows) -> list[dict]:
    """The rows of a split with the columns of `load_alr`; lines that can't be used go to `bad`.

    `files` is a source (`alr.sources`). The audio columns hold the paths of the clips, which need
    not be fetched yet.
    """
    file, names = f"{split}.jsonl", PUBLISHED
    content = files.read(file)
    if content is None:
        file, names = f"{split}/metadata.jsonl", HUB
        content = files.read(file)
    if content is None:
        what = f"no such file, and no {file} either; is {files.name} ALR?"
        raise ALRFormatError(f"{files.name}/{split}.jsonl: {what}")
    rows, line_of, further = [], {}, FurtherFields()
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{files.name}/{file}, line {number}"
        with bad.reading(f"{split}, line {number}"):
            parsed = parse_row(line, where, names)
            where = f"{where}, id {parsed['id']!r}"
            if parsed["id"] in line_of:
                first = line_of[parsed["id"]]
                raise ALRFormatError(f"{where}: the same id is on line {first}")
            columns = _columns(parsed, split, audio, where) | further.of(parsed["further"], where)
            line_of[parsed["id"]] = number
            rows.append(columns)
    if not rows and not bad.found:
        raise ALRFormatError(f"{files.name}/{file}: holds no row")
    there = _there(files, rows) if names is PUBLISHED else None
    for row in rows:
        for clip in CLIPS:
            found = [name for name in row[clip] if there is None or name in there]
            if clip == "question_audio":
                found += row[clip]  # a question that isn't there is reported when it is read
            row[clip] = files.path(found[0]) if found else None
    return rows


def _there(files, rows: list[dict]) -> set[str]:
    """Those of the possible clips of the rows that exist."""
    there = set()
    for part in (slice(USUAL), slice(USUAL, None)):
        clips = [row[clip] for row in rows for clip in CLIPS if there.isdisjoint(row[clip])]
        there |= set(files.sizes({name for names in clips for name in names[part]}))
    return there


def _columns(parsed: dict, split: str, audio: str | None, where: str) -> dict:
    """A row with the columns of `load_alr`; the audio columns list the possible names of a clip."""
    folder, question, answer = f"{split}/{parsed['id']}", [], []
    if audio is not None:
        question = _names(f"{folder}/question", parsed["question_file"], split, where)
    if audio == "both":
        stem = f"{folder}/answer_{parsed['label']}"
        answer = _names(stem, parsed["answer_file"], split, where)
    major, minor, conclusion = statements(parsed["user_content"])
    return {
        "id": parsed["id"],
        "split": split,
        "question": parsed["user_content"],
        "major_premise": major,
        "minor_premise": minor,
        "conclusion": conclusion,
        "reasoning": parsed["answer"],
        "label": parsed["label"],
        "question_audio": question,
        "answer_audio": answer,
    }


def _names(stem: str, given: str | None, split: str, where: str) -> list[str]:
    """The possible names of a clip: the one that the row gives, or the stem with each suffix."""
    if given is None:
        capitals = [form(suffix) for suffix in SUFFIXES for form in (str.upper, str.title)]
        return [stem + suffix for suffix in (*SUFFIXES, *capitals)]
    if not all(SAFE_PART.fullmatch(part) for part in given.split("/")):
        parts = "of plain names (letters, digits, '.', '_' and '-')"
        raise ALRFormatError(f"{where}: {given!r} is no path inside the data set, {parts}")
    return [f"{split}/{given}"]


def check_count(split: str, count: int, *, name: str, is_copy: bool) -> None:
    """Warns if a source that claims to be a copy of ALR has another number of rows."""
    expected = ALR_ROWS[split]
    if is_copy and count != expected:
        question = f"ALR has {expected}; is the download complete?"
        warnings.warn(f"{name}: {count} rows in {split}, {question}", stacklevel=3)
