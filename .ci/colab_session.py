"""A session on Colab: notebook 00 from its first cell to its last, and what a reader does next.

`.ci/colab` runs it in the rebuilt environment: colab_session.py NOTEBOOK ANOTHER_FOLDER, from an
empty folder that stands for /content. It ends with 1 if a cell fails or a kept package changed.
"""

import sys
import time
from importlib import metadata
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

KEPT = ("torch", "torchvision", "torchaudio", "numpy", "scipy", "pandas", "ipykernel")
SHELL = """!python -m soundmind_lite --help
assert _exit_code == 0"""
STEP = """import torch
from soundmind_lite import data, grpo, models

rows = data.training_rows(data.load_alr(profile.data, "train"))
model, processor = models.load(profile)
trainer = grpo.trainer_for(
    profile,
    model,
    processing_class=processor,
    train_dataset=rows,
    output_dir=lesson.runs_folder() / "colab",
    max_steps=1,
    warmup_steps=0,
)
trained = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
before = {name: parameter.detach().clone() for name, parameter in trained.items()}
trainer.train()
moved = [name for name in trained if not torch.equal(trained[name], before[name])]
print(f"step {trainer.state.global_step}: {len(moved)} of {len(before)} LoRA matrices moved")
assert moved"""


def versions() -> dict[str, str]:
    return {package.name: package.version for package in metadata.distributions()}


def printed(cell) -> str:
    """What the cell wrote as text."""
    streams = (output for output in cell.outputs if output.output_type == "stream")
    return "".join(output.text for output in streams if output.name == "stdout")


def run(client: NotebookClient, cell, title: str) -> str:
    """Runs the cell as the next of the notebook and returns what it wrote as text."""
    start = time.monotonic()
    client.nb.cells.append(cell)
    client.execute_cell(cell, len(client.nb.cells) - 1)
    print(f"   {title}, {time.monotonic() - start:.0f} s")
    return printed(cell)


def show(text: str) -> None:
    for line in text.splitlines():
        print(f"   | {line}")


def session(path: Path, elsewhere: Path) -> None:
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=900, kernel_name="python3")
    client.resources["metadata"] = {"path": str(Path.cwd())}
    new = nbformat.v4.new_code_cell
    with client.setup_kernel():
        print("2. The first two cells, in an empty folder")
        for cell in cells[:2]:
            show(run(client, new(cell.source), cell.source.splitlines()[0]))
        print(f"3. The other {len(cells) - 2} cells of {path.name}")
        for cell in cells[2:]:
            text = run(client, new(cell.source), cell.source.splitlines()[0])
            show("\n".join(line[:150] for line in text.splitlines()[:40]))
        print("4. Afterwards")
        run(client, new(f"%cd {elsewhere}"), "%cd to another folder")
        for cell in cells[:2]:
            show(run(client, new(cell.source), "again: " + cell.source.splitlines()[0]))
        show(run(client, new(SHELL), "a shell cell").splitlines()[0])
        show(run(client, new(STEP), "a training step"))


def main(notebook: str, elsewhere: str) -> int:
    before, failure = versions(), ""
    try:
        session(Path(notebook), Path(elsewhere).resolve())
    except CellExecutionError as error:
        failure = str(error)
    after = versions()
    print("5. Packages afterwards")
    for name in sorted(before, key=str.lower):
        if before[name] != after.get(name):
            print(f"   {name} {before[name]} → {after.get(name, 'removed')}")
    print(f"   new: {', '.join(f'{n} {after[n]}' for n in sorted(after.keys() - before.keys()))}")
    lost = [name for name in KEPT if before.get(name) != after.get(name)]
    if lost and not failure:
        failure = f"replaced, though Colab's own should stay: {', '.join(lost)}"
    print(f"Colab session: {failure or 'passed'}")
    return bool(failure)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
