"""A small ALR in each of its layouts, as a folder, a zip, or the files of a hub data set."""

import io
import json
import shutil
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import soundfile

QUESTION = 'Major premise is "{}". Minor premise is "b". Conclusion is "c".'
COUNTS = {"train": 5, "dev": 3, "test": 2}
ROWS = {  # split → (id, label)
    split: [(f"{i:04}", i % 2) for i in range(1, count + 1)] for split, count in COUNTS.items()
}
LAYOUTS = ("published", "hub")


def nearly_full_disk(monkeypatch) -> None:
    """Leaves 1.0 GB free on every disk, just what must stay free."""
    usage = namedtuple("usage", "total used free")(1, 1, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def texts(identifier: str, label: int) -> tuple[str, str]:
    """Question and answer of a row."""
    verdict = ("not entailed", "entailed")[label]
    return QUESTION.format(f"a{identifier}"), f"Because.\n\nAnswer: {verdict}."


def hub_row(row: dict) -> dict:
    """A row of the published layout as the hub's layout has it."""
    return {
        "id": row["id"],
        "question_file_name": f"{row['id']}/question.wav",
        "answer_file_name": f"{row['id']}/answer_{row['label']}.wav",
        "label": row["label"],
        "annotation_question": row["user_content"],
        "annotation_answer": row["answer"],
    }


def json_lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def wav(samples: int, value: float = 0.1) -> bytes:
    """A clip of so many equal samples at 16 kHz."""
    file = io.BytesIO()
    soundfile.write(file, np.full(samples, value), 16_000, format="WAV")
    return file.getvalue()


def files(layout: str, value: float = 0.1) -> dict[str, bytes]:
    """All files of the small ALR by their paths; row n of a split has 1600 + n samples."""
    content = {}
    for split, rows in ROWS.items():
        lines = []
        for number, (identifier, label) in enumerate(rows):
            question, answer = texts(identifier, label)
            row = {"id": identifier, "user_content": question, "answer": answer, "label": label}
            lines.append(hub_row(row) if layout == "hub" else row)
            folder = f"{split}/{identifier}"
            content[f"{folder}/question.wav"] = wav(1600 + number, value)
            content[f"{folder}/answer_{label}.wav"] = wav(3200 + number, value)
        name = f"{split}/metadata.jsonl" if layout == "hub" else f"{split}.jsonl"
        content[name] = json_lines(lines)
    return content


def folder(root: Path, layout: str) -> Path:
    for name, content in files(layout).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def archive(path: Path, layout: str, top: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    """A zip; its files lie below `top`, if that is given."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in sorted(files(layout).items()):
            file.writestr(str(Path(top) / name), content)
    return path
