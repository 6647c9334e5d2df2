"""The questions to hear and the rollout player of the pages, as files and in a browser.

See `site_browser` for what the browser tests need.
"""

import html
import re

import pytest
from lab_controls import click, press, text_of, until

from soundmind_lite.audio import load_audio
from soundmind_lite.course import show
from soundmind_lite.publish import web_run
from soundmind_lite.runs.report import read_lines

pytest_plugins = ("site_browser",)

HEAR = """<div data-live="hear" data-options='{"id": "0003"}'></div>"""
PLAYER = '<div data-live="rollout_player"></div>'
PLAYING = 'document.querySelector("audio").currentTime > 0.1'


def letters_of(text: str) -> str:
    """The text of HTML without any space."""
    return "".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())


def test_the_questions_to_hear_are_chosen_honestly():
    kinds = web_run.changes(web_run.HEARD)
    assert kinds == {(False, True): 4, (False, False): 1, (True, False): 1}
    every = web_run.changes(web_run.answers("before"))
    assert every == {(True, True): 131, (False, True): 94, (False, False): 11, (True, False): 4}
    said = web_run.tally()
    for fact in ("240 test questions", "135 (56%)", "225 (94%)", "40 steps", "corrected 94"):
        assert fact in said
    labels = {web_run.heard(name).label for name in web_run.HEARD}
    assert labels == {"entailed", "not-entailed"}


def test_without_javascript_the_home_page_has_a_question_and_both_answers():
    box = web_run.hear_box()
    first = web_run.heard(web_run.HEARD[0])
    assert f'src="_static/live/data/{first.clip}"' in box
    for text in (first.question, first.before["text"], first.after["text"], web_run.tally()):
        assert letters_of(html.escape(text)) in letters_of(box)
    assert "\n" not in box  # an empty line would end the HTML in Markdown


def test_a_clip_sounds_as_the_row_s(tmp_path):
    row = web_run.rows_of("test")["0003"]
    web_run.write_clips([row], tmp_path)
    file = tmp_path / web_run.clip_name(row)
    assert file.read_bytes()[:2] in (b"\xff\xf3", b"\xff\xe3", b"ID")  # MPEG-2 layer 3, or its tag
    question, clip = load_audio(row["question_audio"]), load_audio(file)
    assert abs(len(clip) - len(question)) < 0.15 * 16_000
    assert abs(abs(clip).mean() - abs(question).mean()) < 0.1 * abs(question).mean()


def test_the_player_has_every_rollout_of_the_run(tmp_path):
    lines = read_lines(web_run.RUN / "completions.jsonl")
    steps = [web_run.rollouts_of(step, tmp_path) for step in range(1, web_run.STEPS + 1)]
    found = [
        (number, question["id"], answer["text"], sum(answer["rewards"]))
        for number, questions in enumerate(steps, 1)
        for question in questions
        for answer in question["answers"]
    ]
    terms = ("answer_reward", "text_format_reward", "text_length_reward")
    expected = [
        (line["step"], line["id"], line["completion"], sum(round(line[term], 4) for term in terms))
        for line in lines
    ]
    assert sorted(found) == sorted(expected)
    assert len(found) == 1280
    for question in (question for questions in steps for question in questions):
        advantages = [answer["advantage"] for answer in question["answers"]]
        assert advantages == sorted(advantages, reverse=True)
        assert len(advantages) == 8


@pytest.mark.slow
def test_a_question_is_heard_and_another_follows(lab_page):
    page = lab_page(HEAR)
    until(page, 'document.querySelector(".hear-button")')
    first = web_run.heard("0003")
    assert text_of(page, ".hear-question") == first.question
    click(page, ".hear-button")
    until(page, PLAYING)
    assert text_of(page, ".hear-button") == "Pause"
    click(page, ".hear-button")
    until(page, 'document.querySelector("audio").paused')
    for number, name in enumerate([*web_run.HEARD[1:], web_run.HEARD[0]], 2):
        click(page, ".hear-next button")
        question = web_run.heard(name)
        assert text_of(page, ".hear-question") == question.question
        verdicts = page.run('[...document.querySelectorAll(".lab-verdict")].map(v => v.innerText)')
        assert [verdict == "right" for verdict in verdicts] == [
            question.before["correct"],
            question.after["correct"],
        ]
        answers = '[...document.querySelectorAll(".hear .lab-text")].map(p => p.textContent)'
        assert page.run(answers) == [question.before["text"], question.after["text"]]
        place = (number - 1) % len(web_run.HEARD) + 1
        outcome = text_of(page, ".hear-outcome")
        assert outcome == f"Question {place} of {len(web_run.HEARD)}. {question.outcome}"
        until(page, 'document.querySelector("audio").duration > 4')
    assert not page.complaints()


def group_of(step: int, place: int) -> list[dict]:
    return list(web_run.groups()[step].values())[place]


def cards(page) -> list[str]:
    texts = '[...document.querySelectorAll(".lab-cards li")].map(card => card.textContent)'
    return ["".join(text.split()) for text in page.run(texts)]


def as_in_the_notebook(step: int, place: int) -> list[str]:
    """The text of each card of `show.rollout_group`, without any space."""
    group = group_of(step, place)
    shown = show.rollout_group(group, web_run.rows_of("train")[group[0]["id"]])
    return [letters_of(card) for card in shown.split("<strong>")[2:]]


@pytest.mark.slow
def test_the_player_steps_through_the_run(lab_page):
    page = lab_page(PLAYER)
    until(page, 'document.querySelector(".lab-cards li")')
    assert cards(page) == as_in_the_notebook(1, 0)
    assert text_of(page, "[aria-live]") == "Step 1 of 40: mean reward 1.62 of 4"
    click(page, '[aria-label="next step"]')
    until(page, 'document.querySelector("[aria-live]").innerText.startsWith("Step 2 ")')
    assert cards(page) == as_in_the_notebook(2, 0)
    press(page, "ArrowRight")
    until(page, 'document.querySelector("[aria-live]").innerText.startsWith("Step 3 ")')
    page.run("""(() => {
      const select = document.querySelector("select");
      select.value = "2";
      select.dispatchEvent(new Event("change"));
    })()""")
    assert cards(page) == as_in_the_notebook(3, 2)
    click(page, ".lab-chart", across=0.98)
    until(page, 'document.querySelector("[aria-live]").innerText.startsWith("Step 40 ")')
    assert cards(page) == as_in_the_notebook(40, 2)
    assert page.run("document.querySelector(\"[aria-label='next step']\").disabled")
    assert page.run('document.querySelector("input[type=range]").value') == "40"
    underlined = page.run('document.querySelectorAll(".lab-cards .reads").length')
    assert underlined == 16  # each of the eight has a thought and an answer
    question = group_of(40, 2)[0]["id"]
    source = page.run('document.querySelector("audio").src')
    assert source.endswith(f"clips/train_{question}.mp3")
    click(page, "audio", across=0.08)  # the button of the browser's own player
    until(page, PLAYING)
    assert not page.complaints()
