"""Short runs, their shipped logs, and what a notebook shows while they train."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from soundmind_lite import profiles
from soundmind_lite.course import short_runs, widgets
from soundmind_lite.course.figures import training as figures
from soundmind_lite.runs import report


@pytest.fixture(scope="module")
def runs():
    return short_runs.by_run()


def test_the_shipped_logs_hold_every_run(runs):
    names = {short_runs.name_of(knob, v) for knob, vs in short_runs.KNOBS.items() for v in vs}
    assert set(runs) == names | {"usual"}
    for log in runs.values():
        assert [entry["step"] for entry in log] == list(range(1, short_runs.STEPS + 1))


def test_the_usual_values_are_those_of_the_profile():
    sizes = asdict(profiles.get("tiny"))
    usual = {name: value for name, value in short_runs.USUAL.items() if name in sizes}
    assert usual == {name: sizes[name] for name in usual}
    assert len(usual) == 3


def test_only_a_second_update_of_a_batch_clips(runs):
    shares = {name: report.values_of(log, "clip_ratio/region_mean") for name, log in runs.items()}
    assert max(shares["usual"]) == 0
    assert max(shares["num_iterations=2"][0::2]) == 0  # the first update of each batch
    assert sum(share > 0 for share in shares["num_iterations=2"][1::2]) == 9


@pytest.mark.parametrize(("num_generations", "prompts"), [(2, 16), (8, 4), (16, 2)])
def test_another_group_size_keeps_the_completions_of_a_step(num_generations, prompts):
    profile = short_runs.same_completions(profiles.get("tiny"), num_generations)
    assert profile.prompts_per_step == prompts
    assert profile.prompts_per_step * profile.num_generations == 32


@pytest.mark.parametrize("knob", short_runs.KNOBS)
def test_a_picture_says_what_it_shows(knob, runs):
    chosen = short_runs.of_knob(runs, knob)
    words = figures.one_knob(chosen, key="kl", label="KL", seeds=[runs["usual"]]).alt
    assert all(name in words for name in chosen)
    assert "(usual)" in next(iter(chosen))
    assert ("KL not logged" in words) == (knob == "beta")


def test_a_reward_of_ones_own_is_used_if_it_is_right(capsys):
    def ones(completions, **_):
        return [1.0] * len(completions)

    def own(completions, **_):
        return short_runs.short_thought_reward(completions)

    assert short_runs.own_or_model(ones) is short_runs.short_thought_reward
    assert "isn't solved yet" in capsys.readouterr().out
    assert short_runs.own_or_model(own) is own


def test_live_curves_tell_each_step_and_draw_every_fifth(monkeypatch):
    shown = []

    class Handle:
        def __init__(self):
            self.content = None

        def update(self, content):
            self.content = content
            shown.append(content)

    monkeypatch.setattr(widgets, "display", lambda *_, **__: Handle())
    live = widgets.LiveCurves(every=5)
    log = report.read_lines(profiles.ASSETS / "runs" / "all_seed0" / "metrics.jsonl")[:7]

    def train(first, last):
        live.on_train_begin(None, SimpleNamespace(global_step=first, max_steps=last), None)
        for entry in log[first:last]:
            state = SimpleNamespace(global_step=entry["step"], max_steps=last)
            live.on_log(None, state, None, logs=entry)
        live.on_train_end(None, state, None)

    train(0, 6)
    lines = [content.data for content in shown if hasattr(content, "data")]
    assert lines[:2] == ["step 0 of 6", "step 1 of 6, reward 1.62"]
    assert len(lines) == 7
    assert len(shown) == 9  # and pictures at step 5 and at the end
    picture = live.handle
    train(6, 7)
    assert live.handle is not picture  # the cell that resumes shows its own
    assert len(live.metrics) == 7
