"""What the diagnosis says of healthy and of faulty rows and rollouts."""

import numpy as np
import pytest
from datasets import Dataset

from soundmind_lite import data, grpo, models, profiles
from soundmind_lite.audio import load_audio
from soundmind_lite.course import diagnosis
from soundmind_lite.runs import report

RUN = profiles.ASSETS / "runs" / "all_seed0"
TEXT_PARTS_ONLY = (
    "{% for m in messages %}{% for part in m['content'] %}"
    "{{ part['text'] if part['type'] == 'text' }}{% endfor %}{% endfor %}"
)


@pytest.fixture(scope="module")
def rows():
    return data.training_rows(data.load_alr("mini", "dev"))


def complaints(findings):
    return [str(finding) for finding in findings if not finding.ok]


def test_a_healthy_run_has_no_complaint(rows):
    assert complaints(diagnosis.check_rows(rows)) == []
    rollouts = report.read_lines(RUN / "completions.jsonl")
    assert complaints(diagnosis.check_rollouts(rollouts)) == []
    metrics = report.read_lines(RUN / "metrics.jsonl")
    assert complaints(diagnosis.check_clipping(metrics)) == []


def without_label(row):
    return {name: value for name, value in row.items() if name != "label"}


def with_parts(row):
    parts = [{"type": "text", "text": "?"}]
    return row | {"prompt": [{"role": "user", "content": parts}]}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without_label, "column label: missing"),
        (
            lambda row: row | {"label": "entailed"},
            "column label: holds 'entailed', of the wrong type",
        ),
        (
            lambda row: row | {"label": 2},
            "labels: values other than 0 (not-entailed) and 1 (entailed): [2]",
        ),
        (lambda row: row | {"audio": None}, "column audio: None"),
        (with_parts, "prompt: its content must be a plain string"),
    ],
)
def test_faulty_rows_are_named(rows, change, complaint):
    faulty = Dataset.from_list([change(dict(rows[i])) for i in range(4)])
    assert any(complaint in finding for finding in complaints(diagnosis.check_rows(faulty)))


def test_a_template_without_room_for_the_audio(rows, test_rows):
    processor = models.load_processor(profiles.get("tiny").model, 12)
    audio = load_audio(test_rows[0]["question_audio"])
    assert complaints(diagnosis.check_template(processor, rows[0], audio=audio)) == []
    processor.chat_template = TEXT_PARTS_ONLY
    (complaint,) = complaints(diagnosis.check_template(processor, rows[0], audio=audio))
    assert "0 placeholders for one clip: the template dropped the audio part" in complaint


def rollout(reward, text="<think>a</think>\nAnswer: entailed", advantage=0.0):
    return {
        "step": 1,
        "id": "a",
        "completion": text,
        "answer_reward": reward,
        "text_format_reward": 1.0,
        "advantage": advantage,
    }


def earned(*values):
    """Rollouts of one group in which a reward called "own" gave these values."""
    fields = {"step": 1, "id": "a", "completion": "<think>a</think>\nAnswer: entailed"}
    count = len(values)
    return [fields | {"own": v, "advantage": i - count / 2} for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([-1.0, 0.0, 0.0, -0.5], "OK   own: takes from 50% of the completions, -0.38 on average"),
        ([-9.0, -8.0, -7.0, -7.5], "OK   own: takes from 100% of the completions, -7.88"),
        ([0.0] * 30 + [-1.0], "OK   own: takes from 3% of the completions, -0.03 on average"),
        ([-1.0, 1.0, 1.0, -1.0], "OK   own: pays for 50% of the completions, takes from 50%, 0.00"),
        ([500.0, 0.0, 900.0, 0.0], "OK   own: pays for 50% of the completions, 350.00 on average"),
        ([None, 1.0, 0.0, None], "OK   own: pays for 50% of the completions that it applies to (2"),
        ([-0.5] * 4, "--   own: takes from 100% of the completions, -0.50 on average: constant"),
        ([-1.0] * 30 + [1.0], "0.94 on average: almost always the same"),
        ([None] * 4, "--   own: None for all 4 completions: it never applies; read its condition"),
        ([0.0] * 30 + [1.0], "--   own: pays for 3% of the completions, 0.03 on average: too rare"),
    ],
)
def test_rewards_of_any_name_and_sign_are_diagnosed(values, words):
    found = [str(finding) for finding in diagnosis.check_rollouts(earned(*values))]
    assert any(words in finding for finding in found), found
    assert not any("check the column" in finding for finding in found)


@pytest.mark.parametrize(
    ("rollouts", "complaint"),
    [
        (
            [rollout(0.0, advantage=1.0), rollout(0.0, advantage=-1.0)],
            "answer_reward: pays for 0% of the completions, 0.00 on average: constant",
        ),
        ([rollout(0.001), rollout(0.002)], "never above 0.002; check the column"),
        ([rollout(2.0)] * 4, "zero-std groups: 1 of 1"),
        (
            [rollout(2.0, "<think>a", advantage=1.0), rollout(2.0, "<think>a", advantage=-1.0)],
            "there is no </think> (2 of 2)",
        ),
    ],
)
def test_faulty_rollouts_are_named(rollouts, complaint):
    found = complaints(diagnosis.check_rollouts(rollouts))
    assert any(complaint in finding for finding in found)


def test_cut_completions_are_named():
    (complaint,) = complaints(diagnosis.check_clipping([{"completions/clipped_ratio": 0.41}]))
    assert "41% of the completions were cut off" in complaint


def test_lora_norms_start_at_zero_and_move(fresh_tiny):
    from peft import get_peft_model

    model = get_peft_model(fresh_tiny[0], grpo.lora_config(profiles.get("tiny")))
    norms = diagnosis.lora_norms(model)
    assert len(norms) == 28
    assert set(norms.values()) == {0.0}
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(1.0)
    assert min(diagnosis.lora_norms(model).values()) > 0


def test_clips_that_a_processor_cuts_are_named_with_both_lengths():
    """Whisper's own extractor reads 30 s; ours are told how much to read."""
    noise = np.random.default_rng(0).normal(0, 0.1, 45 * 16_000).astype("float32")
    clips = {"short": noise[: 16_000 * 7], "just": noise[: 16_000 * 30], "long": noise}
    thirty, sixty = (models.load_processor(profiles.get("tiny").model, s) for s in (30, 60))
    found = diagnosis.check_clips(thirty, clips)
    assert [str(finding)[:2] for finding in found] == ["OK", "--"]
    assert "clips that are read whole: 2 of 3" in str(found[0])
    assert "clip long has 45.0 s, and 30.0 s are read: leave it out" in str(found[1])
    assert complaints(diagnosis.check_clips(sixty, clips)) == []
