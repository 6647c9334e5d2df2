"""Widgets of the course: the reward lab, the rollout player, the planner, live training curves.

Each leaves a static picture where no kernel runs.
"""

import html
import json
from dataclasses import replace

import ipywidgets as widgets
from IPython.display import HTML, display
from transformers import TrainerCallback

from .. import profiles
from ..alr.rows import checked
from ..prompts import VERDICTS
from ..runs import report
from ..scale import planner
from ..scale.cards import CARDS
from . import show

WIDE = widgets.Layout(width="98%")  # 100 % would bring a scroll bar, since widgets have margins


# In JupyterLab the picture gives way to the live controls; after a restart of the kernel these are
# gone, and the picture is back in place of JupyterLab's "model not found".
GIVE_WAY = """<style>
.jp-OutputArea-child:has(.as-saved):has(+ .jp-OutputArea-child .widget-vbox) { display: none }
.jp-OutputArea-child:has(.as-saved) + .jp-OutputArea-child:has(.jupyter-widgets):not(
:has(.widget-vbox)) { display: none }
</style>"""


class Pictured(widgets.VBox):
    """Controls above a card of HTML; without a kernel a page shows the card as it was saved."""

    def __init__(
        self, controls: list[widgets.Widget], card: widgets.HTML, *, note: str, live: str = ""
    ):
        super().__init__([*controls, card], layout=WIDE)
        self._card = card
        self._note = note
        self._live = live

    def as_saved(self) -> str:
        """HTML of the picture, with a word on how to bring it to life. On a page of the site the
        lab that its attributes name takes its place."""
        return f'<div class="as-saved"{self._live}><p>{self._note}</p>{self._card.value}</div>'

    def _ipython_display_(self):
        display(HTML(GIVE_WAY + self.as_saved()))
        live = super()._repr_mimebundle_()
        live.pop("text/plain", None)  # the picture says it
        display(live, raw=True)


def live(name: str, **options) -> str:
    """The attributes by which a page of the site starts its lab of that name."""
    return f' data-live="{name}" data-options="{html.escape(json.dumps(options))}"'


def reward_lab(completion: str, label: int = 1, *, reference_length: int = 30) -> Pictured:
    """Edit a completion and see each reward term change, with the words that it read."""
    text = widgets.Textarea(
        completion, description="completion", layout=widgets.Layout(width="98%", height="7em")
    )
    verdicts = [(name, value) for value, name in enumerate(VERDICTS)]
    truth = widgets.Dropdown(options=verdicts, value=label, description="label")
    reference = _slider("L_ref", reference_length, low=1, high=100, step=1)
    card = widgets.HTML(layout=WIDE)

    def redraw(_=None):
        card.value = show.reward_card(text.value, truth.value, reference_length=reference.value)

    for control in (text, truth, reference):
        control.observe(redraw, "value")
    redraw()
    note = "The reward lab as it was saved; run this cell to edit the completion."
    page = live("reward_lab", completion=completion, label=label, reference_length=reference_length)
    return Pictured([text, widgets.HBox([truth, reference])], card, note=note, live=page)


def rollout_player(rollouts: list[dict], rows) -> Pictured:
    """Step through a run: a question's audio, its G completions, their rewards and advantages.

    `rollouts` are the lines of a run's completions.jsonl, `rows` the rows of `data.load_alr` that
    it was trained on. Raises ValueError if a rollout's row isn't among them, or lacks a column.
    """
    rows = checked(rows, "id", "question", "label")
    by_id, steps = _rows_by_id(rows), report.groups_of(rollouts)
    missing = sorted({rollout["id"] for rollout in rollouts} - set(by_id), key=str)
    if missing:
        raise ValueError(
            f"{len(missing)} ids of the rollouts are not among the rows, first {missing[0]!r}; "
            "pass the rows of the training"
        )
    step = widgets.SelectionSlider(options=list(steps), description="step", continuous_update=False)
    question = widgets.Dropdown(options=list(steps[step.value]), description="question")
    card = widgets.HTML(layout=WIDE)

    def redraw(_=None):
        if question.value is not None:
            group = steps[step.value][question.value]
            card.value = show.rollout_group(group, by_id[group[0]["id"]])

    def new_step(_):
        question.options = list(steps[step.value])
        redraw()

    step.observe(new_step, "value")
    question.observe(redraw, "value")
    redraw()
    note = (
        f"The rollout player as it was saved, with the first group of {len(rollouts)} completions; "
        "run this cell to step through them."
    )
    return Pictured([widgets.HBox([step, question])], card, note=note)


