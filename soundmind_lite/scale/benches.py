"""What the commands `bench` and `speedrun` measure, each printed and, if asked, written as JSON."""

from pathlib import Path

from .. import profiles
from ..runs.files import check_target, write_json


def bench(
    what: str, profile: str, file: Path | None, *, random_weights: bool, questions: int = 1, **sizes
) -> None:
    """Times "rollout", "step", "all", a step and its growth, or "peers", a step beside other
    trainers; `sizes` are those of `bench.measure`. Raises MachineError if this machine can't hold
    the profile's checkpoint."""
    from . import bench, decoding, doctor, growth, growth_picture, peers

    profile = profiles.get(profile)
    if not random_weights:
        doctor.require(profile)
    check_target(file, "--json")
    sizes["random_weights"] = random_weights
    if what == "decode":
        if questions > 1:
            raise ValueError("--questions is of a step; decode samples after one")
        result = decoding.measure(profile, **sizes)
        return finish(decoding.table(result), result, file)
    sizes["questions"] = questions
    if what == "peers":
        result = peers.measure(profile, **sizes)
        return finish(peers.table(result), result, file)
    result = bench.measure(profile, "rollout" if what == "rollout" else "step", **sizes)
    words = bench.table(result)
    if what == "all":
        result |= growth.measure(profile, **sizes)
        words = f"{words}\n{growth_picture.table(result)}"
    finish(words, result, file)


def speedrun(file: Path | None, *, entry: Path | None, algorithms: bool, **options) -> None:
    """One race, or one to the end for every algorithm, a line of the file each, where those that
    are there are kept; `options` are those of `speedrun.run`. ValueError if these have no file."""
    from . import speedrun

    check_target(file, "--json")
    if not algorithms:
        result = speedrun.run(speedrun.read_entry(entry), **options)
        finish(speedrun.in_words(result), result, file)
        return
    if file is None:
        raise ValueError("races of all algorithms take long; name a file for them with --json")
    options.pop("to_the_end")
    print(speedrun.table(speedrun.race_algorithms(file, **options)))


def finish(words: str, result: dict, file: Path | None) -> None:
    print(words)
    if file:
        write_json(file, result)
