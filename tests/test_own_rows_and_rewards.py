"""Rewards and rows of one's own: what a run takes, and the one line that names what it doesn't.

Every reward here is trained with, and what it paid is read back where a reader meets it: the files,
the curves, the diagnosis, the rollout player, TRL's own table.
"""

import json
import math
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas
import pytest
import torch
from conftest import FEW
from datasets import Audio, Dataset

from soundmind_lite import AudioGRPOTrainer, data, evaluation, grpo, models, profiles, train
from soundmind_lite.alr.own_rows import add_row
from soundmind_lite.audio import load_audio
from soundmind_lite.course import diagnosis, show, widgets
from soundmind_lite.data import ALRFormatError, load_alr, training_rows
from soundmind_lite.rewards import TEXT_REWARDS, answer_reward, text_length_reward
from soundmind_lite.runs import report
from soundmind_lite.runs.guards import GuardedTrainer
from soundmind_lite.speech.rewards import AUDIO_REWARDS

SMALL = replace(profiles.get("tiny"), **FEW)
NO_MODEL = "no/such folder"  # nothing can be loaded from it


@pytest.fixture(scope="module")
def marked_rows(eight_rows, tmp_path_factory):
    """The eight rows with two fields more, "difficulty" and "topics"."""
    folder = shutil.copytree(eight_rows, tmp_path_factory.mktemp("marked") / "rows")
    for split in ("train", "test"):
        file = folder / f"{split}.jsonl"
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for i, row in enumerate(rows):
            row |= {"difficulty": i / 2 if i % 2 else i // 2, "topics": ["birds"] * (i % 3)}
        lines = [json.dumps(row) + "\n" for row in rows]
        file.write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def trained_with(fresh_tiny, marked_rows, tmp_path):
    """`trained_with(rewards, rows=None, **options)`: a step of training, and what it wrote."""

    def one_step(rewards, rows=None, **options):
        model, processor = fresh_tiny
        trainer = grpo.trainer_for(
            SMALL,
            model,
            processing_class=processor,
            train_dataset=training_rows(load_alr(marked_rows)) if rows is None else rows,
            output_dir=tmp_path,
            reward_funcs=rewards,
            max_steps=1,
            save_strategy="no",
            **options,
        )
        trainer.train()
        return trainer

    return one_step


def strict_lines(file):
    """The lines of a file that must be JSON as everybody reads it, without NaN."""

    def refused(word):
        raise ValueError(f"{word} is no JSON")

    lines = file.read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refused) for line in lines]


def text(completion):
    return completion[0]["content"]


def of_conclusion(completions, conclusion, **_):
    return [float(said in text(c)) for c, said in zip(completions, conclusion)]


def of_difficulty(completions, difficulty, topics, **_):
    return [level + len(found) for level, found in zip(difficulty, topics)]


def named(name, function):
    def reward(completions, **_):
        return function(completions)

    reward.__name__ = name
    return reward


def at_least(limit, completions, **_):
    return [float(len(text(c)) >= limit) for c in completions]


class Judge:
    def __init__(self, worth):
        self.worth = worth

    def __call__(self, completions, **_):
        return [self.worth] * len(completions)


async def awaited(completions, **_):
    return [0.25] * len(completions)


def of_prompts(prompts, completions, audio, **_):
    """Reads the conversation as text, as any reward of TRL does."""
    assert all(clip.endswith(".ogg") for clip in audio)
    return [float("conclusion" in prompt[-1]["content"].lower()) for prompt in prompts]


def logging(completions, log_extra, log_metric, **_):
    log_extra("words", [len(text(c).split()) for c in completions])
    log_metric("longest", max(len(text(c)) for c in completions))
    return [0.5] * len(completions)


def by_keyword_alone(*, completions, label, **kwargs):
    return [float(value) for value in label]


def of_all_arguments(
    prompts,
    completions,
    completion_ids,
    trainer_state,
    log_extra,
    log_metric,
    optional="default",
    **columns,
):
    assert optional == "default"
    return [len(ids) for ids in completion_ids]


