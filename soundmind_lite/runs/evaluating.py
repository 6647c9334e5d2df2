"""The evaluation of a finished run, or of a profile's untrained model, as the command line asks."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import data, evaluation, profiles
from ..alr.bad_rows import BadRows
from ..profiles import Profile
from ..speech import evaluation as spoken_evaluation
from ..speech.talker import load_with_voice
from . import report
from .adapter import adapter_folder, profile_of, with_adapter
from .answers import AnswerLog, answered
from .beside import beside
from .files import write_json
from .fingerprint import digest_of, fingerprint
from .processes import processes


def evaluate(
    profile: Profile | str | None = None,
    run: str | Path | None = None,
    *,
    split: str = "test",
    setting: str = "audio-text",
    control: str = "true",
    on_bad_row: str = "raise",
    out: str | Path | None = None,
) -> dict:
    """Accuracy with its interval, what else the setting measures, and every answer.

    Greedy, on the split's rows or as many as the profile's `test_rows`. `run` is the folder of a
    finished run, a checkpoint of one, or what a trainer wrote that was no run; `profile` defaults
    to that of the run, else to tiny. With `out`, the file that the
    figures will be written to, answers are kept beside it batch by batch, and the same call
    continues after a stop. Where a second core is free, another process answers half of the rows.
    Raises what `load_alr`, `with_adapter` and `answer_rows` raise.
    """
    profile = profiles.get(profile or (profile_of(run) if run else None) or "tiny")
    out = Path(out) if out else None
    if control != "true" and setting.startswith("text"):  # before a model is fetched
        raise ValueError(f"control={control!r} changes the audio, and {setting!r} has none")
    bad = BadRows(on_bad_row)
    audio = "question" if setting.startswith("audio") else None
    options = {"on_bad_row": bad, "max_seconds": profile.max_audio_seconds}
    rows = data.load_alr(profile.data, split, audio=audio, max_rows=profile.test_rows, **options)
    spoken = setting.endswith("-audio")
    model, processor, voice = load_with_voice(profile, spoken)
    if run:
        model = with_adapter(model, run)
        folder = adapter_folder(run)
        run = run if folder.name == "adapter" else folder  # which checkpoint it is
    facts = {
        "run": str(run) if run else None,
        "profile": profile.name,
        "split": split,
        "setting": setting,
        "audio": control,
    }
    ask = partial(
        answered,
        model,
        rows,
        what="evaluate",
        processing_class=processor,
        profile=profile,
        control=control,
        setting=setting,
    )
    every = range(len(rows))
    first = processes().is_main_process  # it shows, keeps and writes
    with TemporaryDirectory() as temporary:
        file = Path(temporary) / "answers.jsonl"
        if out is not None:
            digest = digest_of([*facts.values(), *asdict(profile).values(), fingerprint(rows)])
            file = out.with_name(f"{out.stem}.{digest}.jsonl")
        log = AnswerLog(file)
        if first:
            log.keep(0)
        processes().wait_for_everyone()
        with beside(partial(ask, log=log.beside(), only=every[1::2])) as two:
            own, name = (every[::2], "evaluate, one of two halves") if two else (every, "evaluate")
            ask(log=log, only=own, progress=name if first else None)
        answers = list(ask(log=log, only=every).values())
    result = facts | {"skipped_rows": len(bad.found)}
    if spoken:
        options = {"voice": voice, "setting": setting, "progress": "speak and transcribe"}
        answers = spoken_evaluation.listen(rows, answers, **options)
        result |= spoken_evaluation.summary(answers, voice)
    else:
        result |= evaluation.summary(answers)
    result["answers"] = [vars(answer) for answer in answers]
    result["skipped"] = bad.listed()
    if out is not None and first:
        write_json(out, result)
        for file in log.files():
            file.unlink()
    return result


def in_words(result: dict) -> str:
    """The figures of `evaluate` for a person: accuracy with its 95 % interval first.

    >>> figures = {"accuracy": 0.9375, "ci_low": 0.899, "ci_high": 0.962, "n": 240}
    >>> asked = {"run": "runs/a", "profile": "tiny", "split": "test", "setting": "audio-text"}
    >>> found = {"audio": "true", "skipped_rows": 0, "format_rate": 1.0, "premises_exact": 0.9}
    >>> print(in_words(figures | asked | found))
    93.8% (90%–96%), n = 240, format 100%, premises restated 90%
    runs/a (profile tiny), split test, setting audio-text, audio true
    """
    words = [report.interval(result), f"n = {result['n']}"]
    if "wer" in result:
        words.append(f"by transcript; by text {result['accuracy_text']:.1%}")
        wer = f"{result['wer']:.1%} ({result['wer_low']:.1%}–{result['wer_high']:.1%})"
        words += [f"WER {wer}", f"{result['seconds_of_speech']:.1f} s of speech"]
        words.append(f"voice {result['voice']}")
    else:
        words.append(f"format {result['format_rate']:.0%}")
        words.append(f"premises restated {result['premises_exact']:.0%}")
    asked = [f"{result['run'] or 'untrained'} (profile {result['profile']})"]
    asked += [f"{name} {result[name]}" for name in ("split", "setting", "audio")]
    if result["skipped_rows"]:
        asked.append(f"{result['skipped_rows']} rows left out")
    return f"{', '.join(words)}\n{', '.join(asked)}"
