"""Loads ALR rows from the small world, a folder, the published zip or the hub; audits them, and makes them ready for training.

Published layout: `{split}.jsonl` with a row a line (`id`, `user_content`, `answer`, `label`), and `{split}/{id}/question.wav` and
`{split}/{id}/answer_{label}.wav`. Hub layout: `{split}/metadata.jsonl`, which calls the texts `annotation_question` and `annotation_answer` and names
the files of a row. Sound may also be FLAC, OGG or MP3. The label is the truth; it is never read from the text.
"""
import json
import warnings
from pathlib import Path

from .alr_text import chain_of_thought, statements, written_verdict
from .audio import SAMPLE_RATE, checked, load_audio
from .auditing import Audit, audit
from .profiles import ASSETS
from .prompts import prompt
from .sources import SAFE_PART, Source, SourceError, fetch, fetch_all, local_path, open_source, safe_relative, sizes
from .speech import speech_seconds
from .spoken import WORDS_PER_SECOND

__all__ = [
    "ALRFormatError", "Audit", "SourceError", "add_row", "audit", "chain_of_thought", "check_setting", "load_alr", "statements", "training_rows",
    "written_verdict",
]

SPLITS = ("train", "dev", "test")
ALR_ROWS = {"train": 5_184, "dev": 606, "test": 656}
CLIPS = ("question_audio", "answer_audio")
FILES = ("question_file", "answer_file")
HUB_NAMES = {
    "user_content": "annotation_question", "answer": "annotation_answer", "question_file": "question_file_name", "answer_file": "answer_file_name",
}
FIELDS = {"id": str, "user_content": str, "answer": str, "label": int}
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
SETTINGS = ("audio-text", "text-text", "text-audio", "audio-audio")  # how the question comes, how the answer is given


class ALRFormatError(ValueError):
    """A row that is not in ALR's format; the message names file, line and id."""


def parse_row(line: bytes, where: str, names: dict[str, str] | None = None) -> dict:
    """One annotation line as a checked dict with ALR's four fields, and `question_file` and `answer_file` (None if the layout doesn't name them).

    `where` names file and line for the error; `names` says what a layout calls our fields.
    """
    names = names or {}
    try:
        row = json.loads(line.decode("utf-8"))
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
    if not SAFE_PART.fullmatch(row["id"]):
        raise ALRFormatError(f"{where}: an id is a file name and may hold letters, digits, '.', '_' and '-' only")
    if statements(row["user_content"]) is None:
        raise ALRFormatError(f'{where}: the question has no \'Major premise is "…". Minor premise is "…". Conclusion is "…".\'')
    return row


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
            raise ALRFormatError(f"{where}: {given!r} is no path inside the data set")
        return f"{split}/{given}"
    names = (f"{split}/{identifier}/{stem}{suffix}" for suffix in SUFFIXES)
    there = (lambda n: local_path(source, n).exists()) if source.cache is None else (lambda n: n in sizes(source, split))
    return next((name for name in names if there(name)), None)