OWN = {  # a name, the reward, and what it pays for four completions: numbers, or None for any
    "of_conclusion": (of_conclusion, None),
    "of_difficulty": (of_difficulty, None),
    "<lambda>": (lambda completions, **_: [1.0] * len(completions), [1.0] * 4),
    "at_least": (partial(at_least, 1), [1.0] * 4),
    "Judge": (Judge(0.75), [0.75] * 4),
    "awaited": (awaited, [0.25] * 4),
    "of_prompts": (of_prompts, [1.0] * 4),
    "logging": (logging, [0.5] * 4),
    "by_keyword_alone": (by_keyword_alone, None),
    "of_all_arguments": (of_all_arguments, None),
    "correctness_reward_func": (named("correctness_reward_func", lambda c: [0.0] * 4), [0.0] * 4),
    "is it short? (größer/$5)": (named("is it short? (größer/$5)", lambda c: [2] * 4), [2.0] * 4),
    "_private": (named("_private", lambda c: [True, False, True, False]), [1.0, 0.0, 1.0, 0.0]),
    "penalty": (named("penalty", lambda c: [-3.0, -1.0, 0.0, -0.5]), [-3.0, -1.0, 0.0, -0.5]),
    "fortune": (named("fortune", lambda c: [5e6, 0.0, 5e6, 1.0]), [5e6, 0.0, 5e6, 1.0]),
    "of_numpy": (named("of_numpy", lambda c: np.arange(4) / 2), [0.0, 0.5, 1.0, 1.5]),
    "of_torch": (named("of_torch", lambda c: torch.tensor([-1, 1, -1, 1])), [-1.0, 1.0, -1.0, 1.0]),
    "one gap": (named("one gap", lambda c: [None, 1.0, 0.0, 1.0]), [None, 1.0, 0.0, 1.0]),
    "all gaps": (named("all gaps", lambda c: [None] * 4), [None] * 4),
    "rewards/mean": (named("rewards/mean", lambda c: [0.5, None] * 2), [0.5, None] * 2),
}


@pytest.mark.tried(
    "rewards of one's own: columns, names, kinds of functions, gaps, penalties",
    "the same in file, log, table, curves, diagnosis and player",
    each=1,
)
@pytest.mark.parametrize("name", OWN)
def test_a_reward_of_ones_own_is_shown_as_it_paid(name, trained_with, marked_rows, tmp_path):
    reward, expected = OWN[name]
    trainer = trained_with([answer_reward, reward], log_completions=True)
    rollouts = strict_lines(tmp_path / "completions.jsonl")
    assert report.reward_names(rollouts) == ["answer_reward", name]
    paid = [rollout[name] for rollout in rollouts]
    assert len(paid) == 4
    assert paid == expected or expected is None
    there = [value for value in paid if value is not None]
    logged = trainer.state.log_history[0] | {"step": 1}
    mean = sum(there) / len(there) if there else None
    assert logged[f"rewards/{name}/mean"] == (pytest.approx(mean) if there else None)
    json.dumps(logged, allow_nan=False)
    assert report.term_names([logged]) == ["answer_reward", name]
    axes = report.draw([logged]).axes[0]
    low, high = axes.get_ylim()
    for line in axes.lines:
        assert all(math.isnan(y) or low <= y <= high for y in line.get_ydata())
    words = report.in_words([logged])
    course = f"from {mean:.2f} to {mean:.2f}" if there else "without a value in any step"
    assert f"{name.replace('_', ' ')} {course}" in words
    table = pandas.read_parquet(next((tmp_path / "completions").glob("*.parquet")))
    assert [None if math.isnan(value) else value for value in table[name]] == paid
    assert list(table["advantage"]) == [rollout["advantage"] for rollout in rollouts]
    assert sum(name in str(finding) for finding in diagnosis.check_rollouts(rollouts)) == 1
    player = widgets.rollout_player(rollouts, load_alr(marked_rows))
    shown = show.html.escape(name.removesuffix("_reward")).replace("_", "&nbsp;")
    assert player.children[1].value.count(f"{shown}&nbsp;") == 2  # both completions of the group


def test_what_a_reward_logs_by_itself_is_in_the_table(trained_with, tmp_path):
    trainer = trained_with(logging, log_completions=True)
    table = pandas.read_parquet(next((tmp_path / "completions").glob("*.parquet")))
    words = [len(text(completion).split()) for completion in table["completion"]]
    assert list(table["words"]) == words
    assert trainer.state.log_history[0]["longest"] > 0


