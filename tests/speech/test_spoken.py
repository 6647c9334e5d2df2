"""Spoken answers with the real voice and the real ASR: speech, transcripts, rewards and figures."""

import json
from dataclasses import replace

import numpy as np
import pytest

from soundmind_lite import data, evaluation, grpo, models, profiles, rewards, speech, train
from soundmind_lite.alr import own_rows
from soundmind_lite.profiles import ASSETS
from soundmind_lite.runs import adapter
from soundmind_lite.speech import evaluation as spoken_evaluation
from soundmind_lite.speech import spoken
from soundmind_lite.speech.rewards import spoken_by

GOOD = (
    "<think>All poets are robins. So all poets are wizards. This matches the conclusion.</think>\n"
    "Answer: entailed"
)
NOT = GOOD.replace("Answer: entailed", "Answer: not-entailed")
ADVERSARIAL = [
    "", " \n", "<think>", "☃☃☃", "\x00", "...", "<<<>>>", "word " * 2000, "a" * 100_000,
    "</think>" * 50, "\u202e", "Answer:" * 300, "1" * 37, "\u2474 cats", "|/\u0130",
    "\u0663" * 50, "\u2081 and \u2460",
]  # fmt: skip


def small_profile(folder):
    """Two questions × two short completions a step, on the rows of a folder."""
    return replace(
        profiles.get("tiny"),
        data=str(folder),
        num_generations=2,
        prompts_per_step=2,
        per_device_train_batch_size=4,
        max_completion_length=60,
    )


def json_lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_tags_are_not_spoken():
    assert spoken.spoken_text(NOT) == (
        "All poets are robins. So all poets are wizards. This matches the conclusion. "
        "Answer: not entailed"
    )
    pause_added = spoken.spoken_text("<think>So be it</think> Answer: entailed")
    assert pause_added == "So be it. Answer: entailed"
    assert spoken.spoken_text("<think></think>") == ""


@pytest.mark.parametrize(
    ("transcript", "verdict"),
    [
        ("So it follows. Answer, entailed.", "entailed"),
        ("Answer not entailed", "not-entailed"),
        ("answer: not and tailed.", "not-entailed"),
        ("The answer is entailed.", "entailed"),
        ("Answer, in tailed", "entailed"),
        ("Answer, it not entailed.", "not-entailed"),
        ("The answer: it's entailed", "entailed"),
        ("It is entailed.", None),
        ("Answer, is not entirely", None),
        ("Answer entailed or not entailed.", None),
        ("Answer entailed. Or so I think.", None),
        ("Answer", None),
        ("", None),
        ("Answer, and failed", None),
        ("Answer not", None),
    ],
)
def test_a_spoken_verdict_is_read_and_never_guessed(transcript, verdict):
    assert spoken.spoken_verdict(transcript) == verdict


@pytest.mark.parametrize("asked", ["ending", "whole"])
@pytest.mark.parametrize(("seconds", "noise"), [(3, 0), (9, 0), (40, 0), (9, 0.003)])
def test_an_answer_keeps_its_verdict_before_a_long_pause(asked, seconds, noise):
    audio, rate = speech.speak("All cats are dogs. Answer: not entailed.")
    pause = np.random.default_rng(0).normal(0, noise, seconds * rate).astype(np.float32)
    alone = spoken.measured("", audio, sample_rate=rate, transcribe=asked)
    for clip in (np.concatenate([audio, pause]), np.concatenate([pause, audio, pause])):
        found = spoken.measured("", clip, sample_rate=rate, transcribe=asked)
        assert spoken.spoken_verdict(found.transcript) == "not-entailed"
        assert found.seconds == pytest.approx(alone.seconds, abs=0.2)


def test_silence_is_no_answer():
    found = spoken.measured("", np.zeros(72_000), sample_rate=24_000, transcribe="ending")
    assert found == spoken.Speech("", 0.0, "")


def test_a_completion_with_a_part_that_cannot_be_read_is_not_spoken():
    """Its speech would be that of another text."""
    assert spoken.CASCADE([GOOD.replace("wizards", "魔法使い")]) == [None]
    assert rewards.audio_format_reward([GOOD, "😀 " + GOOD]) == [0.5, 0.0]


def test_the_audio_format_reward_judges_the_transcript():
    texts = [GOOD, NOT, "All poets are robins.", "Answer: entailed. Or not."]
    assert rewards.audio_format_reward(texts) == [0.5, 0.5, 0.0, 0.0]
    assert rewards.audio_format_reward([[{"role": "assistant", "content": GOOD}]]) == [0.5]


