"""The library's pages: every module of the package from its docstrings, a page for each package."""

import ast
import pkgutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import soundmind_lite

from . import pages

NAME = soundmind_lite.__name__
CORE = "core"  # the modules at the top of the package


@dataclass(frozen=True)
class Module:
    """A module of the library, as its pages show it."""

    name: str  # "soundmind_lite.alr.text"
    title: str  # within its package, "text"
    summary: str  # the first paragraph of its docstring


def module(name: str, package: str) -> Module:
    """A module of a package; its source is read, not imported."""
    inside = NAME if package == CORE else f"{NAME}.{package}"
    source = Path(find_spec(name).origin).read_bytes()
    summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[0]
    return Module(name, name.removeprefix(inside).lstrip("."), " ".join(summary.split()))


def packages() -> dict[str, list[Module]]:
    """The modules of each package, core first and the package itself before its modules."""
    found = {CORE: [module(NAME, CORE)]}
    for info in pkgutil.walk_packages(soundmind_lite.__path__, f"{NAME}."):
        if info.name == f"{NAME}.__main__":
            continue
        parts = info.name.split(".")
        package = parts[1] if info.ispkg or len(parts) > 2 else CORE
        found.setdefault(package, []).append(module(info.name, package))
    return found


def page(package: str, modules: list[Module]) -> str:
    """The reStructuredText of a package's page."""
    first, *rest = modules
    parts = [f"{package}\n{'=' * len(package)}", f".. automodule:: {first.name}"]
    for one in rest:
        parts += [f"{one.title}\n{'-' * len(one.title)}", f".. automodule:: {one.name}"]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """What `library.md` says, and every module with a link."""
    parts = [pages.text_of("assets/site/library.md")]
    for package, (first, *rest) in packages().items():
        lines = [f"- {{py:mod}}`{one.title} <{one.name}>`: {one.summary}" for one in rest]
        parts += [f"## {package}", first.summary, "\n".join(lines)]
    parts.append(f"```{{toctree}}\n:hidden:\n:glob:\n\n{CORE}\n*\n```")
    return "\n\n".join(filter(None, parts)) + "\n"