def test_the_table_of_reinforce_pp_shows_the_advantages_that_are_used(trained_with, tmp_path):
    """TRL logs those of groups, which this algorithm replaces."""
    spread = named("spread", lambda c: [0.0, 1.0, 5.0, 6.0])
    trained_with(spread, log_completions=True, algorithm="reinforce++")
    table = pandas.read_parquet(next((tmp_path / "completions").glob("*.parquet")))
    used = [rollout["advantage"] for rollout in strict_lines(tmp_path / "completions.jsonl")]
    assert list(table["advantage"]) == used
    assert used[1] < 0 < used[2]  # within their groups the second is better, the third is worse


@pytest.mark.parametrize("algorithm", ["grpo", "reinforce++"])
def test_a_completion_without_any_reward_teaches_nothing(algorithm, trained_with, tmp_path):
    gaps = named("gaps", lambda c: [None, 3.0, 1.0, 3.0])
    words = "step 1: no reward function returned a reward for 1 of 4 completions"
    with pytest.warns(UserWarning, match=words):
        trained_with(gaps, algorithm=algorithm)
    rollouts = strict_lines(tmp_path / "completions.jsonl")
    assert rollouts[0]["advantage"] == 0
    assert rollouts[2]["advantage"] < 0 < rollouts[3]["advantage"]


@pytest.mark.parametrize("when", [(2,), (1, 2, 3)])
def test_a_run_with_steps_without_a_reward_is_complete(when, small, tmp_path):
    """With its result, curves and table; the metrics have null where there is no value."""
    calls = []

    def sometimes(completions, **_):
        calls.append(1)
        return [None if len(calls) in when else 1.0] * len(completions)

    with pytest.warns(UserWarning, match="no reward function returned a reward for 4 of 4"):
        train.train("small", tmp_path / "run", max_steps=3, reward_funcs=sometimes)
    assert (tmp_path / "run" / "result.json").exists()
    assert (tmp_path / "run" / "curves.png").stat().st_size > 10_000
    metrics = strict_lines(tmp_path / "run" / "metrics.jsonl")
    gaps = [entry["step"] for entry in metrics if entry["rewards/sometimes/mean"] is None]
    assert gaps == list(when)
    assert [entry["step"] for entry in metrics if entry["reward"] is None] == gaps
    words = report.in_words(metrics)
    expected = "without a value in any step" if len(when) == 3 else "(in 2 of 3 steps)"
    assert expected in words
    live = widgets.LiveCurves()
    live.metrics = metrics
    live._show()


def test_a_result_is_written_before_any_picture(small, tmp_path, monkeypatch):
    there = []

    def look(metrics_file, picture, result):
        there.append((tmp_path / "run" / "result.json").exists())

    monkeypatch.setattr(report, "curves", look)
    train.train("small", tmp_path / "run", max_steps=1)
    assert there == [True]


def test_gaps_are_drawn_as_gaps():
    values = report.smoothed([1.0, math.nan, 2.0, 4.0], 2)
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert values[2:] == [2.0, 3.0]


# A learned reward


def reward_model(vocabulary):
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    torch.manual_seed(0)
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_labels=1)
    heads = dict(num_attention_heads=2, num_key_value_heads=2)
    config = Qwen2Config(vocab_size=vocabulary, pad_token_id=0, **sizes, **heads)
    config._name_or_path = "someone/judge"
    return Qwen2ForSequenceClassification(config)


TEMPLATE = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"


def test_a_reward_model_reads_the_conversation_as_text(fresh_tiny, marked_rows, tmp_path):
    """Its template knows strings alone, so an audio part would be an error."""
    model, processor = fresh_tiny
    tokenizer = models.load("tiny")[1].tokenizer
    tokenizer.chat_template = TEMPLATE
    read = []
    encode = tokenizer.__class__.__call__

    class Reading(tokenizer.__class__):
        def __call__(self, text=None, **options):
            read.extend(text)
            return encode(self, text=text, **options)

    tokenizer.__class__ = Reading
    judge = reward_model(len(tokenizer))
    trainer = GuardedTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=judge,
        reward_processing_classes=tokenizer,
        train_dataset=training_rows(load_alr(marked_rows)),
        peft_config=grpo.lora_config(SMALL),
        args=grpo.grpo_config(SMALL, tmp_path, save_strategy="no", max_steps=1),
        rollout_file=tmp_path / "completions.jsonl",
    )
    trainer.train()
    assert len(read) == 4
    assert all(line.startswith("user: Does the conclusion follow") for line in read)
    assert all("assistant: " in line and ".ogg" not in line for line in read)
    rollouts = strict_lines(tmp_path / "completions.jsonl")
    assert report.reward_names(rollouts) == ["judge"]
    assert len({rollout["judge"] for rollout in rollouts}) > 1


