"""The folder of a run: what may start or resume in it, and what is complete when it stops.

It holds `run.json` (what the run is), `result.json`, `metrics.jsonl` (a line a step),
`completions.jsonl` (a line a sampled completion), `before.json` and `after.json` (every test
answer), `skipped.json` (rows left out, if any), `curves.png`, `adapter/` and `checkpoint-N/`.
"""

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from accelerate.utils import DistributedType, broadcast_object_list
from filelock import FileLock, Timeout
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from ..evaluation import Answer
from ..grpo import ROLLOUTS
from ..profiles import PROFILES, Profile
from ..speech.talker import Talker
from . import report
from .checkpoints import CLOCK, complete_checkpoints, keep_newest, last_complete, step_of
from .files import RunError, check_writable, keep_steps, read_json, write_json
from .guards import reward_name
from .log import METRICS, RunLog, breakdown
from .measuring import Measurement
from .process_memory import peak_memory_mb
from .processes import processes
from .rows import RunRows

RESULT, FACTS, SKIPPED = "result.json", "run.json", "skipped.json"
LOCK = ".lock"
NOT_A_RUN_YET = (LOCK, f"{FACTS}.part")  # what a start that was killed leaves


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
        if PROFILES.get(profile.name) != profile:  # its sizes can't be looked up by its name later
            self.facts["sizes"] = asdict(profile)
        self.checkpoint: Path | None = None  # that the run resumes from
        self.rows: RunRows | None = None
        self.log: RunLog | None = None
        self._claim = ExitStack()
        self._existed = os.path.exists(self.path)

    def __enter__(self) -> "RunFolder":
        found = [None]
        if processes().is_main_process:
            check_folder(self.path, self.resume, self.facts)
            with ExitStack() as claim:
                claim.enter_context(claimed(self.path))
                # again, since another process may have written the run until now
                found = [check_folder(self.path, self.resume, self.facts)]
                self._claim = claim.pop_all()
        self.checkpoint = broadcast_object_list(found)[0]
        self.log = RunLog(self.path, time.time() - seconds_until(self.path, self.checkpoint))
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._claim.close()
        if error is None or not processes().is_main_process:
            return
        if (self.path / FACTS).exists():
            error.add_note(what_is_complete(self.path))
        elif not self._existed:
            remove_unused(self.path)

    def begin(self, rows: RunRows, voice=None) -> None:
        """Writes what the run is and which rows it leaves out, and drops what was logged after the
        step that it resumes from. RunError if it began with other rows."""
        self.rows = rows
        state = processes()
        sharded = state.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        if isinstance(voice, Talker) and sharded:
            what = "the talker needs all parameters of the thinker in each process"
            raise RunError(f"{what}; launch with ddp.yaml, or train with written answers")
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
        state.wait_for_everyone()

    def saved(self, name: str) -> Measurement | None:
        """The measurement of that name, if the run made it before it was stopped."""
        file = self.path / f"{name}.json"
        if not file.exists():
            return None
        saved = read_json(file, "summary", "answers")
        return Measurement(saved["summary"], [Answer(**answer) for answer in saved["answers"]])

    def save(self, name: str, measured: Measurement) -> None:
        """Writes the measurement, with every answer."""
        if processes().is_main_process:
            answers = [vars(answer) for answer in measured.answers]
            contents = {"summary": measured.summary, "answers": answers}
            write_json(self.path / f"{name}.json", contents)

    def train(self, trainer) -> None:
        """Trains from the checkpoint on, if there is one."""
        checkpoint = self.checkpoint
        if step_of(checkpoint) < self.facts["steps"]:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        else:  # all steps were done before the stop; the Trainer would take one more
            weights = load_file(checkpoint / "adapter_model.safetensors")
            set_peft_model_state_dict(trainer.model, weights)

    def _check_unchanged(self) -> None:
        """RunError if a row or clip is not what it was at the beginning. Nobody can tell then what
        the run learned from, so it can't be resumed either."""
        if self.rows.is_unchanged():
            return
        if processes().is_main_process:
            facts = read_json(self.path / FACTS)
            write_json(self.path / FACTS, facts | {"rows": "changed during the run"})
        what = (
            f"{self.path}: rows or clips changed during the run, so before and after don't compare"
        )
        raise RunError(f"{what}; start a new run in another output_dir")

    def finish(
        self, *, before: Measurement, after: Measurement, swapped: Measurement, paired_p: float
    ) -> dict:
        """Writes and prints the result and returns it."""
        self._check_unchanged()
        seconds = round(time.time() - self.log.started, 1)
        summaries = [before.summary, after.summary, swapped.summary]
        names = ("profile", "seed", "algorithm", "steps", "sizes")
        result = {name: self.facts[name] for name in names if name in self.facts}
        result |= {
            "seconds": seconds,
            "breakdown": breakdown(self.path, seconds, summaries),
            "peak_memory_mb": round(peak_memory_mb()),
            "skipped_rows": len(self.rows.skipped),
            "before": before.summary,
            "after": after.summary,
            "paired_p": paired_p,
            "swapped_audio": swapped.summary,
        }
        if processes().is_main_process:
            write_json(self.path / RESULT, result)
            report.curves(self.path / METRICS, self.path / "curves.png", result)
            rows = list(self.rows.test)
            print(report.side_by_side(rows, before.answers, after.answers))
            print(report.table(result))
        return result


