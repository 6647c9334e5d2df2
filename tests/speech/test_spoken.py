"""Spoken answers with the real voice and the real ASR: what is said, what is heard, what is paid, and what is measured."""
import json

import numpy as np
import pytest

from soundmind_lite import data, evaluation, rewards, speech, train as runs, training_data
from soundmind_lite.speech import evaluation as spoken_evaluation, spoken
from soundmind_lite.profiles import ASSETS

GOOD = "<think>All poets are robins. So all poets are wizards. This matches the conclusion.</think>\nAnswer: entailed"
NOT = GOOD.replace("Answer: entailed", "Answer: not-entailed")
HOSTILE = ["", " \n", "<think>", "☃☃☃", "\x00", "...", "<<<>>>", "word " * 2000, "a" * 100_000, "</think>" * 50, "\u202e", "Answer:" * 300,
           "1" * 37, "\u2474 cats", "|/\u0130", "\u0663" * 50, "\u2081 and \u2460"]


def test_what_is_said_leaves_the_tags_out():
    assert spoken.spoken_text(NOT) == "All poets are robins. So all poets are wizards. This matches the conclusion. Answer: not entailed"
    assert spoken.spoken_text("<think>So be it</think> Answer: entailed") == "So be it. Answer: entailed"
    assert spoken.spoken_text("<think></think>") == ""


@pytest.mark.parametrize(
    ("transcript", "verdict"),
    [
        ("So it follows. Answer, entailed.", "entailed"), ("Answer not entailed", "not-entailed"), ("answer: not and tailed.", "not-entailed"),
        ("The answer is entailed.", "entailed"), ("Answer, in tailed", "entailed"), ("Answer, it not entailed.", "not-entailed"), ("The answer: it's entailed", "entailed"), ("It is entailed.", None), ("Answer, is not entirely", None), ("Answer entailed or not entailed.", None),
        ("Answer entailed. Or so I think.", None), ("Answer", None), ("", None), ("Answer, and failed", None), ("Answer not", None),
    ],
)
def test_a_heard_verdict_is_read_and_never_guessed(transcript, verdict):
    assert spoken.heard_verdict(transcript) == verdict


def test_audio_format_is_paid_for_what_is_heard():
    assert rewards.audio_format_reward([GOOD, NOT, "All poets are robins.", "Answer: entailed. Or not."]) == [0.5, 0.5, 0.0, 0.0]
    assert rewards.audio_format_reward([[{"role": "assistant", "content": GOOD}]]) == [0.5]


def test_audio_length_grows_with_speech_up_to_its_cap():
    short, longer = "Answer: entailed", GOOD
    few, more, capped = rewards.audio_length_reward([short, longer, longer], reference_seconds=[10, 10, 2])
    assert 0 < few < more < capped == 0.75
    audio, rate = speech.speak(spoken.spoken_text(longer))
    assert more == pytest.approx(0.75 * speech.speech_seconds(audio, rate) / 10)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_worth_little_and_raises_nothing(text):
    assert rewards.audio_format_reward([text]) == [0.0]
    assert 0 <= rewards.audio_length_reward([text], reference_seconds=[5])[0] <= 0.75


@pytest.mark.parametrize("value", [0, -1, float("nan"), None, "5"])
def test_a_reference_that_makes_no_sense_is_named(value):
    with pytest.raises(ValueError, match="reference_seconds must be a positive number of seconds"):
        rewards.audio_length_reward([GOOD], reference_seconds=[value])


def test_each_text_is_spoken_once(monkeypatch):
    calls, truth = [], speech.speak
    monkeypatch.setattr(spoken.speech, "speak", lambda text: calls.append(text) or truth(text))
    texts = ["Once upon a time. Answer: entailed"] * 4
    rewards.audio_format_reward(texts)
    rewards.audio_length_reward(texts, reference_seconds=[3] * 4)
    assert len(calls) == 1


def test_workers_give_what_one_process_gives(monkeypatch):
    """The same speech, and this process speaks nothing itself."""
    texts = [GOOD, "Answer: entailed", "Answer: entailed", "☃", ""]
    alone, workers = spoken.Cascade(), spoken.Cascade()
    expected = alone(texts, "ending")
    monkeypatch.setattr(spoken.speech, "speak", None)
    workers.begin(texts)
    assert workers(texts, "ending") == expected
    assert [s and s.seconds for s in workers(texts)] == [s and s.seconds for s in expected]
    assert expected[3] is None
    assert expected[4] is None


def test_training_tells_the_workers_what_was_sampled(fresh_tiny, eight_rows, tmp_path):
    """A reward that carries `begin` hears of the completions at once; rewards from workers are those of one process."""
    from dataclasses import replace

    from soundmind_lite import grpo, profiles

    begun = []

    def slow(completions, **_):
        return [float(len(c[0]["content"])) for c in completions]

    slow.begin = begun.append
    profile = replace(profiles.get("tiny"), data=str(eight_rows), group_size=2, prompts_per_step=2, micro_batch=4, max_completion_tokens=60)
    rows = data.training_rows(data.load_alr(eight_rows), "audio-audio")
    trainer = grpo.trainer_for(profile, *fresh_tiny, rows, tmp_path, [slow, rewards.audio_length_reward], steps=1)
    trainer.train()
    sampled = [json.loads(line) for line in (tmp_path / "completions.jsonl").open()]
    assert begun == [[s["completion"] for s in sampled]]
    refs = {row["id"]: row["reference_seconds"] for row in rows}
    speeches = spoken.Cascade()([s["completion"] for s in sampled])
    expected = [0.75 * min(1, s.seconds / refs[r["id"]]) if s else 0 for r, s in zip(sampled, speeches)]
    assert [r["audio_length_reward"] for r in sampled] == pytest.approx(expected)


