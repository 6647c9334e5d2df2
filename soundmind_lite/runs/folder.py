"""The folder of a run: what may start or resume in it, and what is complete when it stops.

It holds `run.json` (what the run is), `result.json`, `metrics.jsonl` (a line a step),
`completions.jsonl` (a line a sampled completion), `answers.jsonl` (a line a test answer, as it
comes), `before.json` and `after.json` (the greedy answers), `skipped.json` (rows left out, if any),
`curves.png`, `adapter/` and `checkpoint-N/`.
"""

import os
import time
import warnings
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from accelerate.utils import broadcast_object_list
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from ..evaluation import Answer
from ..grpo import ROLLOUTS
from ..profiles import Profile
from . import report
from .answers import AnswerLog
from .checkpoints import CLOCK, complete_checkpoints, keep_newest, last_complete, step_of
from .files import FACTS, RESULT, RunError, keep_steps, read_json, write_json
from .guards import reward_name
from .log import METRICS, RunLog, breakdown
from .measuring import Measurement
from .process_memory import peak_memory_mb
from .processes import processes
from .rows import RunRows
from .sharding import is_sharded
from .starting import check_folder, check_rows, claimed, remove_unused, sizes_of

SKIPPED = "skipped.json"


class RunFolder:
    """The folder of one run, as a context: within it no other process can write the run.

    On entering: RunError if another run is there, or nothing can be written. On leaving with an
    error: the error gets a note of what is complete, and a folder in which nothing was begun goes.
    """

    def __init__(
        self,
        path: str | Path,
        profile: Profile,
        settings: dict,
        *,
        reward_funcs=(),
        resume: bool = False,
    ):
        self.path = Path(path)
        self.resume = resume
        self.facts = {"profile": profile.name, **settings}
        self.facts["rewards"] = [reward_name(reward) for reward in reward_funcs]
        self.facts |= sizes_of(profile)
        self.checkpoint: Path | None = None  # that the run resumes from
        self.rows: RunRows | None = None
        self.log: RunLog | None = None
        self.answers = AnswerLog(self.path / "answers.jsonl")
        self._claim = ExitStack()
        self._existed = os.path.exists(self.path)
        self._resumable = False

    def __enter__(self) -> "RunFolder":
        with ExitStack() as claim:  # which is dropped again if anything here fails
            found = [None]
            if processes().is_main_process:
                check_folder(self.path, self.resume, self.facts)
                claim.enter_context(claimed(self.path))
                # again, since another process may have written the run until now
                found = [check_folder(self.path, self.resume, self.facts)]
            self.checkpoint = broadcast_object_list(found)[0]
            self.log = RunLog(self.path, time.time() - seconds_until(self.path, self.checkpoint))
            self._claim = claim.pop_all()
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None and processes().is_main_process:
            if self._resumable:
                error.add_note(what_is_complete(self.path))
            elif not self._existed:
                remove_unused(self.path)
        self._claim.close()

    def begin(self, rows: RunRows, voice=None) -> None:
        """Writes what the run is and which rows it leaves out, and drops what was logged after the
        step that it resumes from. RunError if it began with other rows."""
        self.rows = rows
        state = processes()
        if state.is_main_process:
            check_rows(self.path, rows.fingerprint)
            voice_name = {"voice": voice.name} if voice else {}
            facts = self.facts | {"rows": rows.fingerprint} | voice_name
            write_json(self.path / FACTS, facts)
            if rows.skipped:
                write_json(self.path / SKIPPED, rows.skipped)
            keep_newest(self.path, complete_only=True)
            for name in (METRICS, ROLLOUTS):
                keep_steps(self.path / name, step_of(self.checkpoint))
            self.answers.keep(step_of(self.checkpoint))
        self._resumable = True
        state.wait_for_everyone()

    def saved(self, name: str) -> Measurement | None:
        """The measurement of that name, if the run made it before it was stopped."""
        file = self.path / f"{name}.json"
        if not file.exists():
            return None
        saved = read_json(file, "summary", "answers")
        return Measurement(saved["summary"], [Answer(**answer) for answer in saved["answers"]])

    def save(self, name: str, measured: Measurement) -> None:
        """Writes the measurement, if there is one, with every greedy answer."""
        if measured.summary and processes().is_main_process:
            answers = [vars(answer) for answer in measured.answers]
            contents = {"summary": measured.summary, "answers": answers}
            write_json(self.path / f"{name}.json", contents)

    def train(self, trainer, *, until: int | None = None) -> None:
        """Trains to the last step, or until an earlier one, from the last checkpoint on."""
        steps, checkpoint = until or self.facts["steps"], self.checkpoint
        trainer.args.max_steps = steps
        if step_of(checkpoint) < steps:
            with self.log.stoppable():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            if self.log.stop_asked:
                raise KeyboardInterrupt
        elif not is_sharded():  # all steps were done before; the Trainer would take one more
            weights = load_file(checkpoint / "adapter_model.safetensors")
            set_peft_model_state_dict(trainer.model, weights)
        if until is not None:
            self.checkpoint = last_complete(self.path)  # from which the next call continues

    def finish(
        self, *, before: Measurement, after: Measurement, swapped: Measurement, paired_p: float
    ) -> dict:
        """Writes and prints the result and returns it; what wasn't measured is None in it."""
        self._check_unchanged()
        seconds = round(time.time() - self.log.started, 1)
        measured = [before.summary, after.summary, swapped.summary]
        summaries = [summary for summary in measured if summary]
        names = ("profile", "seed", "algorithm", "steps", "sizes")
        result = {name: self.facts[name] for name in names if name in self.facts}
        result |= {
            "seconds": seconds,
            "breakdown": breakdown(self.path, seconds, summaries),
            "peak_memory_mb": round(peak_memory_mb()),
            "skipped_rows": len(self.rows.skipped),
            "before": before.summary,
            "after": after.summary,
            "paired_p": paired_p if before.summary else None,
            "swapped_audio": swapped.summary,
        }
        if processes().is_main_process:
            self.answers.join()
            write_json(self.path / RESULT, result)
            self._resumable = False
            print(report.side_by_side(list(self.rows.test), before.answers, after.answers))
            print(report.table(result))
            self._draw(result)
        return result

    def _draw(self, result: dict) -> None:
        """The curves; the run is complete without them."""
        try:
            report.curves(self.path / METRICS, self.path / "curves.png", result)
        except Exception as error:
            warnings.warn(f"the run is complete, but curves.png isn't drawn: {error}", stacklevel=2)

    def _check_unchanged(self) -> None:
        """RunError if a row or clip is not what it was at the beginning. Nobody can tell then what
        the run learned from, so it can't be resumed either."""
        unchanged = [self.rows.is_unchanged() if processes().is_main_process else None]
        if broadcast_object_list(unchanged)[0]:
            return
        self._resumable = False
        if processes().is_main_process:
            facts = read_json(self.path / FACTS)
            facts["rows"] = "changed during the run"
            write_json(self.path / FACTS, facts)
        what = "rows or clips changed during the run, so before and after don't compare"
        raise RunError(f"{self.path}: {what}; start a new run in another output_dir")


