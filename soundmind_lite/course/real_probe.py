"""A first look at Qwen2.5-Omni: a few questions of ALR's dev split, before any training.

The answers are kept in a file for each profile, so that a reader without a GPU sees those that
somebody else measured. As long as nobody has, there is no file, and nothing is shown.
"""

import json
import time
from pathlib import Path

import torch
from IPython.display import HTML

from .. import data, evaluation, models, profiles
from ..profiles import ASSETS, PROFILES, Profile
from ..prompts import VERDICTS
from ..runs import report
from ..scale import doctor
from . import show

FOLDER = ASSETS / "runs" / "real" / "probe"
SHOWN = 300  # characters of a completion, from its end, where the verdict is


def is_real(profile: Profile) -> bool:
    """Whether a profile asks another model than tiny_omni."""
    return profile.model != PROFILES["tiny"].model


def here(profile: Profile, model, processor, *, questions: int = 8, folder: Path = FOLDER) -> str:
    """Probes Qwen2.5-Omni if this machine can, and says in a line what happened.

    `profile`, `model` and `processor` are those of the lesson, and are taken if they are already
    real; if not, the largest profile that fits the machine is loaded. Answers that are already in
    `folder` aren't computed again.
    """
    loaded = (model, processor)
    if not is_real(profile):
        profile, loaded = profiles.get(doctor.best_profile()), None
    if not is_real(profile):
        return "Not run here: no GPU that a profile of Qwen2.5-Omni fits."
    if (folder / f"{profile.name}.json").exists():
        return f"Not run again: the answers of profile {profile.name} are already saved."
    started = time.perf_counter()
    try:
        answers = ask(profile, questions=questions, loaded=loaded)
    except OSError as error:  # no network, or not the files that are needed
        return f"Not run here: {error}"
    file = save(profile, answers, seconds=time.perf_counter() - started, folder=folder)
    return f"Run here with profile {profile.name}; the answers are in {file.name}."


def ask(profile: Profile, *, questions: int = 8, loaded=None) -> list[dict]:
    """A model's greedy answers to some dev questions, each with its question and label.

    `loaded` is `(model, processor)` if they are there already. Raises OSError, in one line, if
    model or data can't be had.
    """
    model, processor = loaded or models.load(profile)
    dev = data.load_alr(profile.data, "dev", max_rows=questions)
    answers = evaluation.answer_rows(
        model, dev, processing_class=processor, profile=profile, progress=profile.name
    )
    rows = zip(dev["question"], dev["label"], answers)
    return [{"question": text, "label": label, **vars(answer)} for text, label, answer in rows]


def save(profile: Profile, answers: list[dict], *, seconds: float, folder: Path = FOLDER) -> Path:
    """Writes the answers and where they are from; returns the file, named after the profile."""
    facts = {
        "profile": profile.name,
        "model": profile.model,
        "data": profile.data,
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU",
        "versions": {name: doctor.installed(name) for name in ("torch", "transformers")},
        "seconds": round(seconds, 1),  # loading included
        "answers": answers,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{profile.name}.json"
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    return file


def saved(folder: Path = FOLDER) -> list[dict]:
    """The probes that were saved, each with its facts and answers."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def table(folder: Path = FOLDER) -> HTML:
    """The saved answers as tables, or one that says "not run"."""
    probes = saved(folder)
    if not probes:
        missing = [
            {"model": Path(model).name, "answers": "not run"}
            for model in (profiles.OMNI_3B, profiles.OMNI_7B)
        ]
        return show.table(missing, "Qwen2.5-Omni before training, dev questions of ALR")
    return HTML("".join(_table(found).data for found in probes))


def _table(found: dict) -> HTML:
    rows, answers = [], []
    for line in found["answers"]:
        answer = evaluation.Answer(**{k: line[k] for k in evaluation.Answer.__dataclass_fields__})
        answers.append(answer)
        end = answer.completion[-SHOWN:]
        row = {
            "dev": answer.id,
            "label": VERDICTS[line["label"]],
            "right": "yes" if answer.correct else "no",
            "format": "yes" if answer.format else "no",
            "completion": f"…{end}" if len(answer.completion) > SHOWN else end,
        }
        rows.append(row)
    right = report.interval(evaluation.summary(answers))
    where = f"{found['device']}, {found['seconds']:.0f} s"
    what = f"{Path(found['model']).name} on dev questions of {Path(found['data']).name}"
    caption = f"{what} (profile {found['profile']}, {where}): {right} right"
    return show.table(rows, caption)
