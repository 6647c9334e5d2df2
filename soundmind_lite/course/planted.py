"""A small set of rows with planted faults, for the audit exercise of notebook 01. Everything in it comes from mini_alr."""
import json
import shutil
from pathlib import Path

from .. import data
from ..prompts import VERDICTS

FAULTS = {  # what was planted where; look only after the exercise
    "conflicts": ["0003", "0008"], "duplicates": ["0005", "0011"], "bad_audio": ["0002", "0009"],
}


def plant(folder: str | Path) -> Path:
    """Writes twelve rows of mini_alr's dev split with planted faults to `folder`, in the published layout; returns the folder."""
    import numpy as np
    import soundfile

    folder = Path(folder)
    rows = [dict(row) for row in data.load_alr("mini", "dev").select(range(12))]
    (first, second), (broken, lost) = FAULTS["duplicates"], FAULTS["bad_audio"]
    place = {row["id"]: i for i, row in enumerate(rows)}
    rows[place[second]] |= {name: rows[place[first]][name] for name in ("question", "reasoning", "label", "question_audio")}
    shutil.rmtree(folder / "dev", ignore_errors=True)
    lines = []
    for row in rows:
        answer = row["reasoning"]
        if row["id"] in FAULTS["conflicts"]:  # the last line contradicts the label, as in 64 rows of the real data
            answer = f"{data.chain_of_thought(answer)}\n\nAnswer: {VERDICTS[1 - row['label']]}."
        lines.append(json.dumps(dict(id=row["id"], user_content=row["question"], answer=answer, label=row["label"])))
        clip = folder / "dev" / row["id"] / Path(row["question_audio"]).name
        clip.parent.mkdir(parents=True)
        if row["id"] == broken:  # a damaged clip, as a recorder that lost its device leaves it
            soundfile.write(clip.with_suffix(".wav"), np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
        elif row["id"] != lost:
            shutil.copy(row["question_audio"], clip)
    (folder / "dev.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
