"""Runs notebooks and saves them with their outputs: `python -m soundmind_lite.publish.notebooks [FILE …]`, for who edits the course.

Without files it takes all of them. Progress bars and the ids of live widgets are left out of what is saved; a widget leaves its static picture.
"""
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from ..profiles import ROOT

FOLDER = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"


def lasting(output) -> bool:
    """Is the output more than a progress bar or a warning?"""
    if output["output_type"] == "stream":
        return output["name"] == "stdout"
    return WIDGET not in output.get("data", {}) or "text/html" in output["data"]


def tidied(notebook):
    """The notebook without what changes from run to run and without widget ids that no reader's kernel knows."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [output for output in cell.outputs if lasting(output)]
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"},
    }
    return notebook


def run(path: Path) -> None:
    """Executes the notebook in its own folder and writes it back; an error in a cell stops it and leaves the file as it was."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=1800, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}, store_widget_state=False)
    client.execute()
    nbformat.write(tidied(notebook), path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(FOLDER.rglob("[0-9]*.ipynb")):
        run(path)


if __name__ == "__main__":
    main()
