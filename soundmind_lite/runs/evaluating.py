"""The evaluation of a finished run, or of a profile's untrained model, as the command line asks."""

from pathlib import Path

from .. import data, evaluation, profiles
from ..alr.bad_rows import BadRows
from ..profiles import Profile
from ..speech import evaluation as spoken_evaluation
from ..speech.talker import load_with_voice
from .adapter import profile_of, with_adapter


def evaluate(
    profile: Profile | str = "tiny",
    run: Path | None = None,
    *,
    split: str = "test",
    setting: str = "audio-text",
    control: str = "true",
    on_bad_row: str = "raise",
) -> dict:
    """Accuracy with its interval, what else the setting measures, and every answer.

    `run` is the folder of a finished run, whose profile then counts. Raises what `load_alr`,
    `load_trained` and `answer_rows` raise.
    """
    profile = profile_of(run) if run else profiles.get(profile)
    bad = BadRows(on_bad_row)
    audio = "question" if setting.startswith("audio") else None
    options = {"on_bad_row": bad, "max_seconds": profile.max_audio_seconds}
    rows = data.load_alr(profile.data, split, audio=audio, **options)
    spoken = setting.endswith("-audio")
    model, processor, voice = load_with_voice(profile, spoken)
    if run:
        model = with_adapter(model, run)
    answers = evaluation.answer_rows(
        model,
        rows,
        processing_class=processor,
        max_new_tokens=profile.max_completion_length,
        batch_size=profile.per_device_eval_batch_size,
        control=control,
        setting=setting,
        progress="evaluate",
    )
    result = {
        "run": str(run) if run else None,
        "profile": profile.name,
        "split": split,
        "setting": setting,
        "audio": control,
        "skipped_rows": len(bad.found),
    }
    if spoken:
        options = {"voice": voice, "setting": setting, "progress": "speak and transcribe"}
        answers = spoken_evaluation.listen(rows, answers, **options)
        result |= spoken_evaluation.summary(answers, voice)
    else:
        result |= evaluation.summary(answers)
    result["answers"] = [vars(answer) for answer in answers]
    result["skipped"] = bad.listed()
    return result
