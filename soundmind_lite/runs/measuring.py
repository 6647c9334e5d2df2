"""A measurement of a run: the answers to its test rows, shared by the processes."""

import time
from dataclasses import dataclass
from functools import partial

from accelerate.utils import gather_object

from .. import evaluation
from ..evaluation import Answer
from ..profiles import Profile
from ..speech import evaluation as spoken_evaluation
from .answers import AnswerLog, answered
from .beside import beside
from .processes import processes, share

KINDS = {"full": ("greedy", "sampled"), "short": ("greedy",), "none": ()}  # of a profile's `eval`


@dataclass(frozen=True)
class Measurement:
    """What a measurement found: its summary, as `result.json` holds it, and the greedy answers.

    If nothing is measured (by the profile's `eval`, or an audio control of a question in text), the
    summary is None and there are no answers.
    """

    summary: dict | None
    answers: list[Answer]

    @property
    def correct(self) -> list[bool]:
        return [answer.correct for answer in self.answers]


def measure(
    model,
    label: str,
    *,
    rows,
    profile: Profile,
    processing_class,
    log: AnswerLog,
    step: int,
    setting: str = "audio-text",
    control: str = "true",
    voice=None,
) -> Measurement:
    """Greedy answers to all rows, and sampled ones if the profile's `eval` is "full"; several
    processes share them and all get all. Where a second core is free, one gives the greedy answers
    and the other the sampled ones.

    Answers are written to `log` batch by batch, with the `step` of the training; those that are
    there aren't asked for again. With a `voice` the greedy answers are also spoken and transcribed,
    and the summary holds `spoken`, that of `speech.evaluation`. `label` names the measurement.
    """
    started = time.time()
    shown = processes().is_main_process

    def answers(kind: str, log: AnswerLog = log, shown: bool = shown) -> list[Answer]:
        what = f"{label}, {kind}"
        found = answered(
            model,
            rows,
            log,
            what,
            step=step,
            only=range(len(rows)),
            processing_class=processing_class,
            profile=profile,
            control=control,
            setting=setting,
            sample=kind == "sampled",
            progress=what if shown else None,
        )
        return list(found.values())

    nothing_to_change = control != "true" and setting.startswith("text")
    kinds = () if nothing_to_change else KINDS[profile.eval]
    sampled = partial(answers, "sampled", log.beside(), False) if "sampled" in kinds else None
    with beside(sampled):
        found = {kind: answers(kind) for kind in kinds if kind == "greedy"}
    found |= {kind: answers(kind) for kind in kinds if kind != "greedy"}
    if not found:
        return Measurement(None, [])
    greedy = found["greedy"]
    summary = evaluation.summary(greedy, found.get("sampled"))
    if voice:
        progress = f"{label}, spoken" if shown else None
        mine = share(range(len(rows)))
        own_rows = rows.select(mine)
        options = {"voice": voice, "setting": setting, "progress": progress}
        listened = spoken_evaluation.listen(own_rows, [greedy[i] for i in mine], **options)
        spoken = dict(gather_object(list(zip(mine, listened))))
        spoken = [spoken[i] for i in range(len(rows))]
        summary["spoken"] = spoken_evaluation.summary(spoken, voice)
    summary["seconds"] = round(time.time() - started, 1)
    return Measurement(summary, greedy)
