"""The self-checks of the course: `check("04.1", my_function)` says right, not finished, or what to look at. It never stops a notebook."""
from . import checks_data, checks_speech, checks_training
from .checking import outcome

CHECKS = {name: function for module in (checks_data, checks_speech, checks_training) for name, function in vars(module).items() if name.startswith("check_")}


def check(number: str, solution) -> None:
    """Checks the solution of an exercise and prints what it finds. Raises ValueError for an exercise that doesn't exist."""
    name = f"check_{number.replace('.', '_')}"
    if name not in CHECKS:
        raise ValueError(f"there is no exercise {number!r}")
    print(outcome(number, CHECKS[name], solution)[1])
