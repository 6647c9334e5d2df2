"""Hours of training, evaluation and download: what is counted, and what real steps replace."""

from dataclasses import replace

import pytest

from soundmind_lite import data, profiles
from soundmind_lite.profiles import ASSETS
from soundmind_lite.scale import timing
from soundmind_lite.scale.cards import CARDS

LARGE = profiles.get("80gb")


@pytest.mark.parametrize(
    ("model", "four_bit", "card", "low", "high"),
    [
        (profiles.OMNI_3B, True, "T4", 100, 120),
        (profiles.OMNI_7B, True, "L4", 110, 130),
        (profiles.OMNI_7B, False, "H100", 25, 30),
    ],
)
def test_milliseconds_of_a_token(model, four_bit, card, low, high):
    """4 bits are bound by unpacking and by launches, 16 bits on a fast card by launches alone."""
    profile = replace(LARGE, model=model, load_in_4bit=four_bit)
    cached = 8 * 2000
    seconds = timing.token_seconds(profile, CARDS[card], rows=8, cached_tokens=cached)
    assert low <= 1000 * seconds <= high


def test_four_bits_save_memory_and_not_time():
    quantized = replace(LARGE, load_in_4bit=True)
    slow, fast = (
        timing.token_seconds(p, CARDS["A100"], rows=8, cached_tokens=0) for p in (quantized, LARGE)
    )
    assert slow > 2 * fast


def test_a_step_costs_more_with_longer_clips_and_less_on_more_cards():
    card = CARDS["H100"]
    short, long = (timing.step_seconds(LARGE, card, audio_seconds=s) for s in (30, 120))
    shared = timing.step_seconds(LARGE, card, audio_seconds=30, processes=4)
    unshared = timing.step_seconds(replace(LARGE, shared_prefix=False), card, audio_seconds=30)
    assert shared < short < long
    assert short < unshared


def test_evaluation_counts_every_answer():
    """656 rows, 24 at a time, greedy and sampled, three times: 168 calls of `generate`."""
    card = CARDS["A100"]
    one = replace(LARGE, test_rows=24, eval="short")
    call = timing.evaluation_seconds(one, card, audio_seconds=60) / 3
    assert timing.evaluation_seconds(LARGE, card, audio_seconds=60) == pytest.approx(168 * call)
    assert timing.evaluation_seconds(replace(LARGE, eval="none"), card, audio_seconds=60) == 0
    half = timing.evaluation_seconds(LARGE, card, audio_seconds=60, processes=2)
    assert half == pytest.approx(14 * 6 * call)


def test_the_download_is_the_checkpoint_and_the_clips_in_use():
    """19 GB of questions, 3.5 of them dev and test, and 22.4 GB of the 7B's files."""
    everything = replace(LARGE, train_rows=None)
    questions = timing.download_gb(everything) - 22.4
    assert questions * 6446 / (5184 + 656) == pytest.approx(19, abs=0.5)
    few = replace(LARGE, train_rows=100, test_rows=50)
    assert timing.download_gb(few) - 22.4 == pytest.approx(150 * 0.003, rel=0.01)
    unmeasured = replace(few, eval="none")
    assert timing.used_rows(unmeasured) == (100, 0)
    assert timing.download_gb(unmeasured) < timing.download_gb(few)
    assert timing.download_seconds(profiles.get("tiny")) == 0


def test_the_rows_of_mini_are_those_that_are_there():
    counted = tuple(
        len((ASSETS / "mini_alr" / f"{split}.jsonl").read_text().splitlines())
        for split in ("train", "test")
    )
    assert timing.ROWS["mini"] == counted


def test_two_real_steps_calibrate(eight_rows, tmp_path):
    profile = replace(
        profiles.get("tiny"),
        num_generations=2,
        prompts_per_step=2,
        per_device_train_batch_size=4,
        max_completion_length=10,
    )
    rows = data.training_rows(data.load_alr(eight_rows, "train"))
    seconds = timing.calibrate(profile, rows, output_dir=tmp_path)
    assert 0 < seconds < 60