# What is refused, before a model is loaded


def of_speaker(completions, speaker, **_):
    return [1.0] * len(completions)


def narrow(completions, label):
    return [1.0] * len(completions)


def by_position(completions, /, **_):
    return [1.0] * len(completions)


REFUSED = {
    "a column that isn't there": (
        [of_speaker],
        r"the reward of_speaker needs the argument 'speaker', and there is no such column: the "
        r"rows have the columns .*conclusion.*difficulty",
    ),
    "a column of a partial function": (
        [partial(of_speaker, unused=1)],
        "the reward of_speaker needs the argument 'speaker'",
    ),
    "no room for the rest": (
        [narrow],
        r"the reward narrow takes no argument 'prompts', and TRL hands it over: .*\*\*kwargs",
    ),
    "by position": ([by_position], "the reward by_position takes 'completions' by position"),
    "equal names": (
        [lambda completions, **_: [0.0], lambda completions, **_: [1.0]],
        "2 rewards are called '<lambda>', and logs go by name; give each a __name__ of its own",
    ),
    "equal names of two models": (
        ["someone/judge", "another/judge"],
        "2 rewards are called 'judge'",
    ),
    "the name of a field": (
        [named("advantage", len)],
        "a reward is called 'advantage', which is a field of completions.jsonl",
    ),
}


@pytest.mark.tried("rewards that don't fit the rows", "one line, before a model is loaded")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_reward_that_does_not_fit_is_refused_before_a_model_is_loaded(
    kind, marked_rows, tmp_path, monkeypatch
):
    rewards, words = REFUSED[kind]
    rows = training_rows(load_alr(marked_rows))
    arguments = grpo.grpo_config(SMALL, tmp_path)
    with pytest.raises(ValueError, match=words) as error:
        AudioGRPOTrainer(NO_MODEL, rewards, arguments, rows)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=words):
        GuardedTrainer(model=NO_MODEL, reward_funcs=rewards, args=arguments, train_dataset=rows)
    monkeypatch.setattr("soundmind_lite.speech.talker.models.load", pytest.fail)
    profile = replace(SMALL, name="mine", data=str(marked_rows))
    with pytest.raises(ValueError, match=words):
        train.train(profile, tmp_path / "run", reward_funcs=rewards)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("column", "rewards", "words"),
    [
        ("completions", [answer_reward], "the column 'completions' has the name of something"),
        ("log_metric", [answer_reward], "the column 'log_metric' has the name of something"),
        ("voice", AUDIO_REWARDS, "the column 'voice' has the name of an argument of audio_format"),
    ],
)
def test_a_column_that_a_reward_could_not_get_is_named(column, rewards, words, tmp_path):
    rows = training_rows(load_alr("mini", "dev"), "audio-audio").select(range(4))
    rows = rows.add_column(column, ["anna"] * 4)
    with pytest.raises(ValueError, match=words):
        AudioGRPOTrainer(NO_MODEL, rewards, grpo.grpo_config(SMALL, tmp_path), rows)


def test_a_stream_s_columns_are_checked_by_its_first_row(marked_rows, tmp_path):
    rows = training_rows(load_alr(marked_rows)).to_iterable_dataset()
    arguments = grpo.grpo_config(SMALL, tmp_path)
    with pytest.raises(ValueError, match="of_speaker needs the argument 'speaker'"):
        AudioGRPOTrainer(NO_MODEL, of_speaker, arguments, rows)


def test_the_rows_of_an_evaluation_need_the_columns_too(marked_rows, tmp_path):
    rows = training_rows(load_alr(marked_rows))
    arguments = grpo.grpo_config(SMALL, tmp_path)
    for tests in (rows.remove_columns("topics"), {"own": rows.remove_columns("topics")}):
        with pytest.raises(ValueError, match="of_difficulty needs the argument 'topics'"):
            AudioGRPOTrainer(NO_MODEL, of_difficulty, arguments, rows, tests)


