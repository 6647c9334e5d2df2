"""Rows of mini_alr with planted faults, for the audit exercise of notebook 01."""

import json
import shutil
from pathlib import Path

from .. import data
from ..prompts import VERDICTS, chain_of_thought

FAULTS = {  # the ids of the rows with each fault; look only after the exercise
    "conflicts": ["0003", "0008"],
    "duplicates": ["0005", "0011"],
    "bad_audio": ["0002", "0009"],
}


def plant(folder: str | Path) -> Path:
    """Writes twelve rows of mini_alr's dev split with planted faults to `folder`; returns it.

    The folder is in the published layout; its dev split is replaced.
    """
    import numpy as np
    import soundfile

    folder = Path(folder)
    rows = [dict(row) for row in data.load_alr("mini", "dev").select(range(12))]
    index = {row["id"]: i for i, row in enumerate(rows)}
    first, second = FAULTS["duplicates"]
    for column in ("question", "reasoning", "label", "question_audio"):
        rows[index[second]][column] = rows[index[first]][column]
    broken, lost = FAULTS["bad_audio"]
    shutil.rmtree(folder / "dev", ignore_errors=True)
    lines = []
    for row in rows:
        answer = row["reasoning"]
        if row["id"] in FAULTS["conflicts"]:  # the last line contradicts the label
            answer = f"{chain_of_thought(answer)}\n\nAnswer: {VERDICTS[1 - row['label']]}."
        line = {
            "id": row["id"],
            "user_content": row["question"],
            "answer": answer,
            "label": row["label"],
        }
        lines.append(json.dumps(line))
        clip = folder / "dev" / row["id"] / Path(row["question_audio"]).name
        clip.parent.mkdir(parents=True)
        if row["id"] == broken:  # as a recorder that lost its device leaves it
            silence = np.full(16_000, np.nan, np.float32)
            soundfile.write(clip.with_suffix(".wav"), silence, 16_000, subtype="FLOAT")
        elif row["id"] != lost:
            shutil.copy(row["question_audio"], clip)
    (folder / "dev.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
