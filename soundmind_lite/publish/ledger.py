"""The paper ledger: what SoundMind says, where our code does it, what we measured, how to run it.

The rows are in `assets/ledger.json`.
"""

import ast
import importlib
import json
from operator import attrgetter
from pathlib import Path

from ..profiles import ASSETS, ROOT

FILE = ASSETS / "ledger.json"
FIELDS = {
    "kind": str,
    "item": str,
    "paper": str,
    "where": str,
    "code": list,
    "ours": str,
    "run": str,
}
KINDS = (
    "reward",
    "algorithm",
    "hyperparameter",
    "prompt",
    "data",
    "setting",
    "result",
    "ablation",
    "evaluation",
)
# About the field `ours`; the tests hold each figure with such a name to its source.
NOTE = (
    "A name in brackets is the entry of the file or module that the figure before it comes from. "
    "*tiny:* figures don't compare with the paper's."
)
HEAD = "| item | the paper | where | code | ours | to run |\n|---|---|---|---|---|---|"


def load(file: str | Path = FILE) -> list[dict]:
    """The rows in their order.

    ValueError names row and field if a field is missing, unknown, of the wrong type or, except for
    `run`, empty.
    """
    rows = json.loads(Path(file).read_text(encoding="utf-8"))
    for number, row in enumerate(rows, 1):
        fault = fault_of(row)
        if fault:
            raise ValueError(f"ledger row {number}, {row!r:.80}: {fault}")
    return rows


def fault_of(row: dict) -> str | None:
    """What is wrong with a row, or None."""
    for field in FIELDS:
        if field not in row:
            return f"the field {field!r} is missing; a row has {', '.join(FIELDS)}"
    for field in row:
        if field not in FIELDS:
            return f"the field {field!r} is unknown; a row has {', '.join(FIELDS)}"
    for field, kind in FIELDS.items():
        texts = row[field] if kind is list else [row[field]]
        if not isinstance(row[field], kind) or not all(isinstance(text, str) for text in texts):
            return f"{field!r} must be a {kind.__name__} of text, got {row[field]!r:.80}"
        if field != "run" and not all(text.strip() for text in texts):
            return f"{field!r} must be a {kind.__name__} that isn't empty, got {row[field]!r:.80}"
    if row["kind"] not in KINDS:
        return f"there is no 'kind' {row['kind']!r}; choose one of {', '.join(KINDS)}"
    return None


def resolve(reference: str):
    """What a reference means.

    It is "soundmind_lite.module:name", "soundmind_lite.module:Class.name" or a notebook's path.
    LookupError names a reference that leads nowhere.
    """
    module, _, names = reference.partition(":")
    if not names and (ROOT / reference).is_file():
        return ROOT / reference
    if not module.startswith("soundmind_lite."):
        raise LookupError(f"{reference}: no such file; expected one, or soundmind_lite.module:name")
    try:
        return attrgetter(names)(importlib.import_module(module))
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{reference}: {error}") from error


def line_of(reference: str) -> str:
    """Where a reference is defined: "soundmind_lite/rewards.py:20", or a notebook's own path.

    LookupError if its module doesn't define it. The source is read, not imported: `inspect` knows
    no lines of constants, and a table needs no torch.
    """
    if reference.endswith(".ipynb"):
        return resolve(reference).relative_to(ROOT).as_posix()
    module, _, names = reference.partition(":")
    path = module.replace(".", "/")
    file = f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"
    node = ast.parse((ROOT / file).read_bytes()) if (ROOT / file).is_file() else None
    for name in names.split("."):
        body = getattr(node, "body", ())
        node = next((child for child in body if name in names_defined(child)), None)
    if node is None:
        raise LookupError(f"{reference}: {file} doesn't define {names}; name the module that does")
    return f"{file}:{node.lineno}"


def names_defined(node: ast.stmt) -> set[str]:
    """The names that a statement defines: a function, a class, or what it assigns to."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        targets = [node.target]
    else:
        return set()
    parts = (part for target in targets for part in ast.walk(target))
    return {part.id for part in parts if isinstance(part, ast.Name)}


def markdown() -> str:
    """The ledger as Markdown: a table for each kind of row, with `line_of` each code reference."""
    rows, parts = load(), ["# The paper ledger", NOTE]
    for kind in KINDS:
        lines = [table_row(row) for row in rows if row["kind"] == kind]
        parts.append("\n".join([f"## {kind.capitalize()}", "", HEAD, *lines]))
    return "\n\n".join(parts) + "\n"


def table_row(row: dict) -> str:
    """A row of the ledger as a row of a Markdown table."""
    code = []
    for reference in row["code"]:
        name = reference.partition(":")[2]
        code.append(f"`{line_of(reference)}` {name}".strip())
    command = f"`{row['run']}`" if row["run"] else ""
    cells = [row["item"], row["paper"], row["where"], "<br>".join(code), row["ours"], command]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
