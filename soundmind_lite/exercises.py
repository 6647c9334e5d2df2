"""The self-checks of the course: `check("04.1", my_function)` says right, not finished, or what to look at. It never stops a notebook."""
from . import checks_data, checks_training
from .checking import outcome


def check(number: str, solution) -> None:
    """Checks the solution of an exercise and prints what it finds. Raises ValueError for an exercise that doesn't exist."""
    name = f"check_{number.replace('.', '_')}"
    function = getattr(checks_data, name, None) or getattr(checks_training, name, None)
    if function is None:
        raise ValueError(f"there is no exercise {number!r}")
    print(outcome(number, function, solution)[1])
