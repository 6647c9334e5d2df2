"""How a step grows with the audio, the group, the new tokens and the questions.

Three curves: *plain*, *shared prefix*, and the counted *limit*, what must be computed once at the
rate of a matrix product on this machine (see `limit`). Beside them the peak memory of a step.

Plain is `AudioGRPOTrainer` without the shared prefix: TRL's own passes, in which each completion
has its own copy of the prompt. It isn't TRL's GRPOTrainer itself, which scores without the audio
and so leaves out two of three passes of the audio encoder; `bench peers` has that one. Like the
shared prefix, plain samples with the adapter merged, and decodes a clip once for all its copies.

Memory is that of the GPU if there is one, else the resident memory of the process while the step
runs. All points share a process, which hands back what was freed before each of them: on a CPU a
shared step then shows up to 15 % more than in a process of its own (seven sizes compared).

Growth that is due, in a size n that changes while the others stay:

- seconds of audio: linear in the encoder (whose attention stays within windows of two seconds) and
  in all projections, quadratic in the prompt's attention to itself: at most n².
- completions of a group: the prompt's part stays, theirs is linear: at most n.
- new tokens: the prompt's part stays, theirs is linear, and quadratic in their attention to
  themselves: at most n².
- questions: n.
"""

import math
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from tqdm.auto import tqdm

from ..profiles import Profile
from . import bench, limit, memory

SIZES = {
    "seconds_of_audio": (5, 15, 60, 180),
    "group": (2, 8, 32),
    "new_tokens": (25, 100, 300, 1000),
    "questions": (1, 2, 4, 8),
}
LONGEST = 45  # seconds; a plain step that would take longer isn't run
# What is fitted between the two largest sizes of an axis, and the figure of a point that it is of
FITTED = {"shared": "shared_s", "limit": "limit_s", "shared_memory": "peak_memory_mb"}


@dataclass(frozen=True)
class Sizes:
    """Of a step."""

    seconds_of_audio: float
    group: int
    new_tokens: int
    questions: int


def measure(
    profile: Profile,
    *,
    audio_seconds: float = 60.0,
    group: int = 8,
    new_tokens: int | None = None,
    questions: int = 1,
    random_weights: bool = False,
) -> dict:
    """A step for each value in `SIZES`, while the other sizes stay as given.

    Returns "growth": for each axis its points, as `point` has them; "limit": the rate of this
    machine, as `limit.rate` has it; "exponents": for each axis those of `FITTED`.
    """
    tokens = new_tokens or profile.max_completion_length
    given = Sizes(audio_seconds, group, tokens, questions)
    axes = {
        axis: [replace(given, **{axis: value}) for value in values]
        for axis, values in SIZES.items()
    }
    # each once: the middle, which is first, is a point of every axis
    every = list(dict.fromkeys([given, *(sizes for axis in axes.values() for sizes in axis)]))
    longest = max(sizes.seconds_of_audio for sizes in every)
    long = replace(profile, max_audio_seconds=longest)
    model = bench.thinker_for(long, bench.processor_for(long, random_weights), random_weights)
    step = partial(measured_step, profile, model, random_weights)
    config = memory.config_of(profile.model)
    dtype, middle = getattr(torch, profile.dtype), memory.prompt_tokens(audio_seconds)
    rate = limit.rate(config, middle, dtype=dtype, device=model.device)
    pace = math.nan  # seconds of a plain operation, from the first point
    points = {}
    for sizes in tqdm(every, desc="growth", unit="point"):
        shared = step(sizes, "shared")
        work = work_of(sizes, shared)
        plain = not_worth(pace * limit.repeated(config, profile.lora_r, work))
        if plain is None:  # last, as it leaves the most memory behind
            plain = step(sizes, "plain")
        if math.isnan(pace) and "step" in plain:
            pace = plain["step"]["plain_s"] / limit.repeated(config, profile.lora_r, work)
        operations = limit.operations(config, profile.lora_r, work)
        points[sizes] = point(plain, shared, operations, rate["flops_per_s"])
    growth = {
        axis: [{axis: getattr(sizes, axis), **points[sizes]} for sizes in walk]
        for axis, walk in axes.items()
    }
    fitted = {
        axis: {name: exponent(axis, found, key) for name, key in FITTED.items()}
        for axis, found in growth.items()
    }
    return {"growth": growth, "limit": rate, "exponents": fitted}


