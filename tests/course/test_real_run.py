"""Notebook 11 with a profile of a GPU, and after a lost session: unchanged cells."""

import json

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from soundmind_lite.runs.report import read_lines

NOTEBOOK = ROOT / "notebooks" / "11_the_real_run.ipynb"
# of a machine without a GPU, and of a test; all else is the profile's
SIZES = dict(card="", data="mini", num_generations=2, max_completion_length=12, test_rows=8)


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """`in_folder(profile, until=…, **sizes)` runs the notebook in a new kernel, whose session ends
    after the first cell that begins with `until`; returns all that was printed."""

    def run(profile: str, *, until: str | None = None, **sizes) -> str:
        monkeypatch.setenv("SOUNDMIND_PROFILE", profile)
        monkeypatch.setenv("SOUNDMIND_SIZES", json.dumps(SIZES | sizes))
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        if until is not None:
            starts = [cell.source.startswith(until) for cell in notebook.cells]
            del notebook.cells[starts.index(True) + 1 :]
        where = {"metadata": {"path": tmp_path}}
        NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        return "".join(json.dumps(output) for output in outputs)

    return run


@pytest.mark.slow
def test_the_cells_are_the_same_for_the_published_layout(published_checkpoint, in_folder, tmp_path):
    """A narrow checkpoint, in 4 bits, with the checkpoint's own talker."""
    printed = in_folder("l4", model=str(published_checkpoint))
    result = json.loads((tmp_path / "runs" / "11_l4" / "result.json").read_text())
    assert result["sizes"]["load_in_4bit"]
    assert (result["steps"], result["before"]["n"], result["after"]["n"]) == (30, 8, 8)
    assert "resumes from checkpoint-15" in printed
    assert "the answer: Qwen2.5-Omni" in printed


@pytest.mark.slow
def test_a_lost_session_continues(in_folder, tmp_path):
    sizes = dict(prompts_per_step=1, per_device_train_batch_size=2)
    assert "begins in runs/11_tiny" in in_folder("tiny", until="run.train(", **sizes)
    run = tmp_path / "runs" / "11_tiny"
    assert "continues in runs/11_tiny" in in_folder("tiny", **sizes)
    assert [line["step"] for line in read_lines(run / "metrics.jsonl")] == list(range(1, 31))
    assert len(read_lines(run / "completions.jsonl")) == 60
    assert (run / "result.json").exists()
    assert "begins in runs/11_tiny-2" in in_folder("tiny", until="from contextlib", **sizes)
