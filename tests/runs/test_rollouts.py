"""completions.jsonl holds one training, and its groups are the trainer's, whatever the rows are."""

import re
from dataclasses import replace

import pytest
from conftest import FEW

from soundmind_lite import data, grpo, models, profiles
from soundmind_lite.course import diagnosis, widgets
from soundmind_lite.runs import files, report
from soundmind_lite.runs.files import RunError

SMALL = replace(profiles.get("tiny"), **FEW)
GROUP = FEW["num_generations"]


def every_other_group(completions, **_):
    """The same for both completions of a group, then different ones in the next."""
    groups = len(completions) // GROUP
    return [0.0 if group % 2 else float(i) for group in range(groups) for i in range(GROUP)]


@pytest.fixture
def trainer_of(fresh_tiny, eight_rows, tmp_path):
    """`trainer_of(change, …)` has rows that were changed, and overrides of GRPOConfig."""

    def make(change=lambda rows: rows, **overrides):
        model, processor = models.load(SMALL)
        rows = data.training_rows(data.load_alr(eight_rows), "text-text")
        return grpo.trainer_for(
            SMALL,
            model,
            processing_class=processor,
            train_dataset=change(rows),
            output_dir=tmp_path,
            reward_funcs=every_other_group,
            **{"max_steps": 2, "save_strategy": "no", **overrides},
        )

    return make


def one_id(rows):
    return rows.remove_columns("id").add_column("id", ["0001"] * len(rows))


def without_ids(rows):
    return rows.remove_columns("id")


def one_row(rows):
    return rows.select([3] * 8)


def empty_ids(rows):
    return rows.remove_columns("id").add_column("id", [None] * len(rows))


TWICE = {"steps_per_generation": 1, "gradient_accumulation_steps": 4}
SHAPES = {"a generation a step": {}, "several": TWICE, "one for two steps": {"num_iterations": 2}}


@pytest.mark.parametrize("change", [one_id, without_ids, one_row, empty_ids])
@pytest.mark.parametrize("shape", SHAPES)
def test_groups_are_the_trainer_s(change, shape, trainer_of, tmp_path):
    """Their sizes are the trainer's, and the doctor counts zero-std groups as TRL does."""
    trainer = trainer_of(change, **SHAPES[shape])
    trainer.train()
    rollouts = report.read_lines(tmp_path / "completions.jsonl")
    groups = [group for step in report.groups_of(rollouts).values() for group in step.values()]
    assert {len(group) for group in groups} == {GROUP}
    logged = [line for line in trainer.state.log_history if "reward" in line]
    shares = [line["frac_reward_zero_std"] for line in logged if "frac_reward_zero_std" in line]
    counted = diagnosis.check_rollouts(rollouts)
    flat, total = next(
        map(int, found.groups())
        for found in (re.match(r"zero-std groups: (\d+) of (\d+)", f.what) for f in counted)
        if found
    )
    assert (total, flat / total) == (len(groups), sum(shares) / len(shares))
    assert 0 < flat < total


def test_an_id_that_names_its_group_needs_no_number(trainer_of, tmp_path):
    trainer_of().train()
    rollouts = report.read_lines(tmp_path / "completions.jsonl")
    names = ["step", "id", "completion", "every_other_group", "advantage"]
    assert [list(rollout) for rollout in rollouts] == [names] * 8
    groups = report.groups_of(rollouts)
    names = [name for step in groups.values() for name in step]
    assert names == [rollout["id"] for rollout in rollouts[::GROUP]]


def test_the_player_shows_groups_of_rows_that_share_an_id():
    """Never a question for another's completions."""
    earned = {"completion": "Answer: entailed", "variety": 1.0}
    rollouts = [
        {"step": 1, "id": "a", "group": 1, **earned, "advantage": -0.5},
        {"step": 1, "id": "a", "group": 2, **earned, "advantage": 0.25},
        {"step": 1, "id": None, "group": 3, **earned, "advantage": 0.75},
        {"step": 1, "id": "b", **earned, "advantage": 1.5},
    ]
    rows = [{"id": name, "question": text, "label": 1} for name, text in ("a1", "a2", "b3", "b3")]
    player = widgets.rollout_player(rollouts, rows)
    (_, group), card = player.children[0].children, player.children[1]
    shown = {}
    for name in group.options:
        group.value = name
        shown[name] = card.value
    assert list(shown) == ["a, group 1", "a, group 2", "without id, group 3", "b"]
    for (name, text), advantage in zip(shown.items(), ("-0.50", "+0.25", "+0.75", "+1.50")):
        assert text.count("advantage ") == 1, name
        assert f"advantage {advantage}" in text
    assert "Several questions have this id" in shown["a, group 1"]
    assert "had no id" in shown["without id, group 3"]
    assert ">3<" in shown["b"]
    assert "label: entailed" in shown["b"]


def test_a_second_training_is_refused_before_it_samples(trainer_of, tmp_path):
    """By the same trainer, and by a new one in the same folder; the first one's file is kept."""
    trainer = trainer_of()
    trainer.train()
    file = tmp_path / "completions.jsonl"
    written = file.read_text()
    for second in (trainer, trainer_of()):
        second._generate = None  # which is what samples
        with pytest.raises(RunError, match=r"completions.jsonl holds step 1, and .* begins anew"):
            second.train()
    assert file.read_text() == written


def test_a_training_resumes_after_the_steps_that_its_checkpoint_holds(trainer_of, tmp_path):
    file = tmp_path / "completions.jsonl"
    trainer_of(max_steps=3, save_strategy="steps", save_steps=2).train()
    checkpoint = str(tmp_path / "checkpoint-2")
    with pytest.raises(RunError, match=r"holds step 3, and .* after step 2; .*keep_steps\(.*, 2\)"):
        trainer_of(max_steps=4).train(resume_from_checkpoint=checkpoint)
    files.keep_steps(file, 2)
    trainer_of(max_steps=4).train(resume_from_checkpoint=checkpoint)
    steps = [rollout["step"] for rollout in report.read_lines(file)]
    assert steps == sorted([1, 2, 3, 4] * FEW["prompts_per_step"] * GROUP)


def test_a_trainer_continues_what_it_has_trained_itself(trainer_of, tmp_path):
    """As `RunFolder.train` does with `until`."""
    trainer = trainer_of(save_strategy="steps", save_steps=2)
    trainer.train()
    trainer.args.max_steps = 3
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    steps = [rollout["step"] for rollout in report.read_lines(tmp_path / "completions.jsonl")]
    assert steps == sorted([1, 2, 3] * FEW["prompts_per_step"] * GROUP)


def test_a_damaged_line_is_named(trainer_of, tmp_path):
    file = tmp_path / "completions.jsonl"
    file.write_text('{"step": 1, "id": "0001"}\n{"step": 2, "i')
    with pytest.raises(RunError, match=r"completions.jsonl holds step 1"):
        trainer_of().train()
    file.write_text('{"step": 2, "i')
    with pytest.raises(RunError, match=r"completions.jsonl, line 1 is damaged"):
        trainer_of().train()


def test_an_empty_file_is_no_training(trainer_of, tmp_path):
    (tmp_path / "completions.jsonl").touch()
    trainer_of(max_steps=1).train()
    assert len(report.read_lines(tmp_path / "completions.jsonl")) == 4
