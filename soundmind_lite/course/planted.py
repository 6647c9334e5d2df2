"""Planted faults: rows of mini_alr for the audit of notebook 01, losses for notebook 04.

Look only after the exercise.
"""

import json
import shutil
from pathlib import Path

import torch

from .. import data
from ..prompts import VERDICTS, chain_of_thought
from .loss_parts import clipped_objective, group_advantages, low_variance_kl, token_mean

FAULTS = {  # the ids of the rows with each fault
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


def losses() -> dict:
    """Four versions of `loss_parts.grpo_loss`, by letter: the same arguments, one fault each."""
    return {"A": _loss_a, "B": _loss_b, "C": _loss_c, "D": _loss_d}


def _advantages(given: dict) -> torch.Tensor:
    return group_advantages(given["rewards"], given["num_generations"])[:, None]


def _ratio(given: dict) -> torch.Tensor:
    return torch.exp(given["log_probs"] - given["old_log_probs"])


def _penalty(given: dict) -> torch.Tensor:
    kl = low_variance_kl(given["log_probs"], given["reference_log_probs"])
    return given["beta"] * kl * _ratio(given)


def _token_losses(given: dict) -> torch.Tensor:
    objective = clipped_objective(_ratio(given), _advantages(given), given.get("epsilon", 0.2))
    return -objective + _penalty(given)


def _loss_a(**given) -> torch.Tensor:
    groups = given["rewards"].view(-1, given["num_generations"])
    centred = (groups - groups.mean(1, keepdim=True)).flatten()
    advantages = (centred / (given["rewards"].std() + 1e-4))[:, None]
    objective = clipped_objective(_ratio(given), advantages, given.get("epsilon", 0.2))
    return token_mean(-objective + _penalty(given), given["mask"])


def _loss_b(**given) -> torch.Tensor:
    return _token_losses(given).mean()


def _loss_c(**given) -> torch.Tensor:
    return token_mean(_token_losses(given) - 2 * _penalty(given), given["mask"])


def _loss_d(**given) -> torch.Tensor:
    objective = _ratio(given) * _advantages(given)
    return token_mean(-objective + _penalty(given), given["mask"])