def seconds_until(path: Path, checkpoint: Path | None) -> float:
    """The seconds that a run took for what it resumes from: a checkpoint, else the measurement
    before training, else nothing."""
    if checkpoint:
        return read_json(checkpoint / CLOCK, "seconds")["seconds"]
    before = path / "before.json"
    if not before.exists():
        return 0.0
    return read_json(before, "summary", "answers")["summary"]["seconds"]


def what_is_complete(path: Path) -> str:
    """What a stopped run can be resumed from."""
    complete = complete_checkpoints(path)
    if complete:
        return f"{complete[-1].name} is complete: resume=True continues from it"
    return "No checkpoint is complete yet: resume=True trains from the beginning"


def new_folder(path: str | Path) -> Path:
    """The path itself, or the first of `path-2`, `path-3`, … that doesn't exist yet, so that a
    cell can be run twice."""
    return next(folder for folder in _numbered(Path(path)) if not folder.exists())


def unfinished(path: str | Path) -> Path:
    """The path itself, or the first of `path-2`, … without a finished run: where a run that was
    stopped is resumed, and a new one begins."""
    return next(folder for folder in _numbered(Path(path)) if not (folder / RESULT).exists())


def _numbered(path: Path):
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def read_result(run: str | Path) -> dict:
    """The result of a finished run; RunError, which says what it is instead, if it isn't one."""
    run = Path(run)
    file = run / RESULT
    if not run.exists():
        raise RunError(f"{run}: there is no such folder; give the folder of a run")
    if not file.is_file() and (run / "config.json").is_file():
        raise RunError(f"{run} holds a model, and no run; give it as model={str(run)!r}")
    if not file.is_file():
        remedy = "give the folder that a finished run has written"
        if (run / FACTS).is_file():
            remedy = "train it to its end: resume=True"
            complete = complete_checkpoints(run)
            remedy += f", or evaluate {complete[-1]}" if complete else ""
        raise RunError(f"{run} holds no finished run (no {RESULT}); {remedy}")
    return read_json(file, "profile", "algorithm", "steps", "seed", "before", "after")
