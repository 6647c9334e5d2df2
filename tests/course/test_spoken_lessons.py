"""Notebooks 08 and 09: their clips say what is written under them, and the cell with the talker is
run with a full checkpoint."""

import base64
import html
import io
import json
import re

import nbformat
import pytest
import soundfile
from conftest import ROOT
from nbclient import NotebookClient

from soundmind_lite import rewards, speech
from soundmind_lite.course import distorted
from soundmind_lite.course.checks import speech_rewards
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs.report import read_lines

SPOKEN = ROOT / "notebooks" / "08_spoken_answers.ipynb"
REWARDS = ROOT / "notebooks" / "09_rewards_for_speech.ipynb"
CLIP = re.compile(r'data:audio/mpeg;base64,([^"]+)".*?Transcript: ([^<]*)<', re.S)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def clips(path):
    """The samples, their rate in Hz and the words under each player of a saved notebook."""
    for output in outputs(nbformat.read(path, as_version=4)):
        for mp3, words in CLIP.findall(output.get("data", {}).get("text/html", "")):
            audio, rate = soundfile.read(io.BytesIO(base64.b64decode(mp3)), dtype="float32")
            yield audio, rate, html.unescape(words)


@pytest.mark.parametrize("path", [SPOKEN, REWARDS], ids=lambda path: path.stem)
def test_every_saved_clip_says_the_words_under_it(path):
    found = list(clips(path))
    assert len(found) >= 2
    for audio, rate, words in found:
        assert speech.word_error_rate(words, speech.transcribe(audio, rate)) < 0.25, words


@pytest.mark.slow
def test_the_talker_speaks_in_the_lesson(published_checkpoint, tmp_path, monkeypatch):
    """The unchanged cells up to that of the talker, with a narrow full checkpoint in 4 bits."""
    sizes = dict(card="", data="mini", model=str(published_checkpoint))
    monkeypatch.setenv("SOUNDMIND_PROFILE", "l4")
    monkeypatch.setenv("SOUNDMIND_SIZES", json.dumps(sizes))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(SPOKEN, as_version=4)
    at = next(i for i, cell in enumerate(notebook.cells) if "has_talker" in cell.source)
    assert "not run: tiny_omni" in str(notebook.cells[at].outputs)
    del notebook.cells[at + 1 :]
    where = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    printed = str(notebook.cells[at].outputs)
    assert "<audio" in printed
    assert "Whisper's transcript:" in printed
    assert "not run" not in printed


def test_what_the_lesson_says_of_the_format_run():
    lines = read_lines(ASSETS / "runs" / "spoken" / "audio_format" / "completions.jsonl")
    thoughts = [line for line in lines if "<think>" in line["completion"]]
    unpaid = [line for line in thoughts if not line["audio_format_reward"]]
    answered = [line for line in unpaid if rewards.parse_answer(line["completion"])]
    others = [line for line in lines if line not in thoughts]
    assert (len(thoughts), len(unpaid), len(answered), len(others)) == (80, 31, 27, 400)
    assert all(line["audio_format_reward"] == 0.5 for line in others)
    assert speech_rewards.PAID["with a thought"] == (80 - 31) / 80


def test_the_kept_distortions_can_be_repeated():
    kept = distorted.shipped()
    texts = distorted.short_answers(
        [{"major_premise": "All cats are dogs", "label": 0} | {"minor_premise": "some dogs sing"}]
    )
    assert texts == ["All cats are dogs. some dogs sing. Answer: not entailed."]
    assert distorted.mean_wer(texts) < 0.2
    assert list(kept["accuracy_by_change"]) == list(distorted.CHANGES)
    assert [float(v) for v in kept["wer_by_speed"]] == list(distorted.SPEEDS)
    assert [int(v) for v in kept["wer_by_noise"]] == list(distorted.NOISE)
    clips = distorted.verdict_clips(seeds=1)
    assert distorted.endings(clips, 20) == {"entailed": 1, "not entailed": 1}
