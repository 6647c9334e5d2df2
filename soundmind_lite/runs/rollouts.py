"""completions.jsonl: a line for each sampled completion of one training, and its group."""

import json
from pathlib import Path

from transformers import TrainerCallback

from .files import RunError


class RolloutFile(TrainerCallback):
    """Appends the rollouts of a training to a file, by step and group.

    An id names a group if its row comes once in a step. Where it comes again, rows share it, or
    there is none, its lines get `group`, too: the number of their group within the step, from 1.

    Raises RunError, before anything is sampled, if the file holds steps after the one from which
    training starts: two trainings would become one.
    """

    def __init__(self, file: Path):
        self.file = file
        self._step = 0
        self._ids: list = []  # of the groups of this step, in their order

    def on_train_begin(self, args, state, control, **_):
        self._step = 0
        check_continues(self.file, state.global_step)

    def write(self, records: list[dict], num_generations: int) -> None:
        """Appends the records of a generation, groups of `num_generations` side by side. Each has
        `step` and `id` first."""
        step = records[0]["step"]
        if step != self._step:  # a step may have several generations
            self._step = step
            self._ids = []
        first = len(self._ids) + 1
        self._ids += [record["id"] for record in records[::num_generations]]
        with self.file.open("a", encoding="utf-8") as file:
            for position, record in enumerate(records):
                group = first + position // num_generations
                if self._ids.count(record["id"]) > 1:
                    record = {"step": step, "id": record["id"], "group": group, **record}
                file.write(json.dumps(record) + "\n")


def check_continues(file: Path, step: int) -> None:
    """RunError if the file holds rollouts after this step, from which a training starts."""
    if not file.exists():
        return
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                found = json.loads(line)["step"]
            except (ValueError, KeyError, TypeError) as error:
                remedy = "fix or delete it"
                raise RunError(f"{file}, line {number} is damaged; {remedy}") from error
            if found > step:
                raise RunError(f"{file} holds step {found}, and {_clash(file, step)}")


def _clash(file: Path, step: int) -> str:
    elsewhere = "choose another output_dir (runs.folder.new_folder finds one)"
    if step == 0:
        remedy = "resume it: trainer.train(resume_from_checkpoint=True)"
        return f"this training begins anew; {elsewhere}, or {remedy}"
    remedy = f"drop what comes later: runs.files.keep_steps(Path({str(file)!r}), {step})"
    return f"this training resumes after step {step}; {elsewhere}, or {remedy}"