def measured_step(profile: Profile, model, random_weights: bool, sizes: Sizes, kind: str) -> dict:
    """A step of one kind, as `bench.measure` has it, or {"not_run": why}.

    Before a shared one the same step warms up. Plain ones, which follow and are long, go without.
    """
    options = asdict(sizes)
    options["audio_seconds"] = options.pop("seconds_of_audio")
    options |= {"model": model, "random_weights": random_weights, "kinds": (kind,), "repeats": 1}
    try:
        return bench.measure(profile, warm_up=1 if kind == "shared" else 0, **options)
    except torch.OutOfMemoryError:
        return {"not_run": "needs more memory than this GPU has"}


def work_of(sizes: Sizes, shared: dict) -> limit.Step:
    """What `limit` counts of a step; the prompt's tokens are those that a shared one prefilled."""
    prompt = memory.prompt_tokens(sizes.seconds_of_audio)
    if "prefilled_tokens_per_group" in shared:
        prompt = int(shared["prefilled_tokens_per_group"]) + 1  # without its last
    return limit.Step(
        frames=int(100 * sizes.seconds_of_audio),
        prompt=prompt,
        sampled=sizes.new_tokens,
        lengths=tuple(bench.kept_tokens(sizes.new_tokens, sizes.group)),
        questions=sizes.questions,
    )


def not_worth(seconds: float) -> dict | None:
    """Why a plain step of so many seconds isn't run; None if it is, as when they are NaN."""
    if not seconds > LONGEST:
        return None
    return {"not_run": f"would take about {seconds:.0f} s", "estimate_s": seconds}


def point(plain: dict, shared: dict, operations: dict[str, int], flops_per_s: float) -> dict:
    """The figures of a point; None is what wasn't run.

    Seconds of each kind and their ratio, of the limit ("limit_s", of "limit_flops" operations), and
    of the phases of a shared step and of the limit; "peak_memory_mb" of the shared step and
    "plain_peak_memory_mb". "plain_not_run" and "shared_not_run" say why, "plain_estimate_s" is the
    time that a plain step was taken to need.
    """
    seconds = {name: count / flops_per_s for name, count in operations.items()}
    found = bench.ratio(time_of(plain, "plain"), time_of(shared, "shared"))
    found["plain_rollout_s"] = time_of(plain, "plain", "rollout")
    found["shared_rollout_s"] = time_of(shared, "shared", "rollout")
    found |= {"limit_s": sum(seconds.values()), "limit_flops": sum(operations.values())}
    found["plain_peak_memory_mb"] = plain.get("plain_peak_memory_mb")
    found["peak_memory_mb"] = shared.get("peak_memory_mb")
    found["phases_s"] = {"shared": shared.get("phases_s", {}).get("shared"), "limit": seconds}
    for kind, step in (("plain", plain), ("shared", shared)):
        for name in ("not_run", "estimate_s"):
            if name in step:
                found[f"{kind}_{name}"] = step[name]
    return found


def time_of(found: dict, kind: str, what: str = "step") -> float | None:
    """Seconds of a kind in what `bench.measure` found, None if it wasn't run."""
    return found[what][f"{kind}_s"] if what in found else None


def exponent(axis: str, points: list[dict], key: str) -> float | None:
    """The b of size^b between the two largest sizes that have a value; None if fewer than two do.

    >>> points = [{"group": 2, "limit_s": 1.0}, {"group": 4, "limit_s": 4.0}]
    >>> exponent("group", points, "limit_s")
    2.0
    """
    found = [(point[axis], point[key]) for point in points if point.get(key) is not None]
    if len(found) < 2:
        return None
    (small, low), (large, high) = found[-2:]
    return math.log(high / low) / math.log(large / small)
