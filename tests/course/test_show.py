"""What notebooks show: escaped text, reasons that agree with the rewards, players, widgets."""

import base64
import html
import io
import json
import random
import re
from pathlib import Path

import pytest
import soundfile
from matplotlib.figure import Figure
from matplotlib.image import imread

from soundmind_lite import data, profiles, rewards
from soundmind_lite.audio import load_audio
from soundmind_lite.course import show, widgets
from soundmind_lite.course.explain import explain, format_fault
from soundmind_lite.course.pictures import SHOWN
from soundmind_lite.profiles import ASSETS
from soundmind_lite.publish import curves
from soundmind_lite.runs import report

ADVERSARIAL = [
    "",
    "<think>",
    "</think><think>",
    "<think></think>",
    "<script>alert(1)</script>",
    "<think><img src=x onerror=alert(1)></think>\nAnswer: entailed",
    "Answer: entailed" * 3,
    "<think>Answer: entailed",
    "\n\n",
    "<think>a</think>",
    "&lt;b&gt;",
    "<think>a</think>\nAnswer: entailed\nAnswer: entailed",
    "\x00",
]


def pieces(count=400):
    """Completions put together from the parts that the rules look at."""
    rng = random.Random(0)
    parts = ["<think>", "</think>", "\n", " ", "Answer: entailed", "Answer: not-entailed."]
    parts += ["word", "<answer>", "."]
    return ["".join(rng.choices(parts, k=rng.randrange(9))) for _ in range(count)]


@pytest.mark.tried("adversarial completions shown in a notebook", "escaped")
@pytest.mark.parametrize("text", ADVERSARIAL)
def test_nothing_that_a_model_wrote_becomes_html(text):
    for shown in (show.marked(text), show.reward_card(text, 1, reference_length=10)):
        without_own = re.sub(r"</?(div|span|table|tr|td|strong)\b[^<>]*>", "", shown)
        assert not re.search(r"<[a-zA-Z/!]", without_own)


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_marked_text_is_complete(text):
    assert html.unescape(re.sub(r"</?span[^<>]*>", "", show.marked(text))) == text


def test_reasons_agree_with_the_rewards():
    for text in ADVERSARIAL + pieces():
        for label in (0, 1):
            answer, form, length = explain(text, label, reference_length=5)
            assert [answer.reward] == rewards.answer_reward([text], [label])
            assert (answer.reward == 2) == ("as the label does" in answer.reason)
            assert (form.reward == 1) == (format_fault(text) is None)
            counted = length.reason[0] != "0" and "no closed thought" not in length.reason
            assert (length.reward > 0) == counted


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "the completion is empty"),
        ("Answer: entailed", "there is no <think>"),
        ("<think>a", "there is no </think>"),
        (
            "<think>a</think><think>b</think>\nAnswer: entailed",
            "<think> occurs 2 times instead of once",
        ),
        ("Hm <think>a</think>\nAnswer: entailed", "there is text before <think>"),
        ("<think> </think>\nAnswer: entailed", "the thought is empty"),
        ("<think>a</think>\nmaybe", "there is no answer line after the thought"),
        (
            "<think>a</think>\nso\nAnswer: entailed",
            "there is text between the thought and the answer line",
        ),
        ("<think>a</think>\nAnswer: entailed", None),
    ],
)
def test_the_fault_of_a_format(text, fault):
    assert format_fault(text) == fault


def test_a_player_holds_its_audio(test_rows):
    shown = show.player(test_rows[0]["question_audio"], "a <b> question").data
    mp3 = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1])
    audio, rate = soundfile.read(io.BytesIO(mp3))
    original = load_audio(test_rows[0]["question_audio"])
    assert rate == 16_000
    assert abs(len(audio) - len(original)) < 0.1 * rate
    assert "Transcript: a &lt;b&gt; question" in shown
    assert len(shown) < 80_000


def test_a_picture_has_its_words():
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "k", label="a line")
    axes.legend()
    bundle = show.picture(figure, "a line from 0 to 1")._repr_mimebundle_()
    assert 'alt="a line from 0 to 1"' in bundle["text/html"]
    assert "In words: a line from 0 to 1" in bundle["text/html"]


def test_a_picture_can_be_read_on_white_and_on_black():
    """Transparent around its words, and nothing in it is black or white."""
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "k", label="a line")
    axes.set(title="title", xlabel="x", ylabel="y")
    axes.legend()
    axes.annotate("note", (0.2, 0.6))
    image = show.picture(figure, "a line from 0 to 1").image
    pixels = imread(io.BytesIO(base64.b64decode(image)))
    opaque = pixels[pixels[..., 3] > 0.99][:, :3]
    assert 0.01 < len(opaque) / pixels[..., 0].size < 0.3
    assert abs(opaque - 0x77 / 255).max() < 0.02


def test_words_of_a_picture_can_be_read_on_a_phone():
    """A phone shows a picture 358 px wide: a figure of the usual width, with letters of 11 px."""
    figure = Figure(figsize=(report.WIDTH, 2), layout="constrained")
    axes = figure.subplots()
    small = axes.set_title("small", fontsize=6)
    shown = show.picture(figure, "a title")
    image = imread(io.BytesIO(base64.b64decode(shown.image)))
    width, height = shown.size
    assert (2 * width, 2 * height) == pytest.approx(image.shape[1::-1], abs=1)  # sharp
    assert small.get_fontsize() / 72 * SHOWN * 358 / width >= 11
    assert f'width="{width}" height="{height}"' in shown._repr_mimebundle_()["text/html"]


