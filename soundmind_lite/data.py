"""Loads ALR rows from the small world, a folder, the published zip or the hub.

Published layout: `{split}.jsonl` with a row a line (`id`, `user_content`, `answer`, `label`), and `{split}/{id}/question.wav` and
`{split}/{id}/answer_{label}.wav`. Hub layout: `{split}/metadata.jsonl`, which calls the texts `annotation_question` and `annotation_answer` and names
the files of a row. Sound may also be FLAC, OGG or MP3. The label is the truth; it is never read from the text.
"""
import hashlib
import json
import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral
from pathlib import Path

import numpy as np

from .alr.text import chain_of_thought, statements, written_verdict
from .audio import MIN_SECONDS, AudioError, checked, load_clip, of_row
from .alr.auditing import Audit, audit
from .alr.bad_rows import ALRFormatError, BadRows, SkippedRows
from .profiles import ASSETS
from .alr.sources import SAFE_PART, Source, SourceError, fetch, fetch_all, local_path, open_source, safe_relative, sizes
from .training_data import SETTINGS, check_setting, row_name, training_rows

__all__ = [
    "SETTINGS", "ALRFormatError", "Audit", "SkippedRows", "SourceError", "add_row", "audit", "chain_of_thought", "check_setting", "load_alr", "statements",
    "training_rows", "written_verdict",
]

