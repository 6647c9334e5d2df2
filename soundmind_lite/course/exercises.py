"""The self-checks of the course: `check("04.1", my_function)`.

A check prints that the answer is right, that it isn't finished, or what to look at. It never
stops a notebook. The checks are in `checks`, a module for each notebook.
"""

import importlib
import pkgutil

from . import checks
from .checking import outcome

MODULES = [
    importlib.import_module(f"{checks.__name__}.{module.name}")
    for module in pkgutil.iter_modules(checks.__path__)
]
CHECKS = {
    name: function
    for module in MODULES
    for name, function in vars(module).items()
    if name.startswith("check_")
}


def check(number: str, solution) -> None:
    """Checks the solution of an exercise and prints what it finds.

    Raises ValueError for an exercise that doesn't exist.
    """
    name = f"check_{number.replace('.', '_')}"
    if name not in CHECKS:
        raise ValueError(f"there is no exercise {number!r}")
    _, message = outcome(number, CHECKS[name], solution)
    print(message)
