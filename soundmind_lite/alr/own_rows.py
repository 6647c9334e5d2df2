"""Rows of your own: written to a folder in the published layout, which `load_alr` reads."""

import json
from numbers import Integral
from pathlib import Path

import numpy as np

from ..audio import MIN_SECONDS, AudioError, checked
from ..data import SPLITS, ALRFormatError
from .bad_rows import BadRows
from .further import FurtherFields
from .layout import parse_row, read_split
from .rows import label_of
from .sources import Folder


def add_row(folder: str | Path, row: dict, *, split: str, audio, sample_rate: int) -> Path:
    """Adds a row and its spoken question to a folder; returns the path of the clip.

    `row` has ALR's fields `id`, `user_content`, `answer` and `label`; `audio` is a mono array with
    samples in [-1, 1] at `sample_rate` Hz. Nothing is written if either is refused: raises
    ALRFormatError for a row out of format or an id that the split already has, AudioError for an
    array that is no clip, ValueError for an unknown split.
    """
    import soundfile

    folder = Path(folder)
    file = folder / f"{split}.jsonl"
    where = f"{file}, new row"
    if "label" in row:
        row = {**row, "label": label_of(row["label"], f"{where}, id {row.get('id', 'missing')!r}")}
    try:
        line = json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ALRFormatError(f"{where}: can't be written as JSON ({error!s:.100})") from error
    further = parse_row(line.encode(), where)["further"]
    if split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; choose one of {', '.join(SPLITS)}")
    if file.exists():
        there = read_split(Folder(str(folder)), split, audio=None, bad=BadRows())
        if row["id"] in {other["id"] for other in there}:
            raise ALRFormatError(f"{file}: the id {row['id']!r} is taken; choose another")
        fields = FurtherFields()
        for other in there:
            fields.of(other, f"row {other['id']}")
        fields.of(further, where)
    audio = checked(audio)
    whole = isinstance(sample_rate, Integral) and sample_rate >= 1
    if not whole or len(audio) < MIN_SECONDS * sample_rate:
        what = f"{len(audio)} samples at {sample_rate!r} Hz are no clip"
        remedy = f"give a whole number of Hz, and at least {MIN_SECONDS} s"
        raise AudioError(f"{what}; {remedy}")
    largest = np.abs(audio).max()
    if largest > 1:
        what = f"the largest sample is {largest:.3g} and full scale is 1"
        raise AudioError(f"{what}; the file would hold it clipped, so scale it first")
    clip = folder / split / row["id"] / "question.wav"
    clip.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(clip, audio, sample_rate)
    with file.open("a+b") as annotations:
        if annotations.tell() and not file.read_bytes().endswith(b"\n"):
            annotations.write(b"\n")  # a file written by hand may lack its last line end
        annotations.write(line.encode() + b"\n")
    return clip