def test_rows_for_spoken_answers_have_a_reference():
    rows = data.load_alr("mini", "dev")
    row = data.training_rows(rows, "audio-audio")[0]
    assert row["reference_seconds"] == pytest.approx((training_data.reasoning_words(rows[0]) + 2) / (164 / 60))
    assert row["audio"] is not None
    assert data.training_rows(rows, "text-audio")[0]["audio"] is None
    assert "reference_seconds" not in data.training_rows(rows).column_names


def test_a_spoken_answer_clip_is_the_reference(tmp_path):
    import soundfile

    audio, rate = speech.speak("All poets are robins, so all poets are wizards. Answer: entailed.")
    row = dict(id="a", user_content='Major premise is "a". Minor premise is "b". Conclusion is "c".', answer="So.\n\nAnswer: entailed.", label=1)
    data.add_row(tmp_path, "dev", row, audio, rate)
    soundfile.write(tmp_path / "dev" / "a" / "answer_1.wav", audio, rate)
    loaded = data.load_alr(tmp_path, "dev", audio="both")
    assert data.training_rows(loaded, "audio-audio")[0]["reference_seconds"] == pytest.approx(speech.speech_seconds(audio, rate), abs=0.3)
    soundfile.write(tmp_path / "dev" / "a" / "answer_1.wav", np.zeros(rate), rate)
    with pytest.raises(data.ALRFormatError, match="row dev/a: no speech is detected"):
        data.training_rows(loaded, "audio-audio")


def test_accuracy_is_read_from_the_transcript(test_rows):
    answers = [
        evaluation.Answer(row["id"], text, correct, True, True)
        for row, text, correct in zip(test_rows, (NOT, GOOD, "☃"), (True, False, False))  # the labels are 0, 0, 1
    ]
    heard = spoken_evaluation.listen(test_rows[:3], answers)
    assert [h.correct for h in heard] == [True, False, False]
    assert heard[0].wer < 0.2
    assert (heard[2].wer, heard[2].transcript, heard[2].seconds) == (1.0, "", 0.0)
    result = spoken_evaluation.summary(heard)
    assert (result["n"], result["unspoken"]) == (3, 1)
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["wer_low"] <= result["wer"] <= result["wer_high"]
    assert "cascade" in result["voice"]


def test_the_bootstrap_interval_holds_its_mean_and_narrows():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0.5, 0.1, 20), rng.normal(0.5, 0.1, 2000)
    (low, high), (low2, high2) = spoken_evaluation.mean_interval(few), spoken_evaluation.mean_interval(many)
    assert low < few.mean() < high
    assert high2 - low2 < (high - low) / 5
    assert spoken_evaluation.mean_interval([0.2, 0.2]) == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("setting", ["audio-audio", "text-audio"])
def test_training_with_spoken_answers(setting, eight_rows, tmp_path, monkeypatch):
    """Two steps with all five rewards; each is paid and logged."""
    from dataclasses import replace

    from soundmind_lite import profiles

    small = replace(profiles.get("tiny"), data=str(eight_rows), group_size=2, prompts_per_step=2, micro_batch=4, steps=1, max_completion_tokens=60)
    monkeypatch.setitem(profiles.PROFILES, "small", small)
    runs.train("small", tmp_path / "run", setting=setting)
    sampled = [json.loads(line) for line in (tmp_path / "run" / "completions.jsonl").open()]
    names = {f.__name__ for f in rewards.TEXT_REWARDS + rewards.AUDIO_REWARDS}
    assert names < set(sampled[0])
    assert any(r["audio_length_reward"] > 0 for r in sampled)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["setting"] == setting


def test_the_trained_model_is_heard(tiny):
    """Audio to audio on six dev rows: the text is right, and so is what is heard."""
    model, processor, _ = runs.trained(ASSETS / "runs" / "all_seed0")
    rows = data.load_alr("mini", "dev").select(range(6))
    answers = evaluation.answer_rows(model, processor, rows, setting="audio-audio")
    heard = spoken_evaluation.listen(rows, answers)
    assert sum(h.correct for h in heard) >= 5
    assert spoken_evaluation.summary(heard)["wer"] < 0.15


def test_the_length_reward_alone_makes_answers_longer(tmp_path):
    """A run of its own, in small: five steps of 16 completions."""
    from dataclasses import replace

    from soundmind_lite import grpo, models, profiles

    profile = replace(profiles.get("tiny"), prompts_per_step=2)
    rows = data.training_rows(data.load_alr("mini", audio="both"), "audio-audio")
    grpo.trainer_for(profile, *models.load(profile), rows, tmp_path, [rewards.audio_length_reward], steps=5).train()
    paid = [json.loads(line) for line in (tmp_path / "completions.jsonl").open()]
    mean = lambda steps: np.mean([p["audio_length_reward"] for p in paid if p["step"] in steps])
    assert mean((4, 5)) > mean((1, 2)) + 0.1


@pytest.mark.parametrize(("name", "start", "end"), [("audio_format", 0.45, 0.48), ("audio_length", 0.4, 0.72)])
def test_each_shipped_run_of_one_audio_reward_climbs(name, start, end):
    values = [json.loads(line)["reward"] for line in (ASSETS / "runs" / "spoken" / name / "metrics.jsonl").open()]
    assert np.mean(values[:3]) < start
    assert np.mean(values[-3:]) > end