def check_folder(path: Path, resume: bool, facts: dict) -> Path | None:
    """The checkpoint that a run with these facts would resume from, if any; RunError if it may
    neither start nor resume in the folder."""
    # os.path, since Path raises where a folder above may not be entered
    if os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path)):
        raise RunError(f"{path} is a file, or a link to nothing; give a folder")
    check_writable(path)
    if (path / RESULT).exists():
        raise RunError(f"{path} holds a finished run; choose another output_dir for a new one")
    started = read_json(path / FACTS) if (path / FACTS).exists() else None
    if started is None and resume:
        raise RunError(f"{path} holds no run to resume; leave out resume=True to start one")
    if started is not None and not resume:
        remedy = "resume it with resume=True, or choose another output_dir"
        raise RunError(f"{path} already holds a run; {remedy}")
    files = path.iterdir() if path.exists() else ()
    if started is None and any(file.name not in NOT_A_RUN_YET for file in files):
        raise RunError(f"{path} is not empty; choose another output_dir")
    if started is not None:
        differing = [name for name in facts if started.get(name) != facts[name]]
        if differing:
            named = [f"{name}: {started.get(name)} there, {facts[name]} now" for name in differing]
            what = f"{path} holds another run ({', '.join(named)})"
            raise RunError(f"{what}; resume it with its own settings")
    return last_complete(path)


def check_rows(path: Path, fingerprint: str) -> None:
    """RunError if the run in the folder began with other rows than those of this fingerprint."""
    if (path / FACTS).exists() and read_json(path / FACTS).get("rows") != fingerprint:
        what = f"{path}: the rows or clips aren't those that the run began with"
        raise RunError(f"{what}; restore them, or choose another output_dir")


@contextmanager
def claimed(path: Path):
    """Makes the folder; within it no other process can claim it, RunError if one has. The system
    drops the claim when its process ends, however it ends."""
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        what = f"{path} is being written by another process"
        raise RunError(f"{what}; wait for it, or choose another output_dir") from error
    try:
        yield
    finally:
        lock.release()


def remove_unused(path: Path) -> None:
    """Removes a folder that holds nothing but what a start leaves."""
    if all(file.name in NOT_A_RUN_YET for file in path.iterdir()):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()


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
    return "No checkpoint is complete yet: resume=True starts from the beginning"


def new_folder(path: str | Path) -> Path:
    """The path itself, or the first of `path-2`, `path-3`, … that doesn't exist yet, so that a
    cell can be run twice."""
    path = Path(path)
    folder = path
    number = 1
    while folder.exists():
        number += 1
        folder = path.with_name(f"{path.name}-{number}")
    return folder


def read_result(run: str | Path) -> dict:
    """The result of a finished run; RunError if it isn't one."""
    file = Path(run) / RESULT
    if not file.is_file():
        raise RunError(f"{run} holds no finished run (no {RESULT}); finish it with resume=True")
    return read_json(file, "profile", "algorithm", "steps", "seed", "before", "after")
