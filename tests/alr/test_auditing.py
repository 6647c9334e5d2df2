"""The audit, on planted faults and on the real annotations."""

import numpy as np
import pytest
import soundfile
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
        wave = 0.1 * np.sin(np.arange(samples))
        soundfile.write(clip, wave, 16_000)
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


NOISE = np.random.default_rng(0).standard_normal(16_000)
WORD = np.where(np.arange(16_000) // 1600 == 4, 0.005 * NOISE, 0)  # 0.1 s of a second, at -46 dB


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (0 * NOISE, "nothing can be heard"),
        (1e-5 * NOISE, "nothing can be heard"),
        (3e-4 * NOISE, "nothing can be heard"),
        (0 * NOISE + 0.3, "nothing can be heard"),  # a microphone with an offset
        (np.stack([0.1 * NOISE, -0.1 * NOISE], 1), "its 2 channels cancel each other"),
        (np.stack([0.1 * NOISE, -0.09 * NOISE], 1), "its 2 channels cancel each other"),
        (WORD, None),
        (0.005 * NOISE, None),
        (np.stack([0.1 * NOISE, 0 * NOISE], 1), None),
    ],
)
def test_the_audit_names_clips_in_which_nothing_can_be_heard(tmp_path, samples, words):
    (tmp_path / "dev.jsonl").write_bytes(trees.json_lines([good_row("1")]))
    clip = tmp_path / "dev" / "1" / "question.wav"
    clip.parent.mkdir(parents=True)
    soundfile.write(clip, samples, 16_000, subtype="FLOAT")
    rows = load_alr(tmp_path, "dev")
    content = {"path": "dev/1/question.wav", "bytes": clip.read_bytes()}
    for row in (rows[0], rows[0] | {"question_audio": content}):
        found = audit([row]).bad_audio
        if words is None:
            assert found == []
        else:
            [(name, what)] = found
            assert name == "dev/1"
            assert "question.wav: " + words in what


def test_the_audit_counts_the_real_conflicts(tmp_path, real_rows):
    (tmp_path / "dev.jsonl").write_bytes(trees.json_lines(real_rows))
    found = audit(load_alr(tmp_path, "dev", audio=None))
    assert len(found.conflicts) == 33
    assert len(found.duplicates) == 2
    assert found.lengths["question words"] == pytest.approx(157, abs=1)