def test_audio_length_grows_with_speech_up_to_its_cap():
    short, longer = "Answer: entailed", GOOD
    few, more, capped = rewards.audio_length_reward(
        [short, longer, longer], reference_seconds=[10, 10, 2]
    )
    assert 0 < few < more < capped == 0.75
    audio, rate = speech.speak(spoken.spoken_text(longer))
    assert more == pytest.approx(0.75 * speech.speech_seconds(audio, rate) / 10)


@pytest.mark.parametrize("text", ADVERSARIAL)
def test_adversarial_text_gets_little_reward_and_raises_nothing(text):
    assert rewards.audio_format_reward([text]) == [0.0]
    assert 0 <= rewards.audio_length_reward([text], reference_seconds=[5])[0] <= 0.75


@pytest.mark.parametrize("value", [0, -1, float("nan"), None, "5"])
def test_a_reference_that_is_no_positive_number_is_reported(value):
    with pytest.raises(ValueError, match="reference_seconds must be a positive number of seconds"):
        rewards.audio_length_reward([GOOD], reference_seconds=[value])


def test_each_text_is_spoken_once(monkeypatch):
    calls, real = [], speech.speak

    def counted(text):
        calls.append(text)
        return real(text)

    monkeypatch.setattr(spoken.speech, "speak", counted)
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
    seconds = [s and s.seconds for s in expected]
    assert [s and s.seconds for s in workers(texts)] == seconds
    assert expected[3] is None
    assert expected[4] is None


def test_an_audio_reward_begins_with_its_own_voice():
    """A voice without `begin` must not start the cascade's workers."""

    class Silent:
        name = "silent"

        def __call__(self, completions, transcribe=None, **columns):
            return [None] * len(completions)

    cascade = spoken.Cascade()
    for reward in rewards.AUDIO_REWARDS:
        silent = spoken_by(Silent(), reward)
        assert not hasattr(silent, "begin")
        assert silent([GOOD], reference_seconds=[1.0]) == [0.0]
        assert spoken_by(cascade, reward).begin == cascade.begin
        assert spoken_by(cascade, reward).__name__ == reward.__name__
    assert spoken_by(cascade, rewards.answer_reward) is rewards.answer_reward


def test_workers_start_as_soon_as_completions_are_sampled(fresh_tiny, eight_rows, tmp_path):
    """`begin` gets the completions of the step; rewards from workers are those of one process."""
    begun = []

    def slow(completions, **_):
        return [float(len(c[0]["content"])) for c in completions]

    slow.begin = begun.append
    model, processor = fresh_tiny
    rows = data.training_rows(data.load_alr(eight_rows), "audio-audio")
    trainer = grpo.trainer_for(
        small_profile(eight_rows),
        model,
        processing_class=processor,
        train_dataset=rows,
        output_dir=tmp_path,
        reward_funcs=[slow, rewards.audio_length_reward],
        max_steps=1,
    )
    trainer.train()
    sampled = json_lines(tmp_path / "completions.jsonl")
    completions = [rollout["completion"] for rollout in sampled]
    assert begun == [completions]
    references = {row["id"]: row["reference_seconds"] for row in rows}
    expected = []
    for rollout, found in zip(sampled, spoken.Cascade()(completions)):
        share = min(1, found.seconds / references[rollout["id"]]) if found else 0
        expected.append(0.75 * share)
    assert [rollout["audio_length_reward"] for rollout in sampled] == pytest.approx(expected)


def test_rows_for_spoken_answers_have_a_reference():
    rows = data.load_alr("mini", "dev")
    row = data.training_rows(rows, "audio-audio")[0]
    words = data.reasoning_words(rows[0]) + 2  # and the two words of the answer
    assert row["reference_seconds"] == pytest.approx(words / (164 / 60))
    assert row["audio"] is not None
    assert data.training_rows(rows, "text-audio")[0]["audio"] is None
    assert "reference_seconds" not in data.training_rows(rows).column_names


