"""What the labs of rewards on the pages begin with: groups of the shipped run, and planted faults.

Each fault is planted in the completions, or in the columns, of two of the run's steps; rewards and
advantages are then computed anew by the library.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from .. import data
from ..course.loss_parts import group_advantages
from ..profiles import ASSETS
from ..rewards import CLOSE, TEXT_REWARDS
from ..runs.report import groups_of, read_lines, reward_names

RUN = ASSETS / "runs" / "all_seed0"
PLANTED = (6, 7)  # first and last step with a planted fault; most answers have the format by then
WORDS = (140, 150, 155, 158, 160, 165, 171, 190)  # notebook 04: eight right answers ...
REFERENCE = 697  # ... where the reference has so many


@cache
def rollouts() -> list[dict]:
    return read_lines(RUN / "completions.jsonl")


@cache
def columns() -> dict[str, dict]:
    """The training rows of mini_alr by id."""
    return {row["id"]: row for row in data.training_rows(data.load_alr("mini", "train"))}


def presets(folder: Path) -> list[dict]:
    """Batches of one or two groups of eight summed rewards, each with a name."""
    length_alone = [3 + words / REFERENCE for words in WORDS]
    half_wrong = [3.2] * 4 + [1.2] * 4
    return [
        of_run(1, "0066"),
        of_run(20, "0058", "0104"),
        {"name": "the length alone differs", "groups": [length_alone]},
        {
            "name": "the length alone differs, beside a question that half get wrong",
            "groups": [length_alone, half_wrong],
        },
        {"name": "all earn the same", "groups": [[2.0] * 8]},
    ]


def of_run(step: int, *ids: str) -> dict:
    """The summed rewards of groups of the shipped run."""
    names, groups = reward_names(rollouts()), groups_of(rollouts())[step]
    sums = [[sum(rollout[name] for name in names) for rollout in groups[id]] for id in ids]
    questions = f"question{'s' if len(ids) > 1 else ''} {' and '.join(ids)}"
    return {"name": f"the shipped run, step {step}, {questions}", "groups": sums}


def examples(folder: Path) -> list[dict]:
    """Rollouts as completions.jsonl has them: of the shipped run, and with a fault planted."""
    planted = {
        "a thought that never closes": scored(lambda text: text.replace(CLOSE, "")),
        "an answer beside the thought": scored(beside),
        "reference lengths 300 times too long": scored(longer=300),
        "samples all alike": alike(),
    }
    found = {
        "the shipped run, steps 1 to 5": steps(1, 5),
        "the shipped run, steps 36 to 40": steps(36, 40),
        **{f"planted: {name}": lines for name, lines in planted.items()},
    }
    return [{"name": name, "rollouts": lines} for name, lines in found.items()]


def steps(first: int, last: int) -> list[dict]:
    return [rollout for rollout in rollouts() if first <= rollout["step"] <= last]


def beside(text: str) -> str:
    """A completion whose answer line isn't a line of its own."""
    return text.replace(f"{CLOSE}\n", f"{CLOSE} ")


def scored(changed: Callable[[str], str] = str, *, longer: float = 1) -> list[dict]:
    """The rollouts of two steps with changed completions, or with references `longer` times
    as long, and what they earn then."""
    lines = steps(*PLANTED)
    rows = [columns()[line["id"]] for line in lines]
    texts = [changed(line["completion"]) for line in lines]
    given = {
        "label": [row["label"] for row in rows],
        "reference_length": [longer * row["reference_length"] for row in rows],
    }
    earned = {function.__name__: function(texts, **given) for function in TEXT_REWARDS}
    return with_advantages(lines, texts, earned)


def alike() -> list[dict]:
    """The rollouts of two steps if each were the first of its group."""
    lines = steps(*PLANTED)
    size = group_size()
    first = [lines[i - i % size] for i in range(len(lines))]
    earned = {name: [line[name] for line in first] for name in reward_names(lines)}
    return with_advantages(lines, [line["completion"] for line in first], earned)


def group_size() -> int:
    """G of the shipped run."""
    return len(next(iter(groups_of(rollouts())[1].values())))


def with_advantages(lines: list[dict], texts: list[str], earned: dict[str, list]) -> list[dict]:
    """The lines with these completions and rewards, and the advantages that follow."""
    sums = torch.tensor(list(earned.values())).sum(0)
    advantages = group_advantages(sums, group_size()).tolist()
    found = []
    for i, line in enumerate(lines):
        rewards = {name: values[i] for name, values in earned.items()}
        new = {"completion": texts[i], **rewards, "advantage": advantages[i]}
        found.append(line | new)
    return found


# {name: function of the folder}, for `live.DATA`
DATA = {"advantage_presets": presets, "doctor_examples": examples}
