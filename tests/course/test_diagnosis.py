"""The "why is my reward 0?" doctor on healthy and on sick rows and rollouts."""
import pytest
from datasets import Dataset

from soundmind_lite import data, grpo, profiles
from soundmind_lite.course import diagnosis
from soundmind_lite.runs import report
from soundmind_lite.audio import load_audio

RUN = profiles.ASSETS / "runs" / "all_seed0"


@pytest.fixture(scope="module")
def rows():
    return data.training_rows(data.load_alr("mini", "dev"))


def said(findings):
    return [str(f) for f in findings if not f.ok]


def test_a_healthy_run_is_well(rows):
    assert said(diagnosis.check_rows(rows)) == []
    assert said(diagnosis.check_rollouts(report.read_lines(RUN / "completions.jsonl"))) == []
    assert said(diagnosis.check_clipping(report.read_lines(RUN / "metrics.jsonl"))) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda r: {k: v for k, v in r.items() if k != "label"}, "column label: missing"),
        (lambda r: r | {"label": "entailed"}, "column label: holds 'entailed', of the wrong type"),
        (lambda r: r | {"label": 2}, r"labels: [2] stand beside"), (lambda r: r | {"audio": None}, "column audio: None"),
        (lambda r: r | {"prompt": [{"role": "user", "content": [{"type": "text", "text": "?"}]}]}, "prompt: its content must be a plain string"),
    ],
)
def test_sick_rows_are_named(rows, change, complaint):
    sick = Dataset.from_list([change(dict(rows[i])) for i in range(4)])
    assert any(complaint in finding for finding in said(diagnosis.check_rows(sick)))


def test_a_template_without_room_for_the_sound(tiny, rows, test_rows):
    from soundmind_lite import models

    processor = models.load_processor(profiles.get("tiny").model, 12)
    audio = load_audio(test_rows[0]["question_audio"])
    assert said(diagnosis.check_template(processor, rows[0], audio)) == []
    processor.chat_template = "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] if part['type'] == 'text' }}{% endfor %}{% endfor %}"
    assert any("0 placeholders for one clip: the template dropped the audio part" in finding for finding in said(diagnosis.check_template(processor, rows[0], audio)))


def rollout(points, text="<think>a</think>\nAnswer: entailed", advantage=0.0, name="a"):
    return dict(step=1, id=name, completion=text, answer_reward=points, text_format_reward=1.0, advantage=advantage)


@pytest.mark.parametrize(
    ("rollouts", "complaint"),
    [
        ([rollout(0.0, advantage=a) for a in (1.0, -1.0)], "answer_reward: pays for 0% of the completions, 0.00 on average: constant"),
        ([rollout(p) for p in (0.001, 0.002)], "never above 0.002; check the column"), ([rollout(2.0)] * 4, "1 of 1 groups without variance"),
        ([rollout(2.0, "<think>a", advantage=a) for a in (1.0, -1.0)], "there is no </think> (2 of 2)"),
    ],
)
def test_sick_rollouts_are_named(rollouts, complaint):
    assert any(complaint in finding for finding in said(diagnosis.check_rollouts(rollouts)))


def test_cut_completions_are_named():
    assert "41% of the completions were cut off" in said(diagnosis.check_clipping([{"completions/clipped_ratio": 0.41}]))[0]


def test_lora_norms_start_at_zero_and_move(fresh_tiny):
    from peft import get_peft_model

    model = get_peft_model(fresh_tiny[0], grpo.lora(profiles.get("tiny")))
    norms = diagnosis.lora_norms(model)
    assert len(norms) == 28
    assert set(norms.values()) == {0.0}
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(1.0)
    assert min(diagnosis.lora_norms(model).values()) > 0