# Further fields of rows


def test_further_fields_are_columns(marked_rows):
    rows = load_alr(marked_rows)
    assert rows["difficulty"] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    assert rows["topics"][:4] == [[], ["birds"], ["birds"] * 2, []]
    streamed = list(load_alr(marked_rows, streaming=True))
    assert [row["difficulty"] for row in streamed] == rows["difficulty"]
    made = training_rows(rows)
    assert made["difficulty"] == rows["difficulty"]
    assert made["conclusion"] == rows["conclusion"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1, "hard"], r"line 2, id '0002': 'difficulty' is 'hard', a text, and a number in .*0001"),
        ([True, 1], "a number, and a truth value in"),
        ([[1], ["a"]], "the field 'difficulty' can't be one column"),
        ([2**70, 1], "the field 'difficulty' can't be one column"),
    ],
)
def test_further_fields_of_several_types_are_named(values, words, marked_rows, tmp_path):
    lines = (marked_rows / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) | {"difficulty": v} for line, v in zip(lines, values)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ALRFormatError, match=words):
        load_alr(tmp_path, audio=None)


def test_a_field_that_some_rows_lack_is_none_there(marked_rows, tmp_path):
    lines = (marked_rows / "train.jsonl").read_text(encoding="utf-8").splitlines()[:3]
    rows = [json.loads(line) for line in lines]
    del rows[1]["difficulty"], rows[2]["difficulty"]
    rows[2] |= {"note": "read twice", "split": "mine"}
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = load_alr(tmp_path, audio=None)
    assert found["difficulty"] == [0, None, None]
    assert found["note"] == [None, None, "read twice"]
    assert found["split"] == ["train"] * 3  # our own name


def test_a_field_of_another_type_is_not_added(tmp_path):
    from conftest import good_row

    clip = {"split": "dev", "audio": [0.1] * 1600, "sample_rate": 16_000}
    add_row(tmp_path, good_row() | {"difficulty": 1, "label": np.int64(1)}, **clip)
    with pytest.raises(ALRFormatError, match="'difficulty' is 'hard', a text, and a number in row"):
        add_row(tmp_path, good_row("2", major="b") | {"difficulty": "hard"}, **clip)
    with pytest.raises(ALRFormatError, match="new row: can't be written as JSON"):
        add_row(tmp_path, good_row("2", major="b") | {"difficulty": {1}}, **clip)
    assert load_alr(tmp_path, "dev")["difficulty"] == [1]


# Rows at every door


GOOD_LABELS = [True, 1.0, np.int64(1), np.float32(1), np.bool_(True), torch.tensor(1)]


@pytest.mark.parametrize("label", GOOD_LABELS, ids=repr)
def test_labels_that_equal_one_are_one(label, tiny, test_rows):
    row = next(row for row in test_rows if row["label"] == 1) | {"label": label}
    answers = evaluation.answer_rows(
        tiny[0], [row], processing_class=tiny[1], profile=replace(SMALL, max_completion_length=60)
    )
    assert answers[0].correct == ("Answer: entailed" in answers[0].completion)
    assert data.audit([row]).conflicts == []
    assert training_rows([row])["label"] == [1]


@pytest.mark.tried("labels that are neither 0 nor 1, at four doors", "row and label named")
@pytest.mark.parametrize("label", [-1, 2, 0.5, "entailed", "1", None, float("nan"), [1], b"1"])
def test_other_labels_are_named_at_every_door(label, test_rows):
    good, bad = (dict(row) for row in test_rows[:2])
    bad["label"] = label
    words = rf"row test/{bad['id']}: label must be 1 \(entailed\) or 0 \(not-entailed\), got"
    rollouts = [{"step": 1, "id": good["id"], "completion": "", "advantage": 0.0}]
    doors = {
        "answer_rows": lambda rows: evaluation.answer_rows(
            None, rows, processing_class=None, profile="tiny"
        ),
        "audit": data.audit,
        "training_rows": training_rows,
        "player": lambda rows: widgets.rollout_player(rollouts, rows),
    }
    for door in doors.values():
        with pytest.raises(ALRFormatError, match=words) as error:
            door([good, bad])
        assert "\n" not in str(error.value)
    with pytest.warns(UserWarning, match="1 of 2 rows are left out"):
        assert training_rows([good, bad], on_bad_row="skip")["id"] == [good["id"]]


