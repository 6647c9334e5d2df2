"""What notebooks show: model text is escaped, terms and reasons agree with the rewards, players and pictures carry words, widgets move."""
import base64
import io
import json
import random
import re

import numpy as np
import pytest
import soundfile

from soundmind_lite import data, rewards
from soundmind_lite.course import show, widgets
from soundmind_lite.runs import report
from soundmind_lite.audio import load_audio
from soundmind_lite.course.explain import explain, format_fault
from soundmind_lite.profiles import ASSETS

HOSTILE = ["", "<think>", "</think><think>", "<think></think>", "<script>alert(1)</script>", "<think><img src=x onerror=alert(1)></think>\nAnswer: entailed",
           "Answer: entailed" * 3, "<think>Answer: entailed", "\n\n", "<think>a</think>", "&lt;b&gt;", "<think>a</think>\nAnswer: entailed\nAnswer: entailed", "\x00"]


def pieces(count=400):
    """Completions put together from the parts that the rules look at."""
    rng = random.Random(0)
    parts = ["<think>", "</think>", "\n", " ", "Answer: entailed", "Answer: not-entailed.", "word", "<answer>", "."]
    return ["".join(rng.choices(parts, k=rng.randrange(9))) for _ in range(count)]


@pytest.mark.tried("hostile completions shown in a notebook", "escaped")
@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_model_wrote_becomes_html(text):
    for html in (show.marked(text), show.reward_card(text, 1, 10)):
        without_own = re.sub(r"</?(div|span|table|tr|td|strong)\b[^<>]*>", "", html)
        assert not re.search(r"<[a-zA-Z/!]", without_own)


@pytest.mark.parametrize("text", HOSTILE)
def test_marked_text_is_the_whole_text(text):
    import html

    assert html.unescape(re.sub(r"</?span[^<>]*>", "", show.marked(text))) == text


def test_reasons_agree_with_the_rewards():
    for text in HOSTILE + pieces():
        for label in (0, 1):
            answer, form, length = explain(text, label, 5)
            assert [answer.points] == rewards.answer_reward([text], [label])
            assert (answer.points == 2) == ("as the label does" in answer.reason)
            assert (form.points == 1) == (format_fault(text) is None)
            assert (length.points > 0) == (length.reason[0] != "0" and "no closed thought" not in length.reason)


@pytest.mark.parametrize(
    ("text", "fault"),
    [("", "the completion is empty"), ("Answer: entailed", "there is no <think>"), ("<think>a", "there is no </think>"),
     ("<think>a</think><think>b</think>\nAnswer: entailed", "<think> stands 2 times, once is asked"), ("Hm <think>a</think>\nAnswer: entailed", "something stands before <think>"),
     ("<think> </think>\nAnswer: entailed", "the thought is empty"), ("<think>a</think>\nmaybe", "there is no answer line after the thought"),
     ("<think>a</think>\nso\nAnswer: entailed", "something stands between the thought and the answer line"), ("<think>a</think>\nAnswer: entailed", None)],
)
def test_the_fault_of_a_format(text, fault):
    assert format_fault(text) == fault


def test_a_player_holds_its_sound(test_rows):
    html = show.player(test_rows[0]["question_audio"], "a <b> question").data
    sound = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    audio, rate = soundfile.read(io.BytesIO(sound))
    original = load_audio(test_rows[0]["question_audio"])
    assert rate == 16_000
    assert abs(len(audio) - len(original)) < 0.1 * rate
    assert "Transcript: a &lt;b&gt; question" in html
    assert len(html) < 80_000


def test_a_picture_has_its_words():
    image = show.picture(show.waveform(0.1 * np.sin(np.arange(16_000) / 10)), "a tone of one second")
    bundle = image._repr_mimebundle_()
    assert 'alt="a tone of one second"' in bundle["text/html"]
    assert "In words: a tone of one second" in bundle["text/html"]


def test_the_lab_moves_and_leaves_a_picture():
    lab = widgets.reward_lab("Answer: entailed", label=1)
    text, controls, card = lab.children
    assert "2.00 of 2" in card.value
    controls.children[0].value = 0
    assert "says entailed, the label says not-entailed" in card.value
    text.value = "<think><b>bold</b></think>\nAnswer: not-entailed"
    assert "&lt;b&gt;bold" in card.value
    bundle = lab._repr_mimebundle_()
    assert card.value in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.fixture(scope="module")
def rollouts():
    return report.read_lines(ASSETS / "runs" / "all_seed0" / "completions.jsonl")


def test_the_rollout_player_steps_through_a_run(rollouts):
    player = widgets.rollout_player(rollouts, data.load_alr("mini", "train"))
    (step, question), card = player.children[0].children, player.children[1]
    first = card.value
    assert first.count("advantage ") == 8
    question.value = question.options[1]
    second = card.value
    step.value = 40
    assert len({first, second, card.value}) == 3
    assert "Step 40" in card.value
    assert list(question.options) == list(report.groups_of(rollouts)[40])


def test_the_rollout_player_names_rows_that_are_not_there(rollouts):
    with pytest.raises(ValueError, match="give the rows of the training"):
        widgets.rollout_player(rollouts, data.load_alr("mini", "train").select(range(3)))


def test_curves_in_words():
    metrics = report.read_lines(ASSETS / "runs" / "all_seed0" / "metrics.jsonl")
    words, values = report.in_words(metrics), [m["rewards/answer_reward/mean"] for m in metrics]
    peak = values.index(max(values))
    assert f"answer reward from {values[0]:.2f}, highest {values[peak]:.2f} at step {peak + 1}, to {values[-1]:.2f};" in words
    assert "over 40 steps" in words


def test_shipped_runs_hold_no_trace_of_a_machine():
    for file in (ASSETS / "runs").rglob("*.json*"):
        text = file.read_text(encoding="utf-8")
        assert "/work" not in text, file
        assert "/home" not in text, file
    config = json.loads((ASSETS / "runs" / "all_seed0" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "assets/tiny_omni"
