"""What the labs of the pages show of the shipped run: its rollouts, and questions of the test split
with the answers before and after training.

Clips are MP3, which every browser plays; those of mini_alr are Opus in Ogg, which older iPhones
don't.
"""

import html
import json
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from ..audio import load_audio
from ..course.explain import explain
from ..course.show import mp3_bytes
from ..data import load_alr
from ..profiles import ASSETS
from ..prompts import VERDICTS
from ..runs.report import groups_of, read_lines, reward_names

RUN = ASSETS / "runs" / "all_seed0"
STEPS = 40  # of this run
LIVE = "_static/live/data"  # where a page at the site's root finds what the functions here write
# Test questions of the home page: four whose answers training corrected, two that end up wrong
HEARD = ("0003", "0009", "0007", "0026", "0069", "0128")
OUTCOMES = {
    (False, True): "Wrong before training, right after it.",
    (True, True): "Right before training and after it.",
    (False, False): "Wrong before training and after it.",
    (True, False): "Right before training, wrong after it.",
}


@dataclass(frozen=True)
class Heard:
    """A test question and its greedy answers; `clip` is the name of its MP3 beside the data."""

    id: str
    clip: str
    question: str
    label: str  # one of VERDICTS
    follows: str  # the same as "Yes" or "No"
    before: dict  # "text" and "correct"
    after: dict
    outcome: str


def write_clips(rows: Iterable[dict], folder: Path) -> None:
    """Writes the questions of `load_alr` rows as MP3 under their `clip_name` in the folder."""
    rows = list(rows)
    for row in rows:
        (folder / clip_name(row)).parent.mkdir(parents=True, exist_ok=True)

    def write(row: dict) -> None:
        clip = mp3_bytes(load_audio(row["question_audio"]))
        (folder / clip_name(row)).write_bytes(clip)

    with ThreadPoolExecutor() as pool:  # the encoder runs without Python's lock
        list(pool.map(write, rows))


def clip_name(row: dict) -> str:
    """The file of a row's question, in the folder of the data."""
    return f"clips/{row['split']}_{row['id']}.mp3"


@cache
def rows_of(split: str) -> dict[str, dict]:
    """The rows of mini_alr's split by id."""
    return {row["id"]: row for row in load_alr("mini", split)}


@cache
def answers(when: str) -> dict[str, dict]:
    """The greedy answers to the test questions "before" or "after" training, by id."""
    text = (RUN / f"{when}.json").read_text(encoding="utf-8")
    return {answer["id"]: answer for answer in json.loads(text)["answers"]}


def heard(name: str) -> Heard:
    """The test question of that id, with the answers to it."""
    row, before, after = rows_of("test")[name], answers("before")[name], answers("after")[name]
    return Heard(
        id=name,
        clip=clip_name(row),
        question=row["question"],
        label=VERDICTS[row["label"]],
        follows="Yes" if row["label"] else "No",
        before={"text": before["completion"], "correct": before["correct"]},
        after={"text": after["completion"], "correct": after["correct"]},
        outcome=OUTCOMES[before["correct"], after["correct"]],
    )


def tally() -> str:
    """How many test questions are right before and after, and what became of those that are shown.

    The figures are those of the run's result.json and of its answers.
    """
    result = json.loads((RUN / "result.json").read_text(encoding="utf-8"))
    every, shown = changes(answers("before")), changes(HEARD)
    return (
        f"Of {result['after']['n']} test questions this tiny model answers "
        f"{right_of(result['before'])} right before training, where guessing gives half, and "
        f"{right_of(result['after'])} after it. The whole run, {result['steps']} steps and all "
        f"measurements, took {result['seconds']:.0f} seconds on one CPU core. Training corrected "
        f"{every[False, True]} answers, left {every[False, False]} wrong and turned "
        f"{every[True, False]} right ones wrong; of the {len(HEARD)} shown here it "
        f"corrected {shown[False, True]}, left {shown[False, False]} wrong and turned "
        f"{shown[True, False]} wrong."
    )


def right_of(measured: dict) -> str:
    """The right answers of a summary in result.json, such as "225 (94%)"."""
    return f"{round(measured['accuracy'] * measured['n'])} ({measured['accuracy']:.0%})"