def test_the_curves_of_the_home_page_fit_a_page_and_a_phone():
    """Pictures are shown at half their pixels, and no wider than the text: 736 px, or 358 px."""
    for name in curves.FILES:
        shown = 358 if "stacked" in name else 736
        width = imread(ASSETS / "figures" / name).shape[1] / 2
        assert report.SMALLEST / 72 * SHOWN * min(shown / width, 1) >= 11, name


@pytest.mark.parametrize("file", sorted((ASSETS / "figures").glob("*.svg")), ids=lambda f: f.stem)
def test_a_drawing_fits_a_phone_and_has_its_words(file):
    picture = show.drawing(file.stem)
    assert len(picture.alt) > 200
    assert "data:image/svg+xml;base64," in picture._repr_mimebundle_()["text/html"]
    text = file.read_text(encoding="utf-8")
    assert int(re.search(r'viewBox="0 0 (\d+) ', text)[1]) <= 390
    assert min(map(float, re.findall(r'font-size="([\d.]+)"', text))) >= 11


def test_an_unknown_drawing_is_named():
    with pytest.raises(ValueError, match=r"no drawing 'talkr'; there are .*thinker_talker"):
        show.drawing("talkr")


def test_the_lab_moves_and_leaves_a_picture():
    lab = widgets.reward_lab("Answer: entailed", label=1)
    text, controls, card = lab.children
    assert "2.00 of 2" in card.value
    controls.children[0].value = 0
    assert "says entailed, the label says not-entailed" in card.value
    text.value = "<think><b>bold</b></think>\nAnswer: not-entailed"
    assert "&lt;b&gt;bold" in card.value
    assert card.value in lab.as_saved()


def test_a_lab_is_shown_as_a_picture_and_as_a_widget(monkeypatch):
    """Two outputs, so that the picture is there where the widget's kernel isn't any more."""
    shown = []
    monkeypatch.setattr(widgets, "display", lambda output, **_: shown.append(output))
    lab = widgets.reward_lab("Answer: entailed", label=1)
    lab._ipython_display_()
    picture, live = shown
    assert lab.children[-1].value in picture.data
    assert "application/vnd.jupyter.widget-view+json" in live
    assert "text/html" not in live


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


def test_the_rollout_player_names_rows_that_are_missing(rollouts):
    some = data.load_alr("mini", "train").select(range(3))
    with pytest.raises(ValueError, match="pass the rows of the training"):
        widgets.rollout_player(rollouts, some)


def test_rewards_of_any_name_are_shown_with_gaps_and_penalties():
    """A question without audio is shown as text; with bytes, or an array, it has its player."""
    row = dict(data.load_alr("mini", "train")[0])
    fields = {"step": 1, "id": row["id"], "group": 0, "completion": "x", "advantage": 0.0}
    rollouts = [fields | {"is it <b>short</b>?": None, "length penalty": -12.5}]
    written = show.rollout_group(rollouts, row | {"question_audio": None})
    assert "is it &lt;b&gt;short&lt;/b&gt;?&nbsp;none" in written
    assert "length penalty&nbsp;-12.50" in written
    assert "group&nbsp;" not in written
    assert "<audio" not in written
    assert html.escape(row["question"]) in written
    content = {"path": None, "bytes": Path(row["question_audio"]).read_bytes()}
    assert "<audio" in show.rollout_group(rollouts, row | {"question_audio": content})


def test_the_axis_of_the_terms_holds_all_of_them():
    metrics = report.read_lines(ASSETS / "runs" / "all_seed0" / "metrics.jsonl")
    for entry in metrics:
        entry |= {"rewards/penalty/mean": -3.0 * entry["step"], "rewards/_big one/mean": 1e4}
    axes = report.draw(metrics).axes[0]
    low, high = axes.get_ylim()
    assert low < -3.0 * len(metrics)
    assert high > 1e4
    names = [words.get_text() for words in axes.get_legend().get_texts()]
    assert names[:2] == ["answer reward", "text format reward"]
    assert names[3:] == ["penalty", " big one"]


def test_the_planner_plans_again_for_another_card():
    lab = widgets.planner_lab("l4", "T4")
    (_, where, _), card = lab.children[0].children, lab.children[-1]
    first = card.value
    assert "l4 on T4" in first
    where.value = "H100"
    assert "l4 on H100" in card.value
    assert card.value in lab.as_saved()


def test_a_profile_in_the_planner_brings_its_own_sizes():
    from soundmind_lite.scale import planner
    from soundmind_lite.scale.cards import CARDS

    lab = widgets.planner_lab("l4", "H100")
    which = lab.children[0].children[0]
    which.value = "80gb"
    plan = planner.plan(profiles.get("80gb"), CARDS["H100"], price=1.0)
    assert lab.children[-1].value == show.plan_card(plan)


def test_curves_in_words():
    metrics = report.read_lines(ASSETS / "runs" / "all_seed0" / "metrics.jsonl")
    words = report.in_words(metrics)
    values = [m["rewards/answer_reward/mean"] for m in metrics]
    peak = values.index(max(values))
    expected = (
        f"answer reward from {values[0]:.2f}, highest {values[peak]:.2f} at step {peak + 1}, "
        f"to {values[-1]:.2f};"
    )
    assert expected in words
    assert "over 40 steps" in words


def test_shipped_runs_hold_no_trace_of_a_machine():
    for file in (ASSETS / "runs").rglob("*.json*"):
        text = file.read_text(encoding="utf-8")
        assert "/work" not in text, file
        assert "/home" not in text, file
    adapter = ASSETS / "runs" / "all_seed0" / "adapter" / "adapter_config.json"
    assert json.loads(adapter.read_text())["base_model_name_or_path"] == "assets/tiny_omni"