def test_a_spoken_answer_clip_is_the_reference(tmp_path):
    import soundfile

    audio, rate = speech.speak("All poets are robins, so all poets are wizards. Answer: entailed.")
    row = {
        "id": "a",
        "user_content": 'Major premise is "a". Minor premise is "b". Conclusion is "c".',
        "answer": "So.\n\nAnswer: entailed.",
        "label": 1,
    }
    own_rows.add_row(tmp_path, row, split="dev", audio=audio, sample_rate=rate)
    soundfile.write(tmp_path / "dev" / "a" / "answer_1.wav", audio, rate)
    loaded = data.load_alr(tmp_path, "dev", audio="both")
    reference = data.training_rows(loaded, "audio-audio")[0]["reference_seconds"]
    assert reference == pytest.approx(speech.speech_seconds(audio, rate), abs=0.3)
    soundfile.write(tmp_path / "dev" / "a" / "answer_1.wav", np.zeros(rate), rate)
    with pytest.raises(data.ALRFormatError, match="row dev/a: no speech is detected"):
        data.training_rows(loaded, "audio-audio")


def test_accuracy_is_read_from_the_transcript(test_rows):
    answers = []
    # The labels are 0, 0, 1.
    for row, text, correct in zip(test_rows, (NOT, GOOD, "☃"), (True, False, False)):
        answers.append(evaluation.Answer(row["id"], text, correct, True, True))
    answered = spoken_evaluation.listen(test_rows[:3], answers)
    assert [answer.correct for answer in answered] == [True, False, False]
    assert answered[0].wer < 0.2
    assert (answered[2].wer, answered[2].transcript, answered[2].seconds) == (1.0, "", 0.0)
    result = spoken_evaluation.summary(answered)
    assert (result["n"], result["unspoken"]) == (3, 1)
    assert result["accuracy"] == pytest.approx(1 / 3)
    assert result["wer_low"] <= result["wer"] <= result["wer_high"]
    assert "cascade" in result["voice"]


def test_the_bootstrap_interval_holds_its_mean_and_narrows():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0.5, 0.1, 20), rng.normal(0.5, 0.1, 2000)
    low, high = spoken_evaluation.mean_interval(few)
    low2, high2 = spoken_evaluation.mean_interval(many)
    assert low < few.mean() < high
    assert high2 - low2 < (high - low) / 5
    assert spoken_evaluation.mean_interval([0.2, 0.2]) == pytest.approx((0.2, 0.2))


@pytest.mark.parametrize("setting", ["audio-audio", "text-audio"])
def test_training_with_spoken_answers(setting, eight_rows, tmp_path, monkeypatch):
    """One step with all five rewards; each is computed and logged."""
    monkeypatch.setitem(profiles.PROFILES, "small", small_profile(eight_rows))
    train.train("small", tmp_path / "run", max_steps=1, setting=setting)
    sampled = json_lines(tmp_path / "run" / "completions.jsonl")
    names = {f.__name__ for f in rewards.TEXT_REWARDS + rewards.AUDIO_REWARDS}
    assert names < set(sampled[0])
    assert any(rollout["audio_length_reward"] > 0 for rollout in sampled)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["setting"] == setting


def test_the_trained_model_s_speech_is_understood():
    """Audio to audio on six dev rows: the verdicts in the transcripts are right."""
    model, processor, _ = adapter.load_trained(ASSETS / "runs" / "all_seed0")
    rows = data.load_alr("mini", "dev").select(range(6))
    answers = evaluation.answer_rows(
        model, rows, processing_class=processor, profile="tiny", setting="audio-audio"
    )
    answered = spoken_evaluation.listen(rows, answers)
    assert sum(answer.correct for answer in answered) >= 5
    assert spoken_evaluation.summary(answered)["wer"] < 0.15


def test_the_length_reward_alone_makes_answers_longer(tmp_path):
    """A small training run: five steps of 16 completions."""
    profile = replace(profiles.get("tiny"), prompts_per_step=2)
    model, processor = models.load(profile)
    rows = data.training_rows(data.load_alr("mini", audio="both"), "audio-audio")
    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=rows,
        output_dir=tmp_path,
        reward_funcs=[rewards.audio_length_reward],
        max_steps=5,
    )
    trainer.train()
    sampled = json_lines(tmp_path / "completions.jsonl")

    def mean(*steps):
        return np.mean([s["audio_length_reward"] for s in sampled if s["step"] in steps])

    assert mean(4, 5) > mean(1, 2) + 0.1


@pytest.mark.parametrize(
    ("name", "start", "end"), [("audio_format", 0.45, 0.48), ("audio_length", 0.4, 0.72)]
)
def test_each_shipped_run_of_one_audio_reward_climbs(name, start, end):
    metrics = json_lines(ASSETS / "runs" / "spoken" / name / "metrics.jsonl")
    values = [step["reward"] for step in metrics]
    assert np.mean(values[:3]) < start
    assert np.mean(values[-3:]) > end
