"""The statistics against known values, and the audio controls."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundmind_lite import profiles
from soundmind_lite.evaluation import (
    answer_rows,
    donors,
    paired_p,
    quotes_premises,
    sounds,
    wilson_interval,
)


def test_wilson_against_published_values():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29
    for (k, n), expected in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson_interval(k, n) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("k", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="expected 0"):
        wilson_interval(k, n)


def test_the_paired_test_is_the_exact_binomial():
    before, after = [True] * 2 + [False] * 10 + [True] * 30, [False] * 2 + [True] * 10 + [True] * 30
    assert paired_p(before, after) == pytest.approx(
        2 * sum(math.comb(12, k) for k in range(3)) / 2**12
    )
    assert paired_p(before, before) == 1.0
    assert paired_p(before, after) == paired_p(after, before)


def test_swapping_leaves_a_perfect_listener_at_chance():
    labels = [1] * 37 + [0] * 43
    chosen = donors(labels)
    agree = sum(labels[i] == labels[j] for i, j in enumerate(chosen))
    assert abs(agree - len(labels) / 2) <= 1
    assert all(i != j for i, j in enumerate(chosen))
    assert donors(labels) == chosen


@pytest.mark.parametrize("labels", [[1], [1, 1, 1]])
def test_swapping_needs_both_labels(labels):
    with pytest.raises(ValueError, match="rows of both labels"):
        donors(labels)


def clips_of(rows, control):
    return list(map(sounds(rows, control, limit=12), range(len(rows))))


def test_the_controls_change_the_audio_alone(test_rows):
    rows = test_rows[:8]
    true, silent, swapped = (clips_of(rows, kind) for kind in ("true", "silent", "swapped"))
    assert [len(a) for a in true] == [len(a) for a in silent]
    assert not any(a.any() for a in silent)
    assert not any(len(a) == len(b) and np.array_equal(a, b) for a, b in zip(true, swapped))
    with pytest.raises(ValueError, match="no audio control 'loud'"):
        clips_of(rows, "loud")


def test_a_control_or_setting_that_makes_no_sense_is_an_error(tiny, test_rows):
    model, processor = tiny
    options = dict(processing_class=processor, profile="tiny")
    with pytest.raises(ValueError, match="'silent' changes the audio"):
        answer_rows(model, test_rows[:2], setting="text-text", control="silent", **options)
    with pytest.raises(ValueError, match="no setting 'banana'"):
        answer_rows(model, test_rows[:2], setting="banana", **options)


def test_premises_are_quoted_word_for_word_or_not_at_all():
    row = dict(
        major_premise="All cats are dogs",
        minor_premise="some birds are cats",
        conclusion="no dogs are birds",
    )
    said = (
        "Major premise: all cats are dogs. Minor premise: some birds are cats. "
        "Conclusion: no dogs are birds."
    )
    assert quotes_premises(row, said)
    assert not quotes_premises(row, said.replace("some birds", "all birds"))
    assert not quotes_premises(row, said.replace("no dogs are birds", "no dogs are birdsong"))


def test_the_order_and_the_batches_change_no_answer(tiny, test_rows):
    rows = test_rows[:6]
    model, processor = tiny
    together, alone = (
        answer_rows(
            model,
            rows,
            processing_class=processor,
            profile=replace(profiles.get("tiny"), per_device_eval_batch_size=size),
        )
        for size in (6, 1)
    )
    assert [a.completion for a in together] == [a.completion for a in alone]
    assert [a.id for a in together] == [r["id"] for r in rows]


def test_a_seed_gives_the_same_samples_and_leaves_the_random_state_alone(tiny, test_rows):
    model, processor = tiny
    state = torch.random.get_rng_state()
    options = dict(processing_class=processor, profile="tiny", sample=True)
    first, again, other = (answer_rows(model, test_rows[:8], seed=s, **options) for s in (0, 0, 1))
    assert first == again
    assert first != other
    assert torch.equal(state, torch.random.get_rng_state())
