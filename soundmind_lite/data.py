"""Loads ALR rows, from the small world or from a folder in the published layout, and audits them.

Published layout: `{split}.jsonl` with a row a line (`id`, `user_content`, `answer`, `label`), and `{split}/{id}/question.wav` and
`{split}/{id}/answer_{label}.wav`. Sound may also be FLAC, OGG or MP3. The label is the truth; it is never read from the text.
"""
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from .audio import SAMPLE_RATE, AudioError, checked, load_audio
from .profiles import ASSETS
from .prompts import VERDICTS, prompt

SPLITS = ("train", "dev", "test")
FIELDS = {"id": str, "user_content": str, "answer": str, "label": int}
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
WRITTEN_ANSWER = re.compile(r"Answer: *(not[- ]entailed|entailed)\b", re.IGNORECASE | re.ASCII)
LAST_ANSWER = re.compile(WRITTEN_ANSWER.pattern + r"\.?\s*\Z", re.IGNORECASE | re.ASCII)
SETTINGS = ("audio-text", "text-text")
LONGEST_CLIP = 300.0  # seconds; what the 7B's processor takes before it cuts


class ALRFormatError(ValueError):
    """A row that is not in ALR's format; the message names file, line and id."""


def parse_row(line: bytes, where: str) -> dict:
    """One annotation line as a checked dict. `where` names file and line for the error."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ALRFormatError(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ALRFormatError(f"{where}: not JSON ({error!s:.100})") from error
    if not isinstance(row, dict):
        raise ALRFormatError(f"{where}: expected an object with the fields {', '.join(FIELDS)}, got {type(row).__name__}")
    where = f"{where}, id {row.get('id', 'missing')!r}"
    for name, kind in FIELDS.items():
        if name not in row:
            raise ALRFormatError(f"{where}: the field {name!r} is missing")
        if not isinstance(row[name], kind) or isinstance(row[name], bool):
            raise ALRFormatError(f"{where}: {name!r} must be of type {kind.__name__}, got {row[name]!r:.80}")
        if kind is str and any("\ud800" <= character <= "\udfff" for character in row[name]):
            raise ALRFormatError(f"{where}: {name!r} holds half of a Unicode pair, which no file can store")
    if row["label"] not in (0, 1):
        raise ALRFormatError(f"{where}: label must be 1 (entailed) or 0 (not-entailed), got {row['label']}")
    if not SAFE_ID.fullmatch(row["id"]):
        raise ALRFormatError(f"{where}: an id is a file name and may hold letters, digits, '.', '_' and '-' only")
    if statements(row["user_content"]) is None:
        raise ALRFormatError(f'{where}: the question has no \'Major premise is "…". Minor premise is "…". Conclusion is "…".\'')
    return row


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


def find_clip(folder: Path, stem: str) -> Path | None:
    """The path of `stem` with the first known sound suffix that exists in `folder`."""
    return next((path for s in SUFFIXES if (path := folder / (stem + s)).exists()), None)


def read_split(folder: Path, split: str, audio: str | None = "question") -> list[dict]:
    """All rows of a split of a published-layout folder, with the columns of `load_alr`."""
    file = folder / f"{split}.jsonl"
    if not file.is_file():
        raise ALRFormatError(f"{file}: no such file; expected {', '.join(f'{s}.jsonl' for s in SPLITS)} in {folder}")
    rows, seen = [], {}
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        row = parse_row(line, where)
        if row["id"] in seen:
            raise ALRFormatError(f"{where}, id {row['id']!r}: the same id stands on line {seen[row['id']]}")
        seen[row["id"]] = number
        clips = folder / split / row["id"]
        question_audio = find_clip(clips, "question") or clips / "question.wav"  # a missing clip is told when it is heard or audited
        answer_audio = find_clip(clips, f"answer_{row['label']}")
        major, minor, conclusion = statements(row["user_content"])
        rows.append({
            "id": row["id"], "split": split, "question": row["user_content"],
            "major_premise": major, "minor_premise": minor, "conclusion": conclusion,
            "reasoning": row["answer"], "label": row["label"],
            "question_audio": str(question_audio) if audio else None,
            "answer_audio": str(answer_audio) if audio == "both" and answer_audio else None,
        })
    if not rows:
        raise ALRFormatError(f"{file}: holds no row")
    return rows


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
    if file.exists() and row["id"] in {r["id"] for r in read_split(folder, split, audio=None)}:
        raise ALRFormatError(f"{file}: the id {row['id']!r} is taken; choose another")
    audio, clip = checked(audio), folder / split / row["id"] / "question.wav"
    clip.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(clip, audio, sample_rate)
    with file.open("a", encoding="utf-8") as annotations:
        annotations.write(line + "\n")
    return clip


def load_alr(source: str | Path = "mini", split: str = "train", streaming: bool = False, audio: str | None = "question"):
    """ALR as a `datasets.Dataset` (an IterableDataset if `streaming`).

    `source`: "mini" (the spoken problems of this project) or a folder in the published layout. `audio`: "question", "both" (answers
    too, None where there is no clip) or None. Columns: id, split, question, major_premise, minor_premise, conclusion, reasoning,
    label (1 entailed, 0 not-entailed), question_audio and answer_audio (paths or None).
    Raises ALRFormatError for a bad row and ValueError for a bad argument.
    """
    from datasets import Dataset, Features, Value

    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
    if audio not in ("question", "both", None):
        raise ValueError(f"audio must be 'question', 'both' or None, got {audio!r}")
    folder = ASSETS / "mini_alr" if source == "mini" else Path(source)
    if not folder.is_dir():
        raise ValueError(f"{str(source)!r} is neither 'mini' nor a folder; download ALR first and give its folder")
    rows = read_split(folder, split, audio)
    features = Features({name: Value("int64" if name == "label" else "string") for name in rows[0]})
    dataset = Dataset.from_list(rows, features=features)
    return dataset.to_iterable_dataset() if streaming else dataset


def check_setting(setting: str) -> str:
    """The setting itself, or ValueError with those there are."""
    if setting not in SETTINGS:
        raise ValueError(f"there is no setting {setting!r}; choose one of {', '.join(SETTINGS)}")
    return setting


def training_rows(rows, setting: str = "audio-text"):
    """The rows as TRL wants them: `prompt` with plain string content, `audio` (a path, None in text settings), `label`,
    `reference_length` (words of the row's own reasoning) and `id`. Raises ValueError for an unknown setting, rows without sound,
    or a row without reasoning.
    """
    heard = check_setting(setting).startswith("audio")
    if heard and None in rows["question_audio"]:
        raise ValueError("these rows were loaded without sound; use load_alr(…, audio='question'), or the setting 'text-text'")
    return rows.map(
        lambda row: {
            "id": row["id"], "prompt": prompt(None if heard else row["question"]), "audio": row["question_audio"] if heard else None,
            "label": row["label"], "reference_length": reasoning_words(row),
        },
        remove_columns=rows.column_names,
    )


def reasoning_words(row: dict) -> int:
    """Words of the row's own reasoning, the reference of the length reward; ALRFormatError if there are none."""
    if not (words := len(chain_of_thought(row["reasoning"]).split())):
        raise ALRFormatError(f"row {row['split']}/{row['id']}: the answer holds no reasoning, so there is no length to compare with; leave the row out")
    return words


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
