"""The audit, on planted faults and on the real annotations."""

import pytest
import trees
from conftest import good_row

from soundmind_lite.data import audit, load_alr


def test_the_audit_finds_planted_faults(tmp_path):
    no = "No.\nAnswer: not entailed."
    dev = [
        good_row("1"),
        good_row("2", label=0, major="other", answer=no),
        good_row("3", answer="x Answer: not-entailed."),
        good_row("4", major="last"),
    ]
    test = [good_row("9", label=0, major="other", answer=no)]
    (tmp_path / "dev.jsonl").write_bytes(trees.json_lines(dev))
    (tmp_path / "test.jsonl").write_bytes(trees.json_lines(test))
    for identifier, samples in (("1", 16_000), ("2", 48_000), ("3", 160)):
        clip = tmp_path / "dev" / identifier / "question.wav"
        clip.parent.mkdir(parents=True)
        clip.write_bytes(trees.wav(samples))
    rows = [*load_alr(tmp_path, "dev"), *load_alr(tmp_path, "test", audio=None)]
    found = audit(rows, max_seconds=2)
    assert [name for name, _ in found.conflicts] == ["dev/3"]
    assert [name for name, _ in found.duplicates] == ["dev/1", "dev/2"]
    assert [name for name, _ in found.shared_premises] == ["dev/2"]
    what = [(name, why.rsplit(": ", 1)[1][:5]) for name, why in found.bad_audio]
    assert what == [("dev/2", "3.0 s"), ("dev/3", "0.010"), ("dev/4", "No su")]
    assert found.lengths["seconds, longest"] == 1
    assert "conflicts" in str(found)
    assert "dev/3" in str(found)


def test_the_audit_counts_the_real_conflicts(tmp_path, real_rows):
    (tmp_path / "dev.jsonl").write_bytes(trees.json_lines(real_rows))
    found = audit(load_alr(tmp_path, "dev", audio=None))
    assert len(found.conflicts) == 33
    assert len(found.duplicates) == 2
    assert found.lengths["question words"] == pytest.approx(157, abs=1)