SPLITS = ("train", "dev", "test")
ALR_ROWS = {"train": 5_184, "dev": 606, "test": 656}
HEARD_SIDE_BY_SIDE = 8  # clips that are read at the same time; a minute takes 4 MB
CLIPS = ("question_audio", "answer_audio")
COLUMNS = ("id", "split", "question", "major_premise", "minor_premise", "conclusion", "reasoning", "label", *CLIPS)
FILES = ("question_file", "answer_file")
HUB_NAMES = {
    "user_content": "annotation_question", "answer": "annotation_answer", "question_file": "question_file_name", "answer_file": "answer_file_name",
}
FIELDS = {"id": str, "user_content": str, "answer": str, "label": int}
CONTROL = re.compile(r"<\|[^\s|]{1,40}\|>")  # a token that steers a model, such as the end of a turn or the place of a sound
LONGEST_ID = 200  # of a file's name most systems take 255
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def parse_row(line: bytes, where: str, names: dict[str, str] | None = None) -> dict:
    """One annotation line as a checked dict with ALR's four fields, and `question_file` and `answer_file` (None if the layout doesn't name them).

    `where` names file and line for the error; `names` says what a layout calls our fields.
    """
    names = names or {}
    try:
        row = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_once)  # a file from Windows may begin with a mark
    except UnicodeDecodeError as error:
        raise ALRFormatError(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ALRFormatError(f"{where}: not JSON ({error!s:.100})") from error
    if not isinstance(row, dict):
        raise ALRFormatError(f"{where}: expected an object with the fields {', '.join(FIELDS)}, got {type(row).__name__}")
    where = f"{where}, id {row.get('id', 'missing')!r}"
    kinds = {names.get(name, name): kind for name, kind in FIELDS.items()} | {names[name]: str for name in FILES if name in names}
    for name, kind in kinds.items():
        if name not in row:
            raise ALRFormatError(f"{where}: the field {name!r} is missing")
        if not isinstance(row[name], kind) or isinstance(row[name], bool):
            raise ALRFormatError(f"{where}: {name!r} must be of type {kind.__name__}, got {row[name]!r:.80}")
        if kind is str and any("\ud800" <= character <= "\udfff" for character in row[name]):
            raise ALRFormatError(f"{where}: {name!r} holds half of a Unicode pair, which no file can store")
    row = {name: row[names.get(name, name)] for name in FIELDS} | {name: row[names[name]] if name in names else None for name in FILES}
    if row["label"] not in (0, 1):
        raise ALRFormatError(f"{where}: label must be 1 (entailed) or 0 (not-entailed), got {row['label']}")
    if CONTROL.search(row["user_content"]):
        raise ALRFormatError(f"{where}: the question holds {CONTROL.search(row['user_content'])[0]!r}, which a chat template would take for a command")
    if not SAFE_PART.fullmatch(row["id"]):
        raise ALRFormatError(f"{where}: an id is a file name and may hold letters, digits, '.', '_' and '-' only")
    if len(row["id"]) > LONGEST_ID:
        raise ALRFormatError(f"{where:.200}…: an id is a file name and may have {LONGEST_ID} letters, not {len(row['id'])}")
    if not all(statements(row["user_content"]) or ("",)):
        raise ALRFormatError(f'{where}: the question has no \'Major premise is "…". Minor premise is "…". Conclusion is "…".\'')
    return row


def _once(pairs: list[tuple]) -> dict:
    """The object of a line; a name that stands twice would hide its first value."""
    if twice := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise ValueError(f"the field {twice[0]!r} stands twice")
    return dict(pairs)


def annotations(source: Source, split: str) -> tuple[bytes, str, dict[str, str]]:
    """The lines of a split's annotation file, its name for messages, and the names that its layout gives to our fields."""
    for place, names in ((f"{split}.jsonl", {}), (f"{split}/metadata.jsonl", HUB_NAMES)):
        if (content := source.read(place)) is not None:
            return content, source.shown(place), names
    raise ALRFormatError(f"{source.shown(f'{split}.jsonl')}: no such file, and no {split}/metadata.jsonl either; is {source.name} ALR?")


def clip_name(source: Source, split: str, identifier: str, stem: str, given: str | None, where: str) -> str | None:
    """The path of a clip below the source: the one that the row gives (hub layout), or the first with a known sound suffix that is there."""
    if given is not None:
        if not safe_relative(given):
            raise ALRFormatError(f"{where}: {given!r} is no path inside the data set, of plain names (letters, digits, '.', '_' and '-')")
        return f"{split}/{given}"
    names = (f"{split}/{identifier}/{stem}{suffix}" for suffix in SUFFIXES)
    there = (lambda n: local_path(source, n).exists()) if source.cache is None else (lambda n: n in sizes(source, split))
    return next((name for name in names if there(name)), None)


def read_split(source: Source, split: str, audio: str | None = "question", bad: BadRows | None = None) -> list[dict]:
    """All rows of a split with the columns of `load_alr`; the audio columns hold paths below the source. Lines that can't be used go to `bad`."""
    content, file, names = annotations(source, split)
    rows, seen, bad = [], {}, bad or BadRows()
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            with bad.met(f"{split}, line {number}"):
                rows.append(read_row(line, f"{file}, line {number}", names, source, split, audio, seen))
                seen[rows[-1]["id"]] = number
    if not (rows or bad.found):
        raise ALRFormatError(f"{file}: holds no row")
    return rows


def read_row(line: bytes, where: str, names: dict[str, str], source: Source, split: str, audio: str | None, seen: dict[str, int]) -> dict:
    """One row of `read_split`; `seen` holds the lines of the ids before it."""
    row = parse_row(line, where, names)
    where, identifier = f"{where}, id {row['id']!r}", row["id"]
    if identifier in seen:
        raise ALRFormatError(f"{where}: the same id stands on line {seen[identifier]}")
    # a missing clip is told when it is heard or audited
    question = audio and (clip_name(source, split, identifier, "question", row["question_file"], where) or f"{split}/{identifier}/question.wav")
    answer = clip_name(source, split, identifier, f"answer_{row['label']}", row["answer_file"], where) if audio == "both" else None
    major, minor, conclusion = statements(row["user_content"])
    return {
        "id": identifier, "split": split, "question": row["user_content"], "major_premise": major, "minor_premise": minor, "conclusion": conclusion,
        "reasoning": row["answer"], "label": row["label"], "question_audio": question, "answer_audio": answer,
    }


def tell_counts(source: Source, split: str, count: int) -> None:
    """Warns if what claims to be ALR has another number of rows than ALR. A folder with less than half of them is one's own and makes no such claim."""
    claims = source.cache is not None or count > ALR_ROWS[split] / 2
    if claims and count != ALR_ROWS[split]:
        warnings.warn(f"{source.name}: {count} rows in {split}, ALR has {ALR_ROWS[split]}; is the download complete?", stacklevel=3)


def add_row(folder: str | Path, split: str, row: dict, audio, sample_rate: int) -> Path:
    """Adds a row and its spoken question to a folder in the published layout; returns the path of the clip.

    `row` has ALR's four fields, `audio` is a mono array. Nothing is written unless both are sound: raises ALRFormatError for a row out of format
    or an id that the split already has, and AudioError for an array that is no clip.
    """
    import soundfile

    folder = Path(folder)
    file, line = folder / f"{split}.jsonl", json.dumps(row)
    parse_row(line.encode(), f"{file}, new row")
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
    if file.exists() and row["id"] in {r["id"] for r in read_split(open_source(folder), split, audio=None)}:
        raise ALRFormatError(f"{file}: the id {row['id']!r} is taken; choose another")
    audio = checked(audio)
    if not isinstance(sample_rate, Integral) or sample_rate < 1 or len(audio) < MIN_SECONDS * sample_rate:
        raise AudioError(f"{len(audio)} samples at {sample_rate!r} Hz are no clip; give a whole number of Hz, and at least {MIN_SECONDS} s")
    if np.abs(audio).max() > 1:
        raise AudioError(f"the largest sample is {np.abs(audio).max():.3g} and full scale is 1; the file would hold it cut off, so scale it first")
    clip = folder / split / row["id"] / "question.wav"
    clip.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(clip, audio, sample_rate)
    gap = "" if not file.exists() or file.read_bytes()[-1:] in (b"", b"\n") else "\n"  # a file written by hand may lack its last line end
    with file.open("a", encoding="utf-8") as annotations:
        annotations.write(gap + line + "\n")
    return clip


def load_alr(
    source: str | Path = "mini", split: str = "train", streaming: bool = False, audio: str | None = "question", on_bad_row: str | BadRows = "raise",
    max_seconds: float | None = None,
):
    """ALR as a `datasets.Dataset` (an IterableDataset if `streaming`).

    `source`: "mini" (the spoken problems of this project), a folder or a zip in the published layout or in the hub's, or a hub id such as
    "SoundMind-RL/SoundMindDataset". `audio`: "question", "both" (answers too, None where there is no clip) or None. Clips that aren't local are fetched
    first, or one by one if `streaming`; what was fetched once stays. Columns: id, split, question, major_premise, minor_premise, conclusion, reasoning,
    label (1 entailed, 0 not-entailed), question_audio and answer_audio (paths or None).

    `on_bad_row`: "raise" stops at the first row that is out of format; its clip is met when it is heard. "skip" hears every clip now, leaves out what
    can't be used, and tells it in a `SkippedRows` warning, whose `rows` list them all. With `max_seconds` longer clips are bad, too, and every clip is
    heard now under "raise" as well. A stream hears each row, and tells what it leaves out, when it is reached.
    Raises ALRFormatError for a bad row, AudioError for a bad clip, SourceError (an OSError) for files that aren't there or don't fit, and ValueError for
    a bad argument.
    """
    from datasets import Dataset, Features, IterableDataset, Value

    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
    if audio not in ("question", "both", None):
        raise ValueError(f"audio must be 'question', 'both' or None, got {audio!r}")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds must be a positive number, got {max_seconds!r}")
    bad = BadRows.of(on_bad_row)
    known = len(bad.found)
    place = open_source(ASSETS / "mini_alr" if source == "mini" else source)
    rows = read_split(place, split, audio, bad)
    count = len(rows) + len(bad.found) - known
    if source != "mini":
        tell_counts(place, split, count)
    listens = bad.policy == "skip" or max_seconds is not None
    features = Features({name: Value("int64" if name == "label" else "string") for name in COLUMNS})
    if streaming:
        bad.tell(count, known)
        given = dict(source=place, rows=rows, count=count, policy=bad.policy, listens=listens, max_seconds=max_seconds)
        return IterableDataset.from_generator(_stream, features=features, gen_kwargs=given)
    fetch_all(place, split, [row[name] for row in rows for name in CLIPS if row[name]])
    local = []
    for row in rows:
        with bad.met(row_name(row)):
            local.append(_local(place, row))
    rows = _heard(local, bad, max_seconds) if listens else local
    bad.tell(count, known)
    return Dataset.from_list(rows, features=features)


def _local(source: Source, row: dict) -> dict:
    """The row with local paths in its audio columns; a clip that isn't here yet is fetched. AudioError if it is damaged."""
    with of_row(row_name(row)):
        return row | {name: str(fetch(source, row[name])) for name in CLIPS if row[name]}


def _hear(row: dict, max_seconds: float | None) -> None:
    """AudioError, naming the row, if one of its clips can't be used."""
    for name in CLIPS:
        if row[name]:
            load_clip(row_name(row), row[name], max_seconds if name == "question_audio" else None)


def _heard(rows: list[dict], bad: BadRows, max_seconds: float | None) -> list[dict]:
    """The rows whose clips can be used, in their order. Clips are read side by side."""
    from tqdm.auto import tqdm

    good = []
    with ThreadPoolExecutor(HEARD_SIDE_BY_SIDE) as pool:
        hearing = [pool.submit(_hear, row, max_seconds) for row in rows]
        try:
            for row, heard in tqdm(list(zip(rows, hearing)), desc="listen", unit="row", delay=2, leave=False):
                with bad.met(row_name(row)):
                    heard.result()
                    good.append(row)
        finally:  # the first error ends it, under "raise"
            pool.shutdown(cancel_futures=True)
    return good


def _stream(source: Source, rows: list[dict], count: int, policy: str, listens: bool, max_seconds: float | None):
    """The rows one by one, each fetched, and heard if wanted, when it is reached. datasets hands over a part of the `count` rows at a time."""
    for row in rows:
        bad = BadRows(policy)
        with bad.met(row_name(row)):
            row = _local(source, row)
            if listens:
                _hear(row, max_seconds)
        if bad.found:
            warnings.warn(SkippedRows(bad.found, count), stacklevel=2)
        else:
            yield row


def fingerprint(rows) -> str:
    """Sixteen hex digits that change when a row, the order of rows or a byte of a clip does; where the files lie makes no difference."""
    rows, digest = list(rows), hashlib.blake2b(digest_size=8)
    with ThreadPoolExecutor(HEARD_SIDE_BY_SIDE) as pool:
        clips = pool.map(lambda row: [row[name] and _digest(row[name]) for name in CLIPS], rows)
        for row, found in zip(rows, clips):
            digest.update(json.dumps([row[name] for name in ("split", "id", "question", "reasoning", "label")] + found).encode())
    return digest.hexdigest()


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
