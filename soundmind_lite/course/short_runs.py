"""Short runs for comparison: one field of the configuration changed, everything else the same."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import grpo, models, profiles
from ..rewards import TEXT_REWARDS, completion_text, reasoning_of
from ..runs.report import read_lines
from .checking import outcome
from .checks.training import check_05_2

SHIPPED = profiles.ASSETS / "runs" / "vary" / "metrics.jsonl"
STEPS = 20
# The values to compare with the usual ones
KNOBS = {
    "num_generations": (2, 16),
    "beta": (0.0, 1.0),
    "temperature": (0.5, 1.5),
    "learning_rate": (1e-4, 1e-2),
    "num_iterations": (2, 4),
}
USUAL = {
    "num_generations": 8,
    "beta": 0.001,
    "temperature": 1.0,
    "learning_rate": 1e-3,
    "num_iterations": 1,
}
KEPT = (
    "reward",
    "reward_std",
    "frac_reward_zero_std",
    "kl",
    "entropy",
    "grad_norm",
    "completions/mean_length",
    "completions/clipped_ratio",
    "clip_ratio/region_mean",
)


@dataclass
class ShortRun:
    """What a short run leaves: its log, a dict a step, its rollouts, and the trained model."""

    metrics: list[dict]
    rollouts: list[dict]
    model: object


def short_run(
    profile, rows, *, max_steps: int, reward_funcs=TEXT_REWARDS, callbacks=(), **changes
) -> ShortRun:
    """Trains a fresh model for a few steps and keeps no files.

    `rows` come from `data.training_rows`, `changes` are fields of GRPOConfig or of the profile.
    With another `num_generations` a step takes as many questions as its completions allow, so
    that it has the same number of completions.
    """
    model, processor = models.load(profile)
    with TemporaryDirectory() as output_dir:
        trainer = grpo.trainer_for(
            same_completions(profile, changes.pop("num_generations", profile.num_generations)),
            model,
            processing_class=processor,
            train_dataset=rows,
            output_dir=output_dir,
            reward_funcs=reward_funcs,
            callbacks=callbacks,
            max_steps=max_steps,
            save_strategy="no",
            **changes,
        )
        trainer.train()
        rollouts = read_lines(Path(output_dir) / grpo.ROLLOUTS)
    # with num_iterations > 1 the steps that sample nothing log no reward
    metrics = [entry for entry in trainer.state.log_history if "loss" in entry]
    return ShortRun(metrics, rollouts, trainer.model)


def same_completions(profile, num_generations: int):
    """The profile with another G and as many completions a step as before."""
    completions = profile.prompts_per_step * profile.num_generations
    prompts = completions // num_generations
    return replace(profile, num_generations=num_generations, prompts_per_step=prompts)


def name_of(knob: str, value) -> str:
    """The name of a run in the log.

    >>> name_of("learning_rate", 0.01)
    'learning_rate=0.01'
    """
    return f"{knob}={value:g}"


def of_knob(runs: dict[str, list[dict]], knob: str) -> dict[str, list[dict]]:
    """The logs of the runs that differ in this field alone, the usual run first; see `by_run`."""
    found = {f"{knob} = {USUAL[knob]:g} (usual)": runs["usual"]}
    others = {f"{knob} = {value:g}": runs[name_of(knob, value)] for value in KNOBS[knob]}
    return found | others


def vary(profile, rows, file: Path) -> None:
    """Runs the usual values, then those of `KNOBS`, one at a time; writes their logs to one file.

    A line is a step: `run`, `step` and the metrics of `KEPT`, with four significant digits.
    """
    settings = {"usual": {}}
    settings |= {name_of(knob, v): {knob: v} for knob, values in KNOBS.items() for v in values}
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as lines:
        for name, changes in settings.items():
            run = short_run(profile, rows, max_steps=STEPS, **changes)
            for entry in run.metrics:
                line = {"run": name, "step": entry["step"]}
                line |= {key: float(f"{entry[key]:.4g}") for key in KEPT if key in entry}
                lines.write(json.dumps(line) + "\n")
            lines.flush()


def by_run(file: Path = SHIPPED) -> dict[str, list[dict]]:
    """The lines of `vary`'s file by run."""
    runs: dict[str, list[dict]] = {}
    for line in read_lines(file):
        runs.setdefault(line["run"], []).append(line)
    return runs


def short_thought_reward(completions, **_) -> list[float]:
    """The model answer of exercise 05.2: 1 / (1 + words / 20) for a closed thought, else 0.

    >>> short_thought_reward(["<think>one two three four five</think>\\nAnswer: entailed", ""])
    [0.8, 0.0]
    """
    thoughts = [reasoning_of(completion_text(completion)) for completion in completions]
    lengths = [len(thought.split()) for thought in thoughts]
    return [1 / (1 + length / 20) if length else 0.0 for length in lengths]


def own_or_model(solution):
    """The learner's reward if the check of 05.2 accepts it, else the model answer; says which."""
    accepted, _ = outcome("05.2", check_05_2, solution)
    if accepted:
        print("This run uses your reward of exercise 05.2.")
        return solution
    print("Exercise 05.2 isn't solved yet, so this run uses its model answer.")
    return short_thought_reward
