"""The engine of the exercises: runs a check on what a learner wrote and says right, not finished, or what to look at."""
import copy
import math
from collections.abc import Callable


class Wrong(Exception):
    """A check that fails; the message is a diagnosis for the learner."""


def outcome(number: str, check: Callable, solution) -> tuple[bool | None, str]:
    """(True, remark), (False, diagnosis) or (None, what is missing) for a solution. Never raises for what the learner's code does."""
    unfinished = None, f"○ {number} not finished yet. Write your answer above, then run the cell again; nothing below depends on it."
    if solution is None or solution is ... or (isinstance(solution, str) and not solution):
        return unfinished
    if isinstance(solution, dict) and solution and all(value is None for value in solution.values()):
        return unfinished
    try:
        return True, f"✔ {number} right. {check(solution) or ''}".rstrip()
    except NotImplementedError:
        return unfinished
    except Wrong as diagnosis:
        return False, f"✘ {number} not yet. {diagnosis}"
    except Exception as error:  # the learner's own code failed: that is a diagnosis, too
        return False, f"✘ {number} not yet. This raised {type(error).__name__}: {error}"


def call(function: Callable, *arguments, **named):
    """What the learner's function returns for copies of the arguments; Wrong if it is no function or returns nothing."""
    if not callable(function):
        raise Wrong(f"Expected a function, got {function!r:.60}. Hand over its name without brackets.")
    result = function(*copy.deepcopy(arguments), **copy.deepcopy(named))
    if result is None:
        raise Wrong("The function returned None. Is a return missing?")
    return result


def numbers(values) -> list[float]:
    """A list of floats from a list, an array or a tensor of one dimension."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, RuntimeError) as error:
        raise Wrong(f"Expected a list or tensor of one dimension with a number for each element, got {values!r:.80}.") from error


def number(value) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise Wrong(f"Expected a number, got {value!r:.80}.") from error


def text(value) -> str:
    """The value, if it is a string."""
    if not isinstance(value, str):
        raise Wrong(f"A string is wanted, got {type(value).__name__}.")
    return value


def entries(answers, allowed: dict[str, tuple | None]) -> None:
    """Wrong unless `answers` is a dictionary that has an answer for each key, out of the allowed ones (None: any)."""
    if not isinstance(answers, dict):
        raise Wrong(f"A dictionary is wanted, with the keys {', '.join(map(repr, allowed))}.")
    for key, choices in allowed.items():
        if answers.get(key) is None:
            raise Wrong(f"{key!r}: an answer is missing. (The keys are {', '.join(map(repr, allowed))}.)")
        if choices and answers[key] not in choices:
            raise Wrong(f"{key}: choose one of {', '.join(map(repr, choices))}.")


def near(found, expected, tolerance: float = 1e-3) -> bool:
    """Are two numbers, or two lists of numbers, equal within the tolerance?"""
    if isinstance(expected, (int, float)):
        return math.isclose(number(found), expected, abs_tol=tolerance)
    found, expected = numbers(found), numbers(expected)
    return len(found) == len(expected) and all(abs(a - b) <= tolerance for a, b in zip(found, expected))


def expect(found, expected, mistakes: dict[str, object], otherwise: str, tolerance: float = 1e-3, tell: bool = True) -> None:
    """Wrong unless `found` is near `expected`. `mistakes` maps a diagnosis to the value that this mistake would give; `tell` shows what was expected."""
    if near(found, expected, tolerance):
        return
    for diagnosis, value in mistakes.items():
        if near(found, value, tolerance):
            raise Wrong(diagnosis)
    raise Wrong(f"{otherwise} Expected {_short(expected)}, got {_short(found)}." if tell else f"{otherwise} {_short(found)} is not it.")


def _short(value) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
