"""The lab that asks tiny_omni in the page; see `site_browser` for what this needs."""

import time

import numpy as np
import pytest
import soundfile
from lab_controls import until

from soundmind_lite import models
from soundmind_lite.audio import load_audio, resampled
from soundmind_lite.evaluation import ask
from soundmind_lite.publish.web_run import RUN, answers, rows_of
from soundmind_lite.runs import adapter

pytest_plugins = ("site_browser",)
pytestmark = pytest.mark.slow

WEIGHTS = ("before", "after")
CD = 44_100  # Hz
LAB = """<html lang="en"><div data-live="ask" data-options='{"id": "0009"}'></div>"""
STATUS = 'document.querySelector(".ask > .lab-note").textContent'
OWN_STATUS = 'document.querySelector(".ask details > .hear-answers + .lab-note").textContent'
CARDS = '[...document.querySelectorAll(".ask > .hear-answers .lab-text")].map(p => p.textContent)'
OWN_CARDS = '[...document.querySelectorAll(".ask details .lab-text")].map(p => p.textContent)'
VERDICTS = """[...document.querySelectorAll(".ask > .hear-answers .lab-verdict")].map(
  verdict => verdict.textContent)"""
RECORDER = "document.querySelector('.ask details button')"
RECORD = f"{RECORDER}.click()"
PRESS = """[...document.querySelectorAll(".ask button")].filter(
  button => button.textContent === "Ask the model")[%d].click(), 0"""


def test_a_click_shows_the_answers_to_a_question(lab_page):
    browser = lab_page(LAB)
    until(browser, 'document.querySelector(".ask audio")?.duration > 5')
    browser.run(PRESS % 0)
    until(browser, f"{STATUS}.includes('answered twice')")
    assert browser.run(CARDS) == [answers(which)["0009"]["completion"] for which in WEIGHTS]
    assert browser.run(VERDICTS) == ["wrong", "right"]
    browser.run("""(() => {
      const select = document.querySelector(".ask select");
      select.value = "0019";
      select.dispatchEvent(new Event("change"));
    })()""")
    browser.run(PRESS % 0)
    until(browser, f"{STATUS}.includes('illicit conversion')")
    assert browser.run(CARDS) == [answers(which)["0019"]["completion"] for which in WEIGHTS]
    assert browser.run(VERDICTS) == ["wrong", "wrong"]
    assert browser.complaints() == []


def test_a_stereo_file_at_44_100_hz_is_heard_as_python_hears_it(lab_page, tmp_path):
    left = resampled(load_audio(rows_of("test")["0003"]["question_audio"]), 16_000, target_rate=CD)
    file = tmp_path / "question.wav"
    soundfile.write(file, np.stack([left, 0.9 * left], axis=1), CD)
    before, processor = models.load("tiny")
    after, _, _ = adapter.load_trained(RUN)
    expected = [ask(model, processor, file) for model in (before, after)]
    assert answers_to(lab_page(LAB), file) == expected


def test_a_quiet_question_between_silences_is_heard_like_any_other(lab_page, tmp_path):
    clip = 0.1 * load_audio(rows_of("test")["0003"]["question_audio"])
    silence = np.zeros(32_000, np.float32)
    file = tmp_path / "question.flac"
    soundfile.write(file, np.concatenate([silence, clip, silence]), 16_000)
    expected = [answers(which)["0003"]["completion"] for which in WEIGHTS]
    assert answers_to(lab_page(LAB), file) == expected


def test_what_is_no_clip_and_what_is_too_long_is_said(lab_page, tmp_path):
    browser = lab_page(LAB)
    until(browser, "document.querySelector('.ask input[type=file]')")
    for name, expected in {
        "words.txt": "There is no answer: this browser can't read the clip as sound.",
        "long.wav": "There is no answer: the clip has 13.0 s, and the model takes 12 s.",
    }.items():
        file = tmp_path / name
        if file.suffix == ".wav":
            soundfile.write(file, np.zeros(13 * 16_000), 16_000)
        else:
            file.write_text("no sound")
        choose(browser, file)
        browser.run(PRESS % 1)
        until(browser, f"{OWN_STATUS}.startsWith('There is no answer')")
        assert browser.run(OWN_STATUS) == expected


def test_without_a_microphone_the_rest_stays(lab_page):
    browser = lab_page(LAB)
    browser.send("Browser.setPermission", permission={"name": "microphone"}, setting="denied")
    until(browser, "document.querySelector('.ask details button')")
    browser.run(RECORD)
    until(browser, "document.querySelector('.ask').textContent.includes('There is no microphone')")
    browser.run(PRESS % 0)
    until(browser, f"{STATUS}.includes('answered twice')")


def test_the_microphone_is_heard(browser, live_folder, monkeypatch, tmp_path):
    """Chromium's stand-in for a microphone plays a file: a question, spoken rather low."""
    import site_browser

    clip = load_audio(rows_of("test")["0003"]["question_audio"])
    soundfile.write(tmp_path / "spoken.wav", 0.3 * clip, 16_000)
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += [f"--use-file-for-fake-audio-capture={tmp_path}/spoken.wav%noloop"]
    monkeypatch.setattr(site_browser, "FLAGS", (*site_browser.FLAGS, *flags))
    listening = site_browser.Browser(browser.process.args[0], tmp_path / "browser")
    try:
        page = tmp_path / "page.html"
        script = f'<script src="{(live_folder / "live.js").as_uri()}"></script>'
        page.write_text(f"<!doctype html><meta charset=utf-8>{script}{LAB}", encoding="utf-8")
        listening.open(page.as_uri())
        until(listening, "document.querySelector('.ask details button')")
        listening.run(RECORD)
        until(listening, f"{RECORDER}.textContent === 'Stop'")
        time.sleep(len(clip) / 16_000 + 2)  # the recording begins and ends a little late
        listening.run(RECORD)
        until(listening, f"{RECORDER}.textContent === 'Record again'")
        listening.run(PRESS % 1)
        until(listening, f"{OWN_STATUS}.includes('answered twice')")
        assert "Major premise: no pirates are lemons." in listening.run(OWN_CARDS)[1]
    finally:
        listening.close()


def answers_to(browser, file) -> list[str]:
    """What the lab answers to a file, before and after training."""
    until(browser, "document.querySelector('.ask input[type=file]')")
    choose(browser, file)
    browser.run(PRESS % 1)
    until(browser, f"{OWN_STATUS}.includes('answered twice')")
    return browser.run(OWN_CARDS)


def choose(browser, file) -> None:
    """Puts a file into the lab's control for files."""
    root = browser.send("DOM.getDocument", depth=0)["root"]["nodeId"]
    selector = ".ask input[type=file]"
    node = browser.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
    browser.send("DOM.setFileInputFiles", nodeId=node, files=[str(file)])
