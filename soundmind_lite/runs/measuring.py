"""A measurement of a run: greedy and sampled answers to all test rows, shared by the processes."""

import time
from dataclasses import dataclass

from accelerate.utils import gather_object

from .. import evaluation
from ..evaluation import Answer
from ..profiles import Profile
from ..speech import evaluation as spoken_evaluation
from .processes import processes


@dataclass(frozen=True)
class Measurement:
    """What a measurement found: its summary, as `result.json` holds it, and the greedy answers."""

    summary: dict
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
    setting: str = "audio-text",
    control: str = "true",
    voice=None,
) -> Measurement:
    """Greedy and sampled answers to all rows; several processes share them and all get all.

    With a `voice` the greedy answers are also spoken and transcribed, and the summary holds
    `spoken`, that of `speech.evaluation`. `label` names the progress bar.
    """
    state = processes()
    started = time.time()
    mine = list(range(state.process_index, len(rows), state.num_processes))
    shown = state.is_main_process

    def answers(kind: str) -> list[Answer]:
        return evaluation.answer_rows(
            model,
            rows,
            processing_class=processing_class,
            only=mine,
            max_new_tokens=profile.max_completion_length,
            batch_size=profile.per_device_eval_batch_size,
            control=control,
            setting=setting,
            sample=kind == "sampled",
            progress=f"{label}, {kind}" if shown else None,
        )

    def of_all(part: list) -> list:
        together = dict(gather_object(list(zip(mine, part))))
        return [together[i] for i in range(len(rows))]

    my_greedy = answers("greedy")
    greedy = of_all(my_greedy)
    summary = evaluation.summary(greedy, of_all(answers("sampled")))
    if voice:
        progress = f"{label}, spoken" if shown else None
        own_rows = rows.select(mine)
        options = {"voice": voice, "setting": setting, "progress": progress}
        spoken = of_all(spoken_evaluation.listen(own_rows, my_greedy, **options))
        summary["spoken"] = spoken_evaluation.summary(spoken, voice)
    summary["seconds"] = round(time.time() - started, 1)
    return Measurement(summary, greedy)
