"""Rewards of one's own, checked before a model is loaded or anything is sampled: their names, the
columns that they ask for, and the values that the shipped ones read."""

import inspect
import math
from collections import Counter
from numbers import Real

import torch
from datasets import Dataset, IterableDataset

from ..alr.rows import for_training, label_of
from ..data import ALRFormatError
from ..rewards import answer_reward, text_length_reward
from ..speech.rewards import audio_format_reward, audio_length_reward
from .report import ROLLOUT_KEYS

# What TRL hands to every reward beside the rows' columns
TEXTS = ("prompts", "completions", "completion_ids")
EXTRAS = ("trainer_state", "log_extra", "log_metric")
NOT_HANDED_OVER = ("prompt", "completion", "completion_ids")  # columns that TRL keeps to itself
# The column that a shipped reward reads, whose values are checked, and its unit
READS = {
    answer_reward: ("label", None),
    text_length_reward: ("reference_length", "words"),
    audio_length_reward: ("reference_seconds", "seconds"),
}
ARGUMENTS_OF_SPEECH = ("voice", "transcribe")


def as_list(reward_funcs) -> list:
    """The rewards as a list; one may be given as it is, a function or a model."""
    if reward_funcs is None:
        return []
    if callable(reward_funcs) or isinstance(reward_funcs, str):
        return [reward_funcs]
    return list(reward_funcs)


def reward_name(reward) -> str:
    """What a reward is called, also where it is a partial function, an object or a model."""
    if isinstance(reward, torch.nn.Module):
        reward = getattr(getattr(reward, "config", None), "_name_or_path", "") or type(reward)
    if isinstance(reward, str):
        return reward.rstrip("/").split("/")[-1]
    while not getattr(reward, "__name__", None) and hasattr(reward, "func"):
        reward = reward.func
    return getattr(reward, "__name__", None) or type(reward).__name__


def checked_arguments(given: dict) -> dict:
    """A trainer's arguments, with rewards as a list and data sets as `for_training` gives them."""
    given = for_training(given)
    owned = given.get("environment_factory") is not None
    rewards = check_rewards(given.get("reward_funcs"), given["train_dataset"], owned=owned)
    tests = given["eval_dataset"]
    for rows in tests.values() if isinstance(tests, dict) else [tests]:
        check_rewards(rewards, rows, owned=owned)
    return given | {"reward_funcs": rewards}


def check_rewards(reward_funcs, rows, *, owned: bool = False) -> list:
    """The rewards as a list, if they can be used with these training rows.

    Each has a name of its own and takes the columns that the rows have, a stream's as its first row
    has them. `owned` rows get columns from an environment, so names are checked alone. Raises
    ValueError for a reward, ALRFormatError (a ValueError) for a row's value.
    """
    rewards = as_list(reward_funcs)
    for name, count in Counter(map(reward_name, rewards)).items():
        if count > 1:
            remedy = "give each a __name__ of its own"
            raise ValueError(f"{count} rewards are called {name!r}, and logs go by name; {remedy}")
        if name in ROLLOUT_KEYS:
            what = f"a reward is called {name!r}, which is a field of completions.jsonl"
            raise ValueError(f"{what}; give it another __name__")
    columns = getattr(rows, "column_names", None)
    if isinstance(rows, IterableDataset):
        columns = list(next(iter(rows), ()))
    if not columns or owned:
        return rewards
    taken = [name for name in columns if name in (*TEXTS[:2], *EXTRAS)]
    if taken:
        what = f"the column {taken[0]!r} has the name of something that TRL hands to every reward"
        raise ValueError(f"{what}; rename it: rows.rename_column({taken[0]!r}, …)")
    for reward in rewards:
        if callable(reward) and not isinstance(reward, torch.nn.Module):
            _check_arguments(reward, columns)
            _check_values(getattr(reward, "unguarded", reward), rows, columns)
    return rewards


def _check_arguments(reward, columns: list[str]) -> None:
    try:
        parameters = inspect.signature(reward).parameters.values()
    except (TypeError, ValueError):  # written in C
        return
    name = reward_name(reward)
    own = [column for column in columns if column not in NOT_HANDED_OVER]
    there = f"the rows have the columns {', '.join(own) or 'none'}"
    handed = {*TEXTS, *EXTRAS, *own}
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            what = f"the reward {name} takes {parameter.name!r} by position"
            raise ValueError(f"{what}, and TRL hands everything over by name; remove the '/'")
        needed = parameter.default is parameter.empty and parameter.kind in (
            parameter.POSITIONAL_OR_KEYWORD,
            parameter.KEYWORD_ONLY,
        )
        if needed and parameter.name not in handed:
            what = f"the reward {name} needs the argument {parameter.name!r}"
            remedy = "add that column, or give the argument a default"
            raise ValueError(f"{what}, and there is no such column: {there}; {remedy}")
    names = {parameter.name for parameter in parameters}
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        missing = [argument for argument in (*TEXTS, *own, *EXTRAS) if argument not in names]
        if missing:
            what = f"the reward {name} takes no argument {missing[0]!r}"
            remedy = "end its arguments with **kwargs, which takes the rest"
            raise ValueError(f"{what}, and TRL hands it over: {there}; {remedy}")


def _check_values(reward, rows, columns: list[str]) -> None:
    """ALRFormatError for a value that a shipped reward would refuse after the first sampling."""
    if reward in (audio_format_reward, audio_length_reward):
        for name in ARGUMENTS_OF_SPEECH:
            if name in columns:
                what = f"the column {name!r} has the name of an argument of {reward.__name__}"
                raise ValueError(f"{what}; rename it: rows.rename_column({name!r}, …)")
    if not inspect.isfunction(reward) or reward not in READS or not isinstance(rows, Dataset):
        return
    column, unit = READS[reward]
    ids = rows["id"] if "id" in columns else range(len(rows))
    for identifier, value in zip(ids, rows[column]):
        where = f"row {identifier}"
        if column == "label":
            label_of(value, where)
        elif not (isinstance(value, Real) and math.isfinite(value) and value > 0):
            what = f"{column} must be a positive number of {unit}, got {value!r:.60}"
            raise ALRFormatError(f"{where}: {what}")
