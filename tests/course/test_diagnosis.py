"""What the diagnosis says of healthy and of faulty rows and rollouts."""

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
