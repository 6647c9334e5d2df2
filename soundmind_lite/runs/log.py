"""What a run writes while it trains: a line of metrics a step, complete checkpoints, a bar."""

import json
import time
from pathlib import Path

from transformers import TrainerCallback

from .checkpoints import keep_newest, mark_complete
from .guards import PHASES
from .process_memory import return_freed_memory
from .processes import processes
from .report import read_lines

METRICS = "metrics.jsonl"


class RunLog(TrainerCallback):
    """Writes metrics.jsonl, marks checkpoints that are complete, with the time until then, and
    shows a progress bar with the reward and the time left. `started` is a time in seconds."""

    def __init__(self, path: Path, started: float):
        self.path = path
        self.started = started
        self.bar = None

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
        zero_std = f"{logs['frac_reward_zero_std']:.0%}"
        self.bar.set_postfix_str(f"reward {logs['reward']:.2f}, zero-std groups {zero_std}")

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)
        if state.global_step % 5 == 0:
            return_freed_memory()

    def on_save(self, args, state, control, **_):
        processes().wait_for_everyone()  # each has written its part
        if state.is_world_process_zero:
            checkpoint = self.path / f"checkpoint-{state.global_step}"
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
