"""Every answer of an evaluation, written as it comes, so that a stop costs one batch."""

import json
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from glob import escape
from pathlib import Path

from accelerate.utils import gather_object

from ..evaluation import Answer, answer_rows
from .files import keep_steps
from .processes import processes, share
from .report import read_lines


class AnswerLog:
    """A line for each answer; each process writes a file of its own beside `path`.

    A line holds `what` was measured, the training `step` and the `index` of the row.
    """

    def __init__(self, path: Path):
        self.path = path
        rank = processes().process_index
        self.own = path.with_stem(f"{path.stem}-{rank}") if rank else path

    def beside(self) -> "AnswerLog":
        """The log of a process beside this one: it knows the same answers, and writes a file of its
        own."""
        other = AnswerLog(self.path)
        other.own = self.path.with_stem(f"{self.own.stem}-beside")
        return other

    def files(self) -> list[Path]:
        """The files of all processes, also of an earlier start with more of them."""
        return sorted(self.path.parent.glob(f"{escape(self.path.stem)}*{self.path.suffix}"))

    def known(self, what: str) -> dict[int, Answer]:
        """The answers that are there, by the index of their row."""
        answers, names = {}, [field.name for field in fields(Answer)]
        for file in self.files():
            for line in read_lines(file):
                if line["what"] == what:
                    answers[line["index"]] = Answer(**{name: line[name] for name in names})
        return answers

    def add(self, what: str, step: int, answers: dict[int, Answer]) -> None:
        """Appends the answers of a batch."""
        facts = {"what": what, "step": step}
        lines = [facts | {"index": i} | vars(answer) for i, answer in answers.items()]
        with self.own.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def join(self) -> None:
        """Brings the answers of all processes into one file; for the main process alone."""
        for file in self.files():
            if file != self.path:
                with self.path.open("a", encoding="utf-8") as together:
                    together.write(file.read_text(encoding="utf-8"))
                file.unlink()

    def keep(self, last_step: int) -> None:
        """Drops what was measured after a step, and a truncated last line."""
        for file in self.files():
            keep_steps(file, last_step)


def answered(
    model, rows, log: AnswerLog, what: str, *, step: int = 0, only: Sequence[int], **options
) -> dict[int, Answer]:
    """The model's answers to the rows with the indices `only`, by index; the processes share them,
    and all get all.

    Answers in the log aren't asked for again; others are written to it batch by batch, as `what` of
    a `step`. `options` are those of `evaluation.answer_rows`.
    """
    # of all processes, whose logs may lie in different folders; none writes until all have read
    known = dict(gather_object(list(log.known(what).items())))
    missing = share([i for i in only if i not in known])
    # what is continued doesn't repeat its random numbers
    options |= {"seed": len(known), "on_answers": partial(log.add, what, step)}
    new = answer_rows(model, rows, only=missing, **options) if missing else []
    known |= dict(gather_object(list(zip(missing, new))))
    return {i: known[i] for i in only}