def changes(ids: Iterable[str]) -> Counter:
    """How many of the test questions have each pair (right before, right after)."""
    before, after = answers("before"), answers("after")
    return Counter((before[name]["correct"], after[name]["correct"]) for name in ids)


def hear(folder: Path) -> dict:
    """The data of the lab `hear`: the questions of `HEARD` and `tally`; writes their clips."""
    write_clips((rows_of("test")[name] for name in HEARD), folder)
    return {"tally": tally(), "questions": [asdict(heard(name)) for name in HEARD]}


def hear_box() -> str:
    """HTML that stands in the box of the lab `hear` until it starts, and without JavaScript.

    The first question, with a player, its transcript and both answers, for a page at the site's
    root. The box is `<div data-live="hear" data-options='{}'>`.
    """
    first = heard(HEARD[0])
    return (
        '<div class="lab hear"><p class="hear-play"><audio controls preload="metadata" '
        f'aria-label="a spoken question" src="{LIVE}/{first.clip}"></audio></p>'
        f'<p class="hear-question">{escaped(first.question)}</p>'
        f"<p>Does the conclusion follow? {first.follows}: the label is "
        f"<strong>{first.label}</strong>.</p>"
        f'<div class="hear-answers">{answer_card("Before training", first.before)}'
        f"{answer_card('After training', first.after)}</div>"
        f'<p class="lab-note">{escaped(tally())}</p></div>'
    )


def answer_card(title: str, answer: dict) -> str:
    """HTML of one answer, with whether it is right."""
    verdict = "right" if answer["correct"] else "wrong"
    return (
        f'<section><p><strong>{title}</strong> <span class="lab-verdict {verdict}">{verdict}</span>'
        f'</p><p class="lab-text">{escaped(answer["text"])}</p></section>'
    )


def escaped(text: str) -> str:
    """The text as HTML on one line, since an empty line would end the HTML in Markdown."""
    return html.escape(text).replace("\n", "&#10;")


@cache
def groups() -> dict[int, dict[str, list[dict]]]:
    """The rollouts of the run by step and question."""
    return groups_of(read_lines(RUN / "completions.jsonl"))


def rollouts(folder: Path) -> dict:
    """The data that the rollout player starts with; writes the clips of all its questions.

    "rewards" has the mean reward of each step, "terms" the name and the maximum of each reward.
    """
    train = rows_of("train")
    write_clips({name: train[name] for step in groups().values() for name in step}.values(), folder)
    metrics = read_lines(RUN / "metrics.jsonl")
    first = next(iter(groups()[1].values()))
    most = {f"{term.name}_reward": term.maximum for term in explain("", 0, reference_length=1)}
    names = reward_names(first)
    maxima = [most[name.removeprefix("text_")] for name in names]
    return {
        "rewards": [entry["reward"] for entry in metrics],
        "terms": [[short(name), maximum] for name, maximum in zip(names, maxima)],
    }


def short(reward: str) -> str:
    """The name of a reward as the player shows it, "text format" for "text_format_reward"."""
    return reward.removesuffix("_reward").replace("_", " ")


def rollouts_of(step: int, folder: Path) -> list[dict]:
    """The data of one step: its questions, each with its answers, the best first."""
    return [question_of(name, group) for name, group in groups()[step].items()]


def question_of(name: str, group: list[dict]) -> dict:
    """One question of the training rows and its rollouts, as the player shows them."""
    row, best_first = rows_of("train")[name], sorted(group, key=lambda one: -one["advantage"])
    return {
        "id": name,
        "clip": clip_name(row),
        "question": row["question"],
        "conclusion": row["conclusion"],
        "label": VERDICTS[row["label"]],
        "answers": [
            {
                "text": rollout["completion"],
                "rewards": [round(rollout[reward], 4) for reward in reward_names(group)],
                "advantage": round(rollout["advantage"], 4),
            }
            for rollout in best_first
        ],
    }


# {name: function of the folder}, for `live.DATA`: the player loads a step when it is shown
DATA = {"hear": hear, "rollouts": rollouts}
DATA |= {f"rollouts_{step:02}": partial(rollouts_of, step) for step in range(1, STEPS + 1)}
