"""Widgets of the course: the reward lab, the rollout player and live training curves. Each leaves a static picture where no kernel runs."""
from dataclasses import replace

import ipywidgets as widgets
from IPython.display import HTML, display
from transformers import TrainerCallback

from .. import profiles
from . import show
from ..runs import report
from ..scale import planner
from ..prompts import VERDICTS

WIDE = widgets.Layout(width="98%")  # 100 % would bring a scroll bar, since widgets have margins


class Pictured(widgets.VBox):
    """Controls above a card of HTML; a page without a kernel shows the card as it was when the notebook was saved."""

    def __init__(self, controls: list[widgets.Widget], card: widgets.HTML, note: str):
        super().__init__([*controls, card], layout=WIDE)
        self._card, self._note = card, note

    def _repr_mimebundle_(self, **kwargs):
        return {**super()._repr_mimebundle_(**kwargs), "text/html": f"<p>{self._note}</p>{self._card.value}"}


def reward_lab(completion: str, label: int = 1, reference_length: int = 30) -> Pictured:
    """Edit a completion and see each reward term move, with the words that earned it."""
    text = widgets.Textarea(completion, description="completion", layout=widgets.Layout(width="98%", height="7em"))
    truth = widgets.Dropdown(options=[(name, value) for value, name in enumerate(VERDICTS)], value=label, description="label")
    reference = widgets.IntSlider(reference_length, 1, 100, description="L_ref", continuous_update=False)
    card = widgets.HTML(layout=WIDE)

    def redraw(_=None):
        card.value = show.reward_card(text.value, truth.value, reference.value)

    for control in (text, truth, reference):
        control.observe(redraw, "value")
    redraw()
    return Pictured([text, widgets.HBox([truth, reference])], card, "Reward lab, as it was saved: run this cell to edit the completion.")


def rollout_player(rollouts: list[dict], rows) -> Pictured:
    """Step through a run: the question's sound, its G answers side by side, their reward terms and advantages.

    `rollouts` are the lines of a run's completions.jsonl, `rows` the rows of `data.load_alr` that it was trained on.
    """
    by_id, steps = {row["id"]: row for row in rows}, report.groups_of(rollouts)
    if missing := sorted({r["id"] for r in rollouts} - set(by_id)):
        raise ValueError(f"{len(missing)} rollouts answer questions that the rows don't hold, first {missing[0]!r}; give the rows of the training")
    step = widgets.SelectionSlider(options=list(steps), description="step", continuous_update=False)
    question = widgets.Dropdown(options=list(steps[step.value]), description="question")
    card = widgets.HTML(layout=WIDE)

    def redraw(_=None):
        if question.value is not None:
            card.value = show.rollout_group(steps[step.value][question.value], by_id[question.value])

    def new_step(_):
        question.options = list(steps[step.value])
        redraw()

    step.observe(new_step, "value")
    question.observe(redraw, "value")
    redraw()
    note = f"Rollout player, as it was saved: the first group, of {len(rollouts)} completions in all. Run this cell to step through them."
    return Pictured([widgets.HBox([step, question])], card, note)


def planner_lab(profile: str = "l4", card: str = "T4") -> Pictured:
    """Choose a profile, a card and the sizes of a run, and see memory, time and cost before anything is downloaded."""
    large = [name for name, p in profiles.PROFILES.items() if p.gpu_gb]
    which = widgets.Dropdown(options=large, value=profile, description="profile")
    where = widgets.Dropdown(options=list(planner.CARDS), value=card, description="card")
    slider = lambda value, low, high, by, name: widgets.IntSlider(value, low, high, by, description=name, continuous_update=False)
    seconds, group, tokens = slider(60, 5, 180, 5, "audio, s"), slider(8, 2, 16, 2, "G"), slider(2048, 256, 4096, 256, "new tokens")
    price, panel = widgets.FloatText(1.0, description="price, hour"), widgets.HTML(layout=WIDE)

    def redraw(_=None):
        chosen = replace(profiles.get(which.value), group_size=group.value, max_completion_tokens=tokens.value)
        panel.value = show.plan_card(planner.plan(chosen, planner.CARDS[where.value], seconds.value, price.value))

    controls = [which, where, seconds, group, tokens, price]
    for control in controls:
        control.observe(redraw, "value")
    redraw()
    rows = [widgets.HBox(controls[i : i + 3]) for i in (0, 3)]
    return Pictured(rows, panel, "Planner, as it was saved: run this cell to choose.")


class LiveCurves(TrainerCallback):
    """Draws the training curves while they grow; `metrics` keeps what was logged, a dict a step."""

    def __init__(self, every: int = 5):
        self.every, self.metrics, self.handle = every, [], None

    def on_train_begin(self, args, state, control, **_):  # a run that goes on from a checkpoint draws later steps again
        self.metrics = [m for m in self.metrics if m["step"] <= state.global_step]

    def on_log(self, args, state, control, logs=None, **_):
        if "reward" in logs:
            self.metrics.append({"step": state.global_step, **logs})
            if len(self.metrics) % self.every == 0:
                self._show()

    def on_train_end(self, args, state, control, **_):
        if self.metrics:
            self._show()

    def _show(self):
        self.handle = self.handle or display(HTML(""), display_id=True)
        if self.handle is not None:  # None outside of a notebook
            self.handle.update(show.picture(report.draw(self.metrics), report.in_words(self.metrics)))
