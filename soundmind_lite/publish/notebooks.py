"""Runs notebooks and saves them with their outputs, for work on the course.

`python -m soundmind_lite.publish.notebooks [FILE …]`; without files it takes all of them. What is
saved has no progress bars and no ids of live widgets; a widget leaves its static picture.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from ..profiles import ROOT

FOLDER = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def lasting(output) -> bool:
    """Whether the output is more than a progress bar or a warning."""
    if output["output_type"] == "stream":
        return output["name"] == "stdout"
    return WIDGET not in output.get("data", {}) or "text/html" in output["data"]


def tidied(notebook):
    """The notebook without timestamps, and without widget ids that no reader's kernel knows; its
    metadata are those that JupyterLab would write, so that a reader's save changes nothing."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            cell.outputs = [output for output in cell.outputs if lasting(output)]
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    language = notebook.metadata["language_info"]  # as the kernel that ran it describes it
    notebook.metadata = {"kernelspec": KERNEL, "language_info": language}
    return notebook


def run(path: Path) -> None:
    """Executes the notebook in its own folder and writes it back.

    An error in a cell stops it and leaves the file as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
    ).execute()
    nbformat.write(tidied(notebook), path)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.rglob("[0-9]*.ipynb"))
    for path in paths:
        run(path)


if __name__ == "__main__":
    main()
