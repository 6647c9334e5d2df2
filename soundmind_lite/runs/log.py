"""What a run writes while it trains: a line of metrics a step, complete checkpoints, a bar; and
how Ctrl-C stops it."""

import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from transformers import TrainerCallback

from .checkpoints import keep_newest, mark_complete
from .guards import PHASES
from .process_memory import return_freed_memory
from .processes import processes
from .report import read_lines
from .usage import describe

METRICS = "metrics.jsonl"
STOPPING = "stopping at the end of this step, with a checkpoint; again to stop at once"


class RunLog(TrainerCallback):
    """Writes metrics.jsonl, marks checkpoints that are complete, with the time until then, and
    shows a progress bar with the reward and the time left. `started` is a time in seconds.

    `stop_asked`: was Ctrl-C pressed, or the stop button of a notebook?
    """

    def __init__(self, path: Path, started: float):
        self.path = path
        self.started = started
        self.bar = None
        self.stop_asked = False

    @contextmanager
    def stoppable(self):
        """A context in which the first Ctrl-C ends the training after its step, with a checkpoint.

        Nothing changes in a thread, which gets no signals, and for several processes, which would
        stop at different steps.
        """
        alone = processes().num_processes == 1
        if not alone or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT) or signal.default_int_handler

        def ask(*_):
            self.stop_asked = True
            signal.signal(signal.SIGINT, before)
            os.write(2, f"\n{STOPPING}\n".encode())  # print() may be in the middle of a line

        self.stop_asked = False
        signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_train_begin(self, args, state, control, **_):
        from tqdm.auto import tqdm

        hidden = not state.is_world_process_zero
        sizes = {"total": state.max_steps, "initial": state.global_step}
        self.bar = tqdm(**sizes, desc="train", unit="step", disable=hidden)

    def on_log(self, args, state, control, logs=None, **_):
        if not state.is_world_process_zero or "reward" not in logs:
            return
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        reward = "none" if logs["reward"] is None else f"{logs['reward']:.2f}"
        zero_std = f"{logs['frac_reward_zero_std']:.0%}"
        self.bar.set_postfix_str(f"reward {reward}, zero-std groups {zero_std}")

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)
        if self.stop_asked:
            control.should_save = control.should_training_stop = True
        if state.global_step % 5 == 0:
            return_freed_memory()

    def on_save(self, args, state, control, model=None, processing_class=None, **_):
        processes().wait_for_everyone()  # each has written its part
        if state.is_world_process_zero:
            checkpoint = self.path / f"checkpoint-{state.global_step}"
            tokens = args.max_completion_length
            shown = {"model": model, "processor": processing_class, "tokens": tokens}
            describe(self.path, checkpoint, **shown)
            mark_complete(checkpoint, time.time() - self.started)
            keep_newest(self.path)

    def on_train_end(self, args, state, control, **_):
        return_freed_memory()
        self.bar.close()


def breakdown(path: Path, seconds: float, measured: list[dict]) -> dict[str, float]:
    """Where the seconds of a run went: measuring, the phases of its steps (of the first process),
    and what lies between them. `measured` are summaries of measurements."""
    steps = read_lines(path / METRICS)
    parts = {"evaluate": sum(summary["seconds"] for summary in measured)}
    for phase in PHASES:
        if phase != "other":
            parts[phase] = sum(step.get(f"seconds/{phase}", 0.0) for step in steps)
    parts["other"] = seconds - sum(parts.values())
    return {name: round(value, 1) for name, value in parts.items()}