def _rows_by_id(rows: list[dict]) -> dict:
    """Rows by id; a stand-in says so where an id doesn't tell which question was sampled."""
    unknown = {"id": "without id", "question": "The training rows had no id.", "label": None}
    by_id = {None: unknown}
    for row in rows:
        first = by_id.setdefault(row["id"], row)
        if first["question"] != row["question"]:
            question = "Several questions have this id, so it isn't known which one this is."
            by_id[row["id"]] = {"id": row["id"], "question": question, "label": None}
    return by_id


def planner_lab(profile: str = "l4", card: str = "T4") -> Pictured:
    """Choose profile, card and sizes, and see memory, time and cost before any download."""
    large = [name for name, p in profiles.PROFILES.items() if p.card]
    which = widgets.Dropdown(options=large, value=profile, description="profile")
    where = widgets.Dropdown(options=list(CARDS), value=card, description="card")
    sizes = {
        "max_audio_seconds": _slider("longest, s", 120, low=60, high=180, step=10),
        "num_generations": _slider("G", 8, low=2, high=16, step=2),
        "max_completion_length": _slider("new tokens", 1024, low=256, high=4096, step=256),
        "per_device_eval_batch_size": _slider("eval batch", 8, low=1, high=32, step=1),
    }
    price = widgets.FloatText(1.0, description="price, hour")
    panel = widgets.HTML(layout=WIDE)

    def redraw(_=None):
        given = {name: slider.value for name, slider in sizes.items()}
        chosen = replace(profiles.get(which.value), **given)
        plan = planner.plan(chosen, CARDS[where.value], price=price.value)
        panel.value = show.plan_card(plan)

    def own_sizes(_=None):
        for name, slider in sizes.items():
            slider.value = getattr(profiles.get(which.value), name)

    which.observe(own_sizes, "value")
    for control in (which, where, price, *sizes.values()):
        control.observe(redraw, "value")
    own_sizes()
    redraw()
    seconds, group, tokens, at_once = sizes.values()
    rows = [widgets.HBox([which, where, price])]
    rows += [widgets.HBox([seconds, group]), widgets.HBox([tokens, at_once])]
    note = "The planner as it was saved; run this cell to choose."
    return Pictured(rows, panel, note=note, live=live("planner_lab", profile=profile, card=card))


def _slider(name: str, value: int, *, low: int, high: int, step: int) -> widgets.IntSlider:
    return widgets.IntSlider(value, low, high, step, description=name, continuous_update=False)


class LiveCurves(TrainerCallback):
    """Shows a line for the latest step, and the training curves while they grow.

    `every` is the number of steps between two drawings; None draws nothing, and the line is all.
    `metrics` keeps the log, a dict for each step. A training that resumes shows a picture of its
    own, of all steps.
    """

    def __init__(self, every: int | None = 5):
        self.every = every
        self.metrics = []
        self.line = None  # handle of the line in the notebook
        self.handle = None  # of the picture under it

    def on_train_begin(self, args, state, control, **_):
        # A run that resumes from a checkpoint logs the later steps again
        self.metrics = [m for m in self.metrics if m["step"] <= state.global_step]
        self.line = self.handle = None  # the cell that runs now shows its own
        self._tell(f"step 0 of {state.max_steps}")

    def on_log(self, args, state, control, logs=None, **_):
        if "reward" in logs:
            self.metrics.append({"step": state.global_step, **logs})
            reward = "none" if logs["reward"] is None else f"{logs['reward']:.2f}"
            self._tell(f"step {state.global_step} of {state.max_steps}, reward {reward}")
            if self.every and len(self.metrics) % self.every == 0:
                self._show()

    def on_train_end(self, args, state, control, **_):
        if self.every and self.metrics:
            self._show()

    def _tell(self, words: str):
        self.line = self._updated(self.line, HTML(words))

    def _show(self):
        figure = report.draw(self.metrics, columns=1)
        picture = show.picture(figure, report.in_words(self.metrics))
        self.handle = self._updated(self.handle, picture)

    @staticmethod
    def _updated(handle, content):
        """Shows the content in place of what the handle holds; outside of a notebook, nothing."""
        handle = handle or display(HTML(""), display_id=True)
        if handle is not None:  # None outside of a notebook
            handle.update(content)
        return handle
