"""How an exercise is checked: a check returns a remark, or raises `Wrong` with a diagnosis.

`outcome` runs a check and gives one of three verdicts: right, not finished yet, not right yet.
A check carries wrong answers that it must refuse (`refuses`); the tests try each of them.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping


class Wrong(Exception):
    """A check that fails; the message is a diagnosis for the learner."""


def refuses(answer, diagnosis: str) -> Callable:
    """Decorator of a check: an answer that it refuses, and words of the diagnosis that it gives.

    The check keeps its pairs (answer, diagnosis) in the list `refused`.
    """

    def keep(check: Callable) -> Callable:
        check.refused = [(answer, diagnosis), *getattr(check, "refused", [])]
        return check

    return keep


def outcome(number: str, check: Callable, solution) -> tuple[bool | None, str]:
    """(True, remark), (False, diagnosis) or (None, what is missing) for a solution.

    Never raises an exception, whatever the learner's code does.
    """
    unfinished = (
        None,
        f"○ {number} not finished yet. Write your answer above, then run the cell again; "
        "nothing below depends on it.",
    )
    if _is_empty(solution):
        return unfinished
    try:
        remark = check(solution) or ""
    except NotImplementedError:
        return unfinished
    except Wrong as diagnosis:
        return False, f"✘ {number} not yet. {diagnosis}"
    except Exception as error:  # the learner's own code failed: that is a diagnosis, too
        return False, f"✘ {number} not yet. This raised {type(error).__name__}: {error}"
    return True, f"✔ {number} right. {remark}".rstrip()


def _is_empty(solution) -> bool:
    if solution is None or solution is ...:
        return True
    if isinstance(solution, dict) and solution:
        return all(value is None for value in solution.values())
    return isinstance(solution, str) and not solution


def call(function: Callable, *arguments, **named):
    """What the learner's function returns for copies of the arguments.

    Raises Wrong if it is not a function, or if it returns None.
    """
    if not callable(function):
        raise Wrong(f"Expected a function, got {function!r:.60}. Pass its name without brackets.")
    result = function(*copy.deepcopy(arguments), **copy.deepcopy(named))
    if result is None:
        raise Wrong("The function returned None. Is a return missing?")
    return result


def numbers(values) -> list[float]:
    """A list of floats from a list, an array or a tensor of one dimension, else Wrong."""
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, RuntimeError) as error:
        raise Wrong(
            "Expected a list or tensor of one dimension with a number for each element, "
            f"got {values!r:.80}."
        ) from error


def number(value) -> float:
    """The value as a float, else Wrong."""
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise Wrong(f"Expected a number, got {value!r:.80}.") from error


def text(value) -> str:
    """The value if it is a string, else Wrong."""
    if not isinstance(value, str):
        raise Wrong(f"Expected a string, got a value of type {type(value).__name__}.")
    return value


def entries(answers, keys: Iterable[str], *, choices: Iterable[str] = ()) -> None:
    """Wrong unless `answers` is a dictionary with an answer for each key, one of the choices.

    Without choices any answer but None will do.
    """
    keys, choices = list(keys), list(choices)
    if not isinstance(answers, dict):
        raise Wrong(f"Expected a dictionary with the keys {_listed(keys)}.")
    for key in keys:
        if answers.get(key) is None:
            raise Wrong(f"{key!r}: an answer is missing. (The keys are {_listed(keys)}.)")
        if choices and answers[key] not in choices:
            raise Wrong(f"{key}: choose one of {_listed(choices)}.")


def decided(answers, choices: Mapping[str, Iterable[str]]) -> tuple:
    """The answers to the questions of `choices`, in their order.

    Wrong unless `answers` is a dictionary with one of the choices for each question.
    """
    entries(answers, choices)
    for key, allowed in choices.items():
        entries({key: answers[key]}, [key], choices=allowed)
    return tuple(answers[key] for key in choices)


def near(found, expected, *, tolerance: float = 1e-3) -> bool:
    """True if two numbers, or two lists of numbers, are equal within the tolerance."""
    if isinstance(expected, (int, float)):
        return math.isclose(number(found), expected, abs_tol=tolerance)
    found, expected = numbers(found), numbers(expected)
    if len(found) != len(expected):
        return False
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected))


def expect(
    found,
    expected,
    *,
    mistakes: Mapping[str, object],
    otherwise: str,
    tolerance: float = 1e-3,
    reveal: bool = True,
) -> None:
    """Wrong unless `found` is near `expected`.

    `mistakes` maps a diagnosis to the value that this mistake would give. For any other value the
    diagnosis is `otherwise`, followed by the expected value if `reveal` is true.
    """
    if near(found, expected, tolerance=tolerance):
        return
    for diagnosis, value in mistakes.items():
        if near(found, value, tolerance=tolerance):
            raise Wrong(diagnosis)
    wanted = f"Expected {_short(expected)}, got" if reveal else "You gave"
    raise Wrong(f"{otherwise} {wanted} {_short(found)}.")


def _listed(words: Iterable[str]) -> str:
    return ", ".join(map(repr, words))


def _short(value) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
