"""Time and steps to 90 %: the speedrun, and the same race for every algorithm.

A race trains the shipped tiny_omni on mini_alr's spoken training questions. Every few steps it is
asked all test questions, whose three nouns never meet in training; it has arrived when 90 % of its
greedy answers are right, and 90 % of those sampled at temperature 1. (Greedy ones turn right within
a few steps, as soon as the most likely answer is a reasoned one; sampled ones say how sure that
is.) The clock starts with the process, before any import, and stands still only while the model is
measured; that time is given, too. An entry may change the sizes of the profile and the fields of
GRPOConfig, but neither the model nor the rows.
"""

import json
import os
import platform
import time
from dataclasses import fields, replace
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from transformers import TrainerCallback, set_seed
from trl import GRPOConfig

from .. import data, evaluation, grpo, models, profiles
from ..profiles import Profile
from ..runs import algorithms
from ..runs.files import write_json
from ..runs.report import read_lines
from .doctor import installed

GOAL = 0.9
KEPT = ("accuracy", "ci_low", "ci_high", "sampled_accuracy", "n")  # of a measurement
EVERY = 2  # steps between two measurements of the speedrun
# what makes the task is not for an entry to change
FIXED = ("name", "where", "model", "data", "train_rows", "test_rows", "card")


class Race(TrainerCallback):
    """Measures accuracy on `rows` every `every` steps, and may end the training at the goal.

    `trace` has a dict for each measurement: step, accuracies, and the seconds that the clock shows.
    """

    def __init__(self, rows, *, profile, processor, every: int, stop_at_goal: bool, started: float):
        self.rows, self.profile, self.processor = rows, profile, processor
        self.every, self.stop_at_goal, self.started = every, stop_at_goal, started
        self.measuring = 0.0
        self.trace: list[dict] = []

    def clock(self) -> float:
        """Seconds since the start, without those of measuring."""
        return time.time() - self.started - self.measuring

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step % self.every and state.global_step < state.max_steps:
            return
        seconds, began = self.clock(), time.time()
        options = {"processing_class": self.processor, "profile": self.profile}
        ask = partial(evaluation.answer_rows, model, self.rows, **options)
        found = evaluation.summary(ask(), ask(sample=True))
        self.measuring += time.time() - began
        kept = {name: found[name] for name in KEPT}
        self.trace.append({"step": state.global_step, "seconds": round(seconds, 1), **kept})
        if self.stop_at_goal and self.first("accuracy", "sampled_accuracy"):
            control.should_training_stop = True

    def first(self, *names: str) -> dict | None:
        """The first measurement in which all of these reach the goal."""
        reached = (p for p in self.trace if all(p[name] >= GOAL for name in names))
        return next(reached, None)


def run(
    entry: dict | None = None, *, seed: int = 0, every: int = EVERY, to_the_end: bool = False
) -> dict:
    """One race: its entry, its trace, and when it arrived, if it did.

    `entry`: "algorithm", and fields of the profile and of GRPOConfig with their values. Raises
    ValueError for a field that an entry can't change or that there is not.
    """
    started = psutil.Process().create_time()
    profile, options = settings_of(entry or {})
    set_seed(seed)
    train, test = (data.load_alr(profile.data, split) for split in ("train", "test"))
    check_unseen(train, test)
    model, processor = models.load(profile)
    race = Race(
        test,
        profile=profile,
        processor=processor,
        every=every,
        stop_at_goal=not to_the_end,
        started=started,
    )
    with TemporaryDirectory() as folder:
        trainer = grpo.trainer_for(
            profile,
            model,
            processing_class=processor,
            train_dataset=data.training_rows(train),
            output_dir=folder,
            seed=seed,
            callbacks=[race],
            save_strategy="no",
            **options,
        )
        trainer.train()
    log = [line for line in trainer.state.log_history if "kl" in line]
    return {
        "entry": entry or {},
        "seed": seed,
        "started": started,
        "goal": GOAL,
        "greedy": race.first("accuracy"),
        "arrived": race.first("accuracy", "sampled_accuracy"),
        "last": race.trace[-1],
        "kl": log[-1]["kl"] if log else None,
        "largest_kl": max((line["kl"] for line in log), default=None),
        "measuring_seconds": round(race.measuring, 1),
        "trace": race.trace,
        "machine": machine(),
    }


def settings_of(entry: dict) -> tuple[Profile, dict]:
    """The profile of an entry, and the options of `grpo.trainer_for`. ValueError for a field that
    an entry can't change, or that there isn't."""
    if fixed := sorted(set(entry) & set(FIXED)):
        raise ValueError(f"an entry can't change {', '.join(fixed)}: every race has the same task")
    sizes, config = ({field.name for field in fields(kind)} for kind in (Profile, GRPOConfig))
    if unknown := sorted(set(entry) - sizes - config - {"algorithm"}):
        what = "no field of the profile or of GRPOConfig"
        raise ValueError(f"the entry names {', '.join(unknown)}, which is {what}")
    profile = replace(profiles.get("tiny"), **{k: v for k, v in entry.items() if k in sizes})
    changes = {k: v for k, v in entry.items() if k in config - sizes}
    return profile, algorithms.options(entry.get("algorithm", "grpo")) | changes