def read_split(source: Source, split: str, audio: str | None = "question") -> list[dict]:
    """All rows of a split with the columns of `load_alr`; the audio columns hold paths below the source."""
    content, file, names = annotations(source, split)
    rows, seen = [], {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        row = parse_row(line, where, names)
        where, identifier = f"{where}, id {row['id']!r}", row["id"]
        if identifier in seen:
            raise ALRFormatError(f"{where}: the same id stands on line {seen[identifier]}")
        seen[identifier] = number
        # a missing clip is told when it is heard or audited
        question = audio and (clip_name(source, split, identifier, "question", row["question_file"], where) or f"{split}/{identifier}/question.wav")
        answer = clip_name(source, split, identifier, f"answer_{row['label']}", row["answer_file"], where) if audio == "both" else None
        major, minor, conclusion = statements(row["user_content"])
        rows.append({
            "id": identifier, "split": split, "question": row["user_content"], "major_premise": major, "minor_premise": minor, "conclusion": conclusion,
            "reasoning": row["answer"], "label": row["label"], "question_audio": question, "answer_audio": answer,
        })
    if not rows:
        raise ALRFormatError(f"{file}: holds no row")
    return rows


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
    audio, clip = checked(audio), folder / split / row["id"] / "question.wav"
    clip.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(clip, audio, sample_rate)
    with file.open("a", encoding="utf-8") as annotations:
        annotations.write(line + "\n")
    return clip


def load_alr(source: str | Path = "mini", split: str = "train", streaming: bool = False, audio: str | None = "question"):
    """ALR as a `datasets.Dataset` (an IterableDataset if `streaming`).

    `source`: "mini" (the spoken problems of this project), a folder or a zip in the published layout or in the hub's, or a hub id such as
    "SoundMind-RL/SoundMindDataset". `audio`: "question", "both" (answers too, None where there is no clip) or None. Clips that aren't local are fetched
    first, or one by one if `streaming`; what was fetched once stays. Columns: id, split, question, major_premise, minor_premise, conclusion, reasoning,
    label (1 entailed, 0 not-entailed), question_audio and answer_audio (paths or None).
    Raises ALRFormatError for a bad row, SourceError (an OSError) for files that aren't there or don't fit, and ValueError for a bad argument.
    """
    from datasets import Dataset, Features, IterableDataset, Value

    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
    if audio not in ("question", "both", None):
        raise ValueError(f"audio must be 'question', 'both' or None, got {audio!r}")
    place = open_source(ASSETS / "mini_alr" if source == "mini" else source)
    rows = read_split(place, split, audio)
    if source != "mini":
        tell_counts(place, split, len(rows))
    features = Features({name: Value("int64" if name == "label" else "string") for name in rows[0]})
    if streaming:
        return IterableDataset.from_generator(_with_clips, features=features, gen_kwargs={"source": place, "rows": rows})
    fetch_all(place, split, [row[name] for row in rows for name in CLIPS if row[name]])
    return Dataset.from_list(list(_with_clips(place, rows)), features=features)


def _with_clips(source: Source, rows: list[dict]):
    """The rows with local paths in their audio columns; a clip that isn't here yet is fetched when its row is reached."""
    for row in rows:
        yield row | {name: str(fetch(source, row[name])) for name in CLIPS if row[name]}


def check_setting(setting: str) -> str:
    """The setting itself, or ValueError with those there are."""
    if setting not in SETTINGS:
        raise ValueError(f"there is no setting {setting!r}; choose one of {', '.join(SETTINGS)}")
    return setting


def training_rows(rows, setting: str = "audio-text"):
    """The rows as TRL wants them: `prompt` with plain string content, `audio` (a path, None if the question comes as text), `label`,
    `reference_length` (words of the row's own reasoning) and `id`; where the answer is spoken also `reference_seconds`: seconds of speech in the row's
    answer clip, or, without one, its words at ALR's mean rate. Raises ValueError for an unknown setting, rows without sound, or a row without reasoning.
    """
    heard, spoken = check_setting(setting).startswith("audio"), setting.endswith("-audio")
    if heard and None in rows["question_audio"]:
        raise ValueError("these rows were loaded without sound; use load_alr(…, audio='question'), or the setting 'text-text'")
    return rows.map(
        lambda row: {
            "id": row["id"], "prompt": prompt(None if heard else row["question"]), "audio": row["question_audio"] if heard else None,
            "label": row["label"], "reference_length": reasoning_words(row),
            **({"reference_seconds": reference_seconds(row)} if spoken else {}),
        },
        remove_columns=rows.column_names,
    )


def reference_seconds(row: dict) -> float:
    """Seconds of speech of the row's own answer: detected in its clip, or its words at `WORDS_PER_SECOND` if it has none."""
    if row["answer_audio"] is None:
        return (reasoning_words(row) + 2) / WORDS_PER_SECOND  # and the two words of the answer
    if not (seconds := speech_seconds(load_audio(row["answer_audio"]), SAMPLE_RATE)):
        raise ALRFormatError(f"row {row['split']}/{row['id']}: no speech is detected in {row['answer_audio']}; leave the row out")
    return seconds


def reasoning_words(row: dict) -> int:
    """Words of the row's own reasoning, the reference of the length reward; ALRFormatError if there are none."""
    if not (words := len(chain_of_thought(row["reasoning"]).split())):
        raise ALRFormatError(f"row {row['split']}/{row['id']}: the answer holds no reasoning, so there is no length to compare with; leave the row out")
    return words
