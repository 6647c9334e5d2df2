"""The library stays small and one-way: the method at the top, all else in packages below it."""

import ast
import subprocess
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest
from conftest import LONGEST, ROOT

LIBRARY = ROOT / "soundmind_lite"
COMMAND_LINE = "__main__"
CORE_LINES = 1_300  # of all core modules together, the command line apart
MODULE_LINES = 300
COLUMNS = 100
# What a package may import besides the core: itself, and these.
BELOW = {
    "alr": set(),
    "families": set(),
    "fast": {"families", "alr"},
    "speech": {"alr"},
    "tiny": {"speech", "alr"},
    "runs": {"fast", "speech", "families", "alr"},
    "scale": {"runs", "fast", "speech", "families", "alr"},
    "course": {"scale", "runs", "fast", "speech", "families", "alr", "tiny"},
    "publish": {"course", "scale", "runs", "fast", "speech", "families", "alr", "tiny"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in LIBRARY.rglob("*.py")}
CORE = [name for name in MODULES if "." not in name and name not in (*BELOW, COMMAND_LINE)]


def package_of(module: str) -> str:
    """The package of a module, "" for the core."""
    first = module.split(".")[0]
    return first if first in BELOW else ""


def imported(name: str, *, everywhere: bool, text: str | None = None) -> set[str]:
    """The modules of the library that a module imports, at module level or also in functions.

    `text` stands in for the source that the module has.
    """
    path = MODULES[name]
    tree = ast.parse(path.read_text(encoding="utf-8") if text is None else text)
    nodes = ast.walk(tree) if everywhere else tree.body
    own = name.split(".") if name else []
    is_package = path.name == "__init__.py"
    found = set()
    for node in nodes:
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        climb = node.level - is_package
        base = own[: len(own) - climb] if climb else own
        base = [*base, *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            deeper = ".".join([*base, alias.name])
            found.add(deeper if deeper in MODULES else ".".join(base))
    return found - {name}


def test_the_core_fits_its_limit():
    lines = {name: len(MODULES[name].read_text().splitlines()) for name in CORE}
    assert len(CORE) == 11
    assert sum(lines.values()) <= CORE_LINES, lines


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small(name):
    assert len(MODULES[name].read_text().splitlines()) <= MODULE_LINES


def sources():
    """Every tracked or new Python file, and the code cells of notebooks, as (name, text)."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "*.py", "*.ipynb"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix == ".py" and path.exists():
            yield name, path.read_text(encoding="utf-8")
        elif path.exists():
            cells = nbformat.read(path, as_version=4).cells
            yield name, "\n".join(cell.source for cell in cells if cell.cell_type == "code")


def test_no_line_is_longer_than_a_hundred_columns():
    found = []
    for name, text in sources():
        lines = enumerate(text.splitlines(), 1)
        found += [f"{name}:{number}" for number, line in lines if len(line) > COLUMNS]
    assert found == []
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["ruff"]["line-length"] == COLUMNS
    assert "E501" not in settings["tool"]["ruff"]["lint"]["ignore"]


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_no_package_at_module_level(name):
    assert {package_of(module) for module in imported(name, everywhere=False)} <= {""}


@pytest.mark.parametrize("name", [name for name in MODULES if package_of(name)])
def test_packages_import_only_downwards(name):
    package = package_of(name)
    found = {package_of(module) for module in imported(name, everywhere=True)}
    assert found <= {"", package} | BELOW[package]


def test_nothing_is_imported_in_a_circle():
    """At module level; the core's imports inside functions are what a package is asked for."""
    graph = {name: imported(name, everywhere=False) for name in MODULES if name}
    order = list(TopologicalSorter(graph).static_order())  # CycleError names a circle
    assert set(order) >= set(graph)


def test_families_of_models_know_no_trainer():
    """They answer what the trainer asks; of the core they use the processor and the prompts."""
    names = [name for name in MODULES if package_of(name) == "families"]
    used = {module for name in names for module in imported(name, everywhere=True)}
    assert {module for module in used if not package_of(module)} <= {"models", "prompts"}


def test_an_upward_import_would_be_found():
    text = "from ..course import show\nfrom .bad_rows import BadRows\n"
    text += "def f():\n    from ..runs.files import RunError\n"
    assert imported("alr.text", everywhere=False, text=text) == {"course.show", "alr.bad_rows"}
    everywhere = imported("alr.text", everywhere=True, text=text)
    assert everywhere == {"course.show", "alr.bad_rows", "runs.files"}


def public_functions(tree: ast.Module):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("name", CORE)
def test_public_functions_take_at_most_two_positional_arguments(name):
    for node in public_functions(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        positional = [argument.arg for argument in node.args.posonlyargs + node.args.args]
        if node.name == "ask":  # a question is typed by hand: ask(model, processor, clip)
            continue
        assert len(positional) <= 2, f"{node.name}{positional}"


def test_the_files_that_are_tested_first_are_there():
    assert [name for name in LONGEST if not (ROOT / name).is_file()] == []
