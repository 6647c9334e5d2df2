"""An independent evaluation against the base: a stand-in from a local hub, asked, stopped and asked
again, with a row whose label contradicts its text."""

import json
import shutil
from dataclasses import replace

import pytest
from alr.local_hub import MODEL, serving

from soundmind_lite import evaluation, profiles
from soundmind_lite.alr.bad_rows import SkippedRows
from soundmind_lite.runs import beside, independent
from soundmind_lite.runs.files import RunError

BASE = profiles.get("tiny").model


@pytest.fixture(scope="module")
def rows(eight_rows, tmp_path_factory):
    """Eight test rows; the first one's label isn't what its reasoning says."""
    folder = shutil.copytree(eight_rows, tmp_path_factory.mktemp("rows") / "rows")
    file = folder / "test.jsonl"
    first, *others = file.read_text(encoding="utf-8").splitlines()
    row = json.loads(first)
    row["label"] = 1 - row["label"]
    file.write_text("\n".join([json.dumps(row), *others]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def profile(rows):
    """Measures batches of four; greedy answers of the tiny model need 60 tokens at most."""
    sizes = {"data": str(rows), "per_device_eval_batch_size": 4, "max_completion_length": 60}
    return replace(profiles.get("tiny"), **sizes)


def test_a_model_of_the_hub_against_its_base(profile, tmp_path, monkeypatch, published_checkpoint):
    files = {path.name: path.read_bytes() for path in published_checkpoint.iterdir()}
    with serving(monkeypatch, tmp_path / "hub") as hub:
        hub.commit(files, repository=f"models/{MODEL}")
        result = independent.compare(replace(profile, model=MODEL), BASE, tmp_path / "out")
    assert result["conflicts"] == ["0001"]
    every, fewer = result["all rows"], result["without conflicts"]
    assert {every[name]["n"] for name in ("base", "true", "silent", "swapped")} == {8}
    assert fewer["true"]["n"] == 7
    # the stand-in is the base in bfloat16, so that it hardly differs
    assert abs(every["true"]["right"] - every["base"]["right"]) <= 2
    assert 0 < every["paired_p"] <= 1
    assert every["silent"]["right"] <= every["true"]["right"]
    page = (tmp_path / "out" / "evaluation.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {MODEL} against {BASE}\n")
    right = every["true"]["right"]
    assert f"| {MODEL} | its own audio | {right / 8:.1%} (" in page
    assert "contradicts their text: 1." in page
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert written == result


def test_a_stop_costs_a_batch_and_what_is_there_is_not_asked_again(profile, tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "core_is_free", lambda: False)  # all are counted in this process
    asked, complete = [], evaluation.complete

    def stopping(model, conversations, **options):
        asked.append(len(conversations))
        if len(asked) == 4:  # in the second of the four measurements
            raise KeyboardInterrupt
        return complete(model, conversations, **options)

    monkeypatch.setattr(evaluation, "complete", stopping)
    with pytest.raises(KeyboardInterrupt):
        independent.compare(profile, BASE, tmp_path)
    assert not (tmp_path / "evaluation.md").exists()
    whole = independent.compare(profile, BASE, tmp_path)
    assert asked == [4] * 9  # 4 measurements of 8 rows, and the batch that was stopped
    names = ["base.json", "evaluation.json", "evaluation.md"]
    names += ["silent.json", "swapped.json", "true.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    # against itself nothing changes
    figures = whole["all rows"]
    assert figures["base"] == figures["true"]
    assert figures["paired_p"] == 1


def test_a_bad_row_that_is_left_out_stays_out(profile, rows, tmp_path):
    """Also where labels are compared with texts, after all measurements."""
    folder = shutil.copytree(rows, tmp_path / "rows")
    with (folder / "test.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"id": "0009", "user_content": "?", "label": 7}) + "\n")
    faulty = replace(profile, data=str(folder))
    with pytest.warns(SkippedRows):
        result = independent.compare(faulty, BASE, tmp_path / "out", on_bad_row="skip")
    assert result["all rows"]["true"]["n"] == 8
    assert result["conflicts"] == ["0001"]


def test_the_folder_of_another_evaluation_is_refused(profile, tmp_path):
    independent.compare(replace(profile, test_rows=4), BASE, tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=r"base\.json holds an evaluation of .*give another --out"):
        independent.compare(profile, BASE, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_the_command_wants_a_folder(command):
    done = command("evaluate", "--against", BASE)
    assert done.returncode == 1
    assert "--out is a folder for it" in done.stderr
