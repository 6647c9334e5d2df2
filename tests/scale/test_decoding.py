"""Times of a new token: each way samples as many, and what the limit reads is counted by hand."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import ROOT

from soundmind_lite import models, profiles
from soundmind_lite.scale import decoding

TINY = profiles.get("tiny")


@pytest.fixture(scope="module")
def found():
    return decoding.measure(TINY, audio_seconds=2.0, group=2, new_tokens=6, repeats=1)


def test_each_way_is_timed(found):
    assert found["token_ms"].keys() == decoding.WAYS.keys()
    assert all(ms > 0 for ms in found["token_ms"].values())
    assert (found["group"], found["new_tokens"], found["audio_seconds"]) == (2, 6, 2.0)


def test_the_table_has_a_line_for_each_way_and_the_limit(found):
    lines = decoding.table(found | {"limit_ms": 0.5, "megabytes_read": 4.2}).splitlines()
    for line, (words, _) in zip(lines[2:], decoding.WAYS.values()):
        assert line.startswith(words)
    assert lines[2].split()[-2] == "1.0"
    assert lines[-1].startswith("limit: 4 MB read for each token take 0.50 ms")


def test_the_bytes_of_the_limit_by_hand(tiny):
    model = tiny[0]
    batch = {"input_ids": torch.zeros(8, 100)}
    read = decoding.bytes_read(model, batch, group=8, new_tokens=60)
    # a layer: 128 × 128 of q and o, 64 × 128 of k and v, their biases, 3 × 128 × 384, two norms
    layer = 2 * 128 * 128 + 2 * 64 * 128 + 128 + 2 * 64 + 3 * 128 * 384 + 2 * 128
    weights = 4 * layer + 128 + 496 * 128  # and the last norm, and the head
    states = 2 * 4 * 2 * 32 * (100 + 8 * 30)
    assert read == 4 * (weights + states)
    half = models.load(replace(TINY, dtype="bfloat16"))[0]
    assert decoding.bytes_read(half, batch, group=8, new_tokens=60) == read / 2


def test_the_results_page_has_the_figures_of_the_shipped_files():
    page = (ROOT / "assets/site/results.md").read_text(encoding="utf-8")
    rows = page.partition("## A new token")[2].partition("All four")[0].splitlines()[-5:-1]
    for name, column in (("decode_60s.json", 2), ("decode_7s.json", 3)):
        shipped = json.loads((ROOT / "assets/runs/bench" / name).read_text())["token_ms"]
        for row, (way, ms) in zip(rows, shipped.items()):
            faster = "" if way == "transformers" else f" ({shipped['transformers'] / ms:.1f} ×)"
            assert row.split("|")[column].strip() == f"{ms:.1f} ms{faster}"