@pytest.mark.parametrize("label", [2, "entailed", None])
def test_labels_are_checked_where_a_reward_reads_them(label, trained_with, tmp_path):
    rows = training_rows(load_alr("mini", "dev")).select(range(4)).remove_columns("label")
    rows = rows.add_column("label", [label] * 4)
    arguments = grpo.grpo_config(SMALL, tmp_path)
    with pytest.raises(ALRFormatError, match=r"row 0001: label must be 1 \(entailed\)"):
        AudioGRPOTrainer(NO_MODEL, TEXT_REWARDS, arguments, rows)
    trained_with(of_prompts, rows=rows)  # which doesn't read it


def test_reference_lengths_are_checked_before_anything_is_sampled(tmp_path):
    rows = training_rows(load_alr("mini", "dev")).select(range(4))
    rows = rows.remove_columns("reference_length").add_column("reference_length", [5, 5, 0, 5])
    words = "row 0003: reference_length must be a positive number of words, got 0"
    with pytest.raises(ALRFormatError, match=words):
        AudioGRPOTrainer(NO_MODEL, text_length_reward, grpo.grpo_config(SMALL, tmp_path), rows)


@pytest.mark.parametrize("column", ["question", "label", "id"])
def test_a_missing_column_is_named_at_every_door(column, test_rows):
    rows = [{n: v for n, v in row.items() if n != column} for row in test_rows[:2]]
    words = rf"row (number 0|test/{test_rows[0]['id']}): no column '{column}'; the columns are "
    rollouts = [{"step": 1, "id": "0001", "completion": "", "advantage": 0.0}]
    doors = [data.audit, training_rows, lambda rows: widgets.rollout_player(rollouts, rows)]
    for door in doors:
        with pytest.raises(ALRFormatError, match=words):
            door(rows)
    with pytest.raises(ALRFormatError, match=words):
        evaluation.answer_rows(
            None, rows, processing_class=None, profile="tiny", setting="text-text"
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question_audio": None}, "question_audio is None: these rows were loaded without audio"),
        ({"question_audio": ["a.wav", "b.wav"]}, "question_audio must be a path.*a list of 2"),
        ({"question_audio": 7}, "question_audio must be a path, .*got 7"),
        ({"question_audio": {"path": None}}, r"question_audio must be a path, .*got \{'path'"),
        ({"conclusion": None}, "conclusion must be a string, got None"),
    ],
)
def test_a_column_of_another_type_is_named_before_anything_is_sampled(change, words, test_rows):
    rows = [test_rows[0], test_rows[1] | change]
    with pytest.raises(ALRFormatError, match=rf"row test/{rows[1]['id']}: {words}"):
        evaluation.answer_rows(None, rows, processing_class=None, profile="tiny")


def test_a_row_may_lack_what_is_not_read(tiny, test_rows):
    """Without a split, and its clip as datasets.Audio gives it."""
    needed = ("id", "label", *data.STATEMENTS, "question_audio")
    rows = Dataset.from_list([{name: row[name] for name in needed} for row in test_rows[:2]])
    rows = rows.cast_column("question_audio", Audio(sampling_rate=16_000))
    options = dict(processing_class=tiny[1], profile=SMALL)
    found = evaluation.answer_rows(tiny[0], rows, **options)
    assert found == evaluation.answer_rows(tiny[0], test_rows[:2], **options)


# Rows of another make in the trainer


def good_rows():
    return [dict(row) for row in training_rows(load_alr("mini", "dev").select(range(4)))]


TEXT = "Is it so?"
TAKEN = {
    "a prompt that is a string": lambda row: row | {"prompt": TEXT},
    "a dict as of datasets.Audio": lambda row: row | {"audio": {"path": row["audio"]}},
    "an array": lambda row: row | {"audio": load_audio(row["audio"])},
    "parts of text": lambda row: (
        row | {"prompt": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]}
    ),
    "a system message": lambda row: (
        row | {"prompt": [{"role": "system", "content": "Be brief."}, *row["prompt"]]}
    ),
    "no id": lambda row: {name: value for name, value in row.items() if name != "id"},
    "some rows without audio": lambda row: row | {"audio": row["audio"] if row["label"] else None},
}


OTHERS = ("stream", "list")  # forms of the rows