def check_unseen(train, test) -> None:
    """ValueError, naming rows, if test questions are among the training rows."""
    seen = {question.lower() for question in train["question"]}
    found = [row["id"] for row in test if row["question"].lower() in seen]
    if found:
        raise ValueError(f"test questions {', '.join(found[:3])} are among the training rows")


def machine() -> dict:
    """What the race ran on."""
    packages = ("torch", "transformers", "trl")
    return {
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "date": date.today().isoformat(),
        "versions": {name: installed(name) for name in packages},
    }


def in_words(found: dict) -> str:
    """A race for a person: each measurement, and when it reached 90 %."""
    lines = ["step  seconds  greedy  sampled"]
    lines += [
        f"{p['step']:4}{p['seconds']:9.1f}{p['accuracy']:8.1%}{p['sampled_accuracy']:9.1%}"
        for p in found["trace"]
    ]
    for name, words in (("greedy", "greedy answers"), ("arrived", "greedy and sampled answers")):
        point = found[name]
        when = (
            f"after {point['step']} steps and {point['seconds']:.1f} s" if point else "not reached"
        )
        lines.append(f"{GOAL:.0%} of {words}: {when}")
    lines.append(f"not counted: {found['measuring_seconds']:.1f} s of measuring")
    return "\n".join(lines)


def read_entry(file: Path | None) -> dict:
    """The entry in a JSON file; {} without one. ValueError if it holds no object."""
    if file is None:
        return {}
    entry = json.loads(Path(file).read_text(encoding="utf-8"))
    if not isinstance(entry, dict):
        raise ValueError(f"{file}: an entry is a JSON object of fields and their values")
    return entry


def race_algorithms(file: Path, *, seed: int = 0, every: int = 4, names=()) -> list[dict]:
    """A race to the last step for each algorithm (default: all), a process for each.

    A line of `file` is a race, with its "algorithm"; those that are there aren't run again.
    """
    import subprocess
    import sys

    done = read_lines(file) if file.exists() else []
    for name in names or algorithms.CONFIGS:
        if any(line["algorithm"] == name for line in done):
            continue
        with TemporaryDirectory() as folder:
            entry, out = Path(folder) / "entry.json", Path(folder) / "race.json"
            write_json(entry, {"algorithm": name})
            command = [sys.executable, "-m", "soundmind_lite", "speedrun", "--to-the-end"]
            command += ["--entry", str(entry), "--every", str(every), "--json", str(out)]
            subprocess.run([*command, "--seed", str(seed)], check=True)
            found = {"algorithm": name, **json.loads(out.read_text(encoding="utf-8"))}
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(found) + "\n")
        done.append(found)
    return done


def table(races: list[dict]) -> str:
    """The races of `race_algorithms`, a line each, as Markdown."""
    names = ["algorithm", "90 % greedy after", "90 % sampled, too, after"]
    names += ["greedy at the end (95 % interval)", "sampled at the end", "KL, last", "KL, largest"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for race in races:
        last = race["last"]
        points = (race["greedy"], race["arrived"])
        cells = [f"`{race['algorithm']}`"]
        cells += [f"{point['step']} steps" if point else "not reached" for point in points]
        cells.append(f"{last['accuracy']:.1%} ({last['ci_low']:.0%}–{last['ci_high']:.0%})")
        cells.append(f"{last['sampled_accuracy']:.1%}")
        cells += [f"{race[name]:.3f}" for name in ("kl", "largest_kl")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def board(races: dict[str, list[dict]]) -> str:
    """The board as Markdown, the fastest entry first. `races`: by entry, those of its seeds."""
    rows = []
    for name, runs in races.items():
        points = [race["arrived"] for race in sorted(runs, key=lambda race: race["seed"])]
        seconds = [point["seconds"] if point else None for point in points]
        slowest = None if None in seconds else max(seconds)
        changes = json.dumps(runs[0]["entry"]) if runs[0]["entry"] else "nothing"
        steps = ", ".join(str(point["step"]) if point else "not reached" for point in points)
        times = ", ".join(f"{s:.0f}" if s else "–" for s in seconds)
        result = f"**{slowest:.0f} s**" if slowest else "doesn't count"
        rows.append((slowest or float("inf"), [name, f"`{changes}`", steps, times, result]))
    names = ["entry", "what it changes", "steps, by seed", "seconds, by seed", "slowest"]
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    return "\n".join(lines + [f"| {' | '.join(cells)} |" for _, cells in sorted(rows)])
