"""The paper ledger: what SoundMind says, where our code does it, what we measured, and how to run it. The rows lie in `assets/ledger.json`."""
import ast
import importlib
import json
from operator import attrgetter
from pathlib import Path

from ..profiles import ASSETS, ROOT

FILE = ASSETS / "ledger.json"
FIELDS = {"kind": str, "item": str, "paper": str, "where": str, "code": list, "ours": str, "run": str}
KINDS = ("reward", "algorithm", "hyperparameter", "prompt", "data", "setting", "result", "ablation", "evaluation")
# On the field `ours`; the tests hold each figure with such a name to its source.
NOTE = "A name in brackets is the entry of the file or module that the figure before it comes from. *tiny:* figures don't compare with the paper's."


def load(file: str | Path = FILE) -> list[dict]:
    """The rows in their order. ValueError names row and field if a field is missing, unknown, of the wrong type or, except for `run`, empty."""
    rows = json.loads(Path(file).read_text(encoding="utf-8"))
    for number, row in enumerate(rows, 1):
        name = f"ledger row {number}, {row!r:.80}"
        for field in sorted(FIELDS.keys() ^ set(row)):
            raise ValueError(f"{name}: the field {field!r} is {'missing' if field in FIELDS else 'unknown'}; a row has {', '.join(FIELDS)}")
        for field, kind in FIELDS.items():
            parts = row[field] if kind is list else [row[field]]
            if not isinstance(row[field], kind) or not all(isinstance(part, str) and (part.strip() or field == "run") for part in parts):
                raise ValueError(f"{name}: {field!r} must be a {kind.__name__} of text that isn't empty, got {row[field]!r:.80}")
        if row["kind"] not in KINDS:
            raise ValueError(f"{name}: there is no 'kind' {row['kind']!r}; choose one of {', '.join(KINDS)}")
    return rows


def resolve(reference: str):
    """What "soundmind_lite.module:name" or "soundmind_lite.module:Class.name" means, or a notebook's path. LookupError names what leads nowhere."""
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
    """Where a reference is defined: "soundmind_lite/rewards.py:20", or a notebook's own path. LookupError if its module doesn't define it.

    The source is read, not imported: `inspect` knows no lines of constants, and a table needs no torch.
    """
    if reference.endswith(".ipynb"):
        return resolve(reference).relative_to(ROOT).as_posix()
    module, _, names = reference.partition(":")
    file = module.replace(".", "/") + ".py"
    node = ast.parse((ROOT / file).read_bytes()) if (ROOT / file).is_file() else None
    for name in names.split("."):
        node = next((child for child in getattr(node, "body", ()) if name in _defined(child)), None)
    if node is None:
        raise LookupError(f"{reference}: {file} doesn't define {names}; name the module that does")
    return f"{file}:{node.lineno}"


def _defined(node: ast.stmt) -> set[str | None]:
    targets = filter(None, getattr(node, "targets", [getattr(node, "target", None)]))
    return {getattr(node, "name", None), *(part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))}


def markdown() -> str:
    """The ledger as Markdown, a table for each kind of row, with `line_of` each code reference."""
    rows, parts = load(), ["# The paper ledger", NOTE]
    for kind in KINDS:
        lines = [f"## {kind.capitalize()}", "", "| item | the paper | where | code | ours | to run |", "|---|---|---|---|---|---|"]
        for row in (r for r in rows if r["kind"] == kind):
            code = "<br>".join(f"`{line_of(reference)}` {reference.partition(':')[2]}".strip() for reference in row["code"])
            cells = (row["item"], row["paper"], row["where"], code, row["ours"], row["run"] and f"`{row['run']}`")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