@pytest.mark.tried("rows of another make in the trainer", "trained with")
@pytest.mark.parametrize(
    ("kind", "form"),
    [*((kind, "data set") for kind in TAKEN), *(("a prompt that is a string", f) for f in OTHERS)],
)
def test_rows_of_another_make_are_trained_with(kind, form, trained_with, tmp_path):
    rows = [TAKEN[kind](row) for row in good_rows()]
    if form != "list":
        rows = Dataset.from_list(rows)
    seen = []

    def watching(prompts, completions, **_):
        seen.extend(prompts)
        return [float(len(text(completion))) for completion in completions]

    rows = rows.to_iterable_dataset() if form == "stream" else rows
    trainer = trained_with(watching, rows=rows, log_completions=True)
    assert trainer.state.global_step == 1
    assert len(strict_lines(tmp_path / "completions.jsonl")) == 4
    assert all(prompt[-1]["role"] == "user" for prompt in seen)
    assert "'audio'" not in str(seen)


def with_content(content):
    return lambda row: row | {"prompt": [{"role": "user", "content": content}]}


WORDS = {"type": "text", "text": TEXT}
LEFT = {
    "two clips": (
        lambda row: row | {"audio": [row["audio"]] * 2},
        "audio must be a path, .*got a list of 2; make a row for each clip, or join them",
    ),
    "a number": (lambda row: row | {"audio": 7}, "audio must be a path, .*got 7"),
    "an audio part beside the column": (
        with_content([{"type": "audio"}, WORDS]),
        "prompt: beside the column audio, which the trainer adds, the content must be a string",
    ),
    "an image": (with_content([{"type": "image"}, WORDS]), "prompt: beside the column audio"),
    "no user turn": (
        lambda row: row | {"prompt": [{"role": "system", "content": TEXT}]},
        "prompt: no user turn that the audio could be added to",
    ),
    "an empty prompt": (lambda row: row | {"prompt": []}, "prompt: no user turn"),
    "a prompt that is None": (lambda row: row | {"prompt": None}, "prompt: a prompt is a string"),
    "a message without content": (
        lambda row: row | {"prompt": [{"role": "user"}]},
        "prompt: a prompt is a string, or messages with 'role' and 'content'",
    ),
}


@pytest.mark.tried("rows of another make in the trainer", "refused with row and column")
@pytest.mark.parametrize("kind", LEFT)
@pytest.mark.parametrize("form", ["data set", "stream", "list"])
def test_rows_that_make_no_sense_are_named_before_a_model_is_loaded(kind, form, tmp_path):
    change, words = LEFT[kind]
    rows = [change(row) for row in good_rows()]
    if form != "list":
        rows = Dataset.from_list(rows)
    rows = rows.to_iterable_dataset() if form == "stream" else rows
    arguments = grpo.grpo_config(SMALL, tmp_path)
    with pytest.raises(ALRFormatError, match=rf"row 0001: {words}") as error:
        AudioGRPOTrainer(NO_MODEL, answer_reward, arguments, rows)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("cls", [AudioGRPOTrainer, GuardedTrainer])
def test_rows_of_load_alr_are_no_training_rows(cls, tmp_path):
    arguments = {"args": grpo.grpo_config(SMALL, tmp_path), "reward_funcs": answer_reward}
    rows = load_alr("mini", "dev")
    words = "train_dataset has no column 'prompt'; .*; make the rows with data.training_rows"
    with pytest.raises(ALRFormatError, match=words):
        cls(model=NO_MODEL, train_dataset=rows, **arguments)
    words = r"eval_dataset\['dev'\] has no column 'prompt'"
    good = training_rows(rows)
    with pytest.raises(ALRFormatError, match=words):
        cls(model=NO_MODEL, train_dataset=good, eval_dataset={"dev": rows}, **arguments)


def test_a_question_that_was_read_is_shown_as_text(trained_with, tmp_path):
    rows = load_alr("mini", "train", audio=None).select(range(4))
    trained_with(answer_reward, rows=training_rows(rows, "text-text"))
    player = widgets.rollout_player(report.read_lines(tmp_path / "completions.jsonl"), rows)
    card = player.children[1].value
    assert "<audio" not in card
    assert show.html.escape(rows["question"][0]) in card or any(
        show.html.escape(question) in card for question in rows["question"]
    )
