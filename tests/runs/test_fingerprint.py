"""The fingerprint of rows: of what they hold, and not of where they are."""

import json
import shutil

from conftest import good_row

from soundmind_lite.data import load_alr
from soundmind_lite.runs.fingerprint import fingerprint


def test_a_fingerprint_is_of_what_the_rows_hold_and_not_of_where(tone, tmp_path):
    root, other = tmp_path / "one", tmp_path / "other"
    for name in ("1", "2"):
        (root / "dev" / name).mkdir(parents=True)
        shutil.copy(tone(), root / "dev" / name / "question.wav")
    lines = [json.dumps(good_row("1")), json.dumps(good_row("2", major="b"))]
    (root / "dev.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = load_alr(root, "dev")
    before = fingerprint(rows)
    assert before == fingerprint(load_alr(shutil.copytree(root, other), "dev"))
    assert before != fingerprint(rows.select([1, 0]))
    clip = root / "dev" / "2" / "question.wav"
    clip.write_bytes(clip.read_bytes()[:-1] + b"x")  # no byte more or less
    assert before != fingerprint(rows)


def test_the_fingerprint_of_mini_alr_stays():
    assert fingerprint(load_alr("mini", "dev")) == "1783aa3c1e5c82c3"
