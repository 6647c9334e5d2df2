"""One run from end to end: evaluate, train with GRPO, evaluate again, and write the run folder.

The folder holds `run.json` (what the run is), `result.json`, `metrics.jsonl` (a line a step), `completions.jsonl` (a line a sampled completion),
`before.json` and `after.json` (every test answer), `skipped.json` (rows left out, if there are any), `curves.png`, `adapter/` and `checkpoint-N/`.
"""
import contextlib
import json
import time
import warnings
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list, gather_object
from peft import PeftModel, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import TrainerCallback, set_seed

from . import data, evaluation, grpo, models, profiles
from .runs import report
from .scale import doctor
from .speech import evaluation as spoken_evaluation, talker
from .audio import Sealed
from .alr.bad_rows import BadRows
from .runs.checkpoints import complete_checkpoints, keep_newest, mark_complete, step_of
from .evaluation import Answer
from .grpo import ROLLOUTS
from .runs.process_memory import peak_memory_mb, return_freed_memory
from .rewards import AUDIO_REWARDS, TEXT_REWARDS, spoken_by
from .runs.files import RunError, keep_steps, read_json, write_json
from .runs.folder import BEFORE, METRICS, RESULT, SETTINGS, SKIPPED, check_folder, check_rows, claimed, new_folder, seconds_until, told_what_to_do
from .trainer import PHASES, reward_name
from .training_data import row_name

__all__ = [
    "RunError", "complete_checkpoints", "facts_of", "keep_steps", "measure", "new_folder", "peak_memory_mb", "processes", "return_freed_memory", "step_of",
    "train", "trained", "with_adapter", "write_json",
]


class RunLog(TrainerCallback):
    """Writes metrics.jsonl, marks checkpoints that are whole, with the time until then, and shows a progress bar with the reward and the time left."""

    def __init__(self, out: Path, started: float):
        self.out, self.started, self.bar = out, started, None

    def on_train_begin(self, args, state, control, **_):
        from tqdm.auto import tqdm

        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="train", unit="step", disable=not state.is_world_process_zero)

    def on_log(self, args, state, control, logs=None, **_):
        if not state.is_world_process_zero or "reward" not in logs:
            return
        with (self.out / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        self.bar.set_postfix_str(f"reward {logs['reward']:.2f}, groups without variance {logs['frac_reward_zero_std']:.0%}")

    def on_step_end(self, args, state, control, **_):
        self.bar.update(1)
        if state.global_step % 5 == 0:
            return_freed_memory()

    def on_save(self, args, state, control, **_):
        processes().wait_for_everyone()  # each has written its part
        if state.is_world_process_zero:
            mark_complete(self.out / f"checkpoint-{state.global_step}", time.time() - self.started)
            keep_newest(self.out)

    def on_train_end(self, args, state, control, **_):
        return_freed_memory()
        self.bar.close()


def measure(model, processor, rows, profile, label: str, control: str = "true", setting: str = "audio-text", voice=None) -> tuple[dict, list[Answer]]:
    """Greedy and sampled answers of all rows: their summary, and the greedy answers. Several processes share the rows and all get the whole.

    With a `voice` the greedy answers are also spoken and heard; the summary then holds `spoken`, that of `spoken_evaluation`.
    """
    state, found, started = processes(), {}, time.time()
    mine = list(range(state.process_index, len(rows), state.num_processes))
    shown = label if state.is_main_process else None

    def of_all(part):
        together = dict(gather_object(list(zip(mine, part))))
        return [together[i] for i in range(len(rows))]

    for kind, sample in (("greedy", False), ("sampled", True)):
        found[kind] = evaluation.answer_rows(
            model, processor, rows, only=mine, max_new_tokens=profile.max_completion_tokens, batch_size=profile.evaluation_batch, control=control,
            setting=setting, sample=sample, progress=shown and f"{shown}, {kind}",
        )
    greedy = of_all(found["greedy"])
    result = evaluation.summary(greedy, of_all(found["sampled"]))
    if voice:
        heard = spoken_evaluation.listen(rows.select(mine), found["greedy"], voice, setting=setting, progress=shown and f"{shown}, spoken and heard")
        result["spoken"] = spoken_evaluation.summary(of_all(heard), voice)
    return result | {"seconds": round(time.time() - started, 1)}, greedy


def breakdown(out: Path, seconds: float, measured: list[dict]) -> dict[str, float]:
    """Where the seconds of a run went: evaluating, the phases of its steps (of the first process), and what lies between them."""
    steps = report.read_lines(out / METRICS)
    parts = {"evaluate": sum(m["seconds"] for m in measured)} | {name: sum(s.get(f"seconds/{name}", 0.0) for s in steps) for name in PHASES if name != "other"}
    return {name: round(value, 1) for name, value in (parts | {"other": seconds - sum(parts.values())}).items()}


def before_training(out: Path, *measured, **how) -> tuple[dict, list[Answer]]:
    """The measurement before training, read from `before.json` when a run goes on. The arguments after `out` are those of `measure`."""
    file = out / BEFORE
    if file.exists():
        saved = read_json(file, "summary", "answers")
        return saved["summary"], [Answer(**a) for a in saved["answers"]]
    result, answers = measure(*measured, **how)
    save_answers(file, result, answers)
    return result, answers


def save_answers(file: Path, result: dict, answers: list[Answer]) -> None:
    if processes().is_main_process:
        write_json(file, {"summary": result, "answers": [vars(a) for a in answers]})


def processes() -> PartialState:
    """This process among those that accelerate or torchrun started; alone, if none did. They wait for each other long enough for one to fetch ALR."""
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=3))


def prepare_folder(out: Path, resume: bool, facts: dict) -> Path | None:
    """Checks and prepares the run folder, in the first process alone; all get the checkpoint to go on from, if any."""
    checkpoint = [check_folder(out, resume, facts) if processes().is_main_process else None]
    return broadcast_object_list(checkpoint)[0]


def load_rows(profile, setting: str, bad: BadRows):
    """Training rows, test rows, all their clips, sealed, and a fingerprint of it all; every clip is heard.

    One process fetches, the others find. RunError if they don't find the same.
    """
    heard, spoken = setting.startswith("audio"), setting.endswith("-audio")
    if not processes().is_main_process:
        warnings.simplefilter("ignore", data.SkippedRows)  # one voice is enough
    with processes().main_process_first():
        how = dict(on_bad_row=bad, max_seconds=profile.max_audio_seconds)
        train = data.load_alr(profile.data, "train", audio="both" if spoken else "question" if heard else None, **how)
        rows, test = data.training_rows(train, setting, bad), data.load_alr(profile.data, "test", **how)
    grpo.check(profile, rows=len(rows))
    evaluation.donors(test["label"])  # the swapped control at the end wants both labels
    chosen = set(rows["id"])
    used = [*(row for row in train if row["id"] in chosen), *test]
    check_clips(clips := Sealed(), used)
    prints = gather_object([data.fingerprint(used)])
    if len(set(prints)) > 1:
        raise RunError("the processes don't find the same rows and clips; can all of them read all of the data?")
    return rows, test, clips, prints[0]


def check_clips(clips: Sealed, rows) -> None:
    """AudioError if the clip of a row was changed since the first call: before and after would not have heard the same."""
    for row in rows:
        if row["question_audio"]:
            clips.check(row_name(row), row["question_audio"])


def begin(out: Path, resume: bool, facts: dict, voice: str | None, bad: BadRows, checkpoint: Path | None) -> None:
    """Writes what the run is and which rows it leaves out, and drops what was logged after the step from which it goes on.

    RunError if another process has started, moved on or finished the run while this one was getting ready.
    """
    if check_folder(out, resume, facts) != checkpoint:
        raise RunError(f"{out} was written by another process just now; look at it, and start again")
    write_json(out / SETTINGS, facts | ({"voice": voice} if voice else {}))
    if bad.found:
        write_json(out / SKIPPED, bad.listed())
    keep_newest(out, whole_alone=True)
    for name in (METRICS, ROLLOUTS):
        keep_steps(out / name, step_of(checkpoint) if checkpoint else 0)


def finish_model(trainer, profile, out: Path):
    """Saves the adapter and returns the trained thinker with it merged: the same function without the detour, so answers come faster."""
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if sharded:  # gathers the adapter from all processes; the weights themselves stay in pieces, so the base is loaded anew
        trainer.save_model(str(out / "adapter"))
    elif processes().is_main_process:
        trainer.model.save_pretrained(out / "adapter")
    processes().wait_for_everyone()
    return with_adapter(models.load(profile)[0], out) if sharded else trainer.model.merge_and_unload()


def train(
    profile_name: str = "tiny", out: str | Path = "runs/tiny", seed: int = 0, steps: int | None = None, resume: bool = False,
    algorithm: str = "grpo", rewards=None, setting: str = "audio-text", on_bad_row: str = "raise",
) -> dict:
    """The whole run, on one process or on those that accelerate or torchrun started; returns what `result.json` holds.

    `rewards`, one or several, default to the text rewards, and to text and audio rewards in a setting whose answers are spoken. There the answers are spoken by the talker
    of a full checkpoint, else by hibari-tts, as `run.json` says, and `before` and `after` also hold `spoken`, measured by what is heard.
    All clips are heard before the first step. With `on_bad_row="skip"` rows that can't be used are left out: counted in the result, listed in `skipped.json`.

    Raises MachineError if this machine can't run the profile, RunError if the folder holds another run, is in use or can't be written, or disk or memory is
    full (it says what is whole), TrainingError for numbers that are none, ALRFormatError for a bad row, and AudioError for a bad clip or one that was
    changed during the run.
    """
    profile, out, state, bad = profiles.get(profile_name), Path(out), processes(), BadRows(on_bad_row)
    doctor.require(profile)
    speaks = data.check_setting(setting).endswith("-audio")
    rewards = [rewards] if callable(rewards) else rewards or (TEXT_REWARDS + AUDIO_REWARDS if speaks else TEXT_REWARDS)
    facts = dict(
        profile=profile.name, seed=seed, algorithm=algorithm, steps=profile.steps if steps is None else steps,
        rewards=[reward_name(reward) for reward in rewards], setting=setting,
    )
    grpo.check(profile, algorithm, facts["steps"])
    checkpoint = prepare_folder(out, resume, facts)
    started = time.time() - seconds_until(out, checkpoint)
    set_seed(seed)
    rows, test, clips, facts["rows"] = load_rows(profile, setting, bad)
    if state.is_main_process:
        check_rows(out, facts["rows"])
    model, processor, voice = talker.load_with_voice(profile, speaks)
    if isinstance(voice, talker.Talker) and state.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise RunError("the talker needs the whole thinker in each process; launch with ddp.yaml, or train with written answers")
    last_step = step_of(checkpoint) if checkpoint else 0
    # the folder is made only now, so that a run that can't start leaves none behind
    with told_what_to_do(out), claimed(out) if state.is_main_process else contextlib.nullcontext():
        if state.is_main_process:
            begin(out, resume, facts, voice.name if speaks else None, bad, checkpoint)
        state.wait_for_everyone()
        before, answers_before = before_training(out, model, processor, test, profile, "before", setting=setting, voice=voice)
        trainer = grpo.trainer_for(
            profile, model, processor, rows, out, [spoken_by(voice, r) for r in rewards] if speaks else rewards, seed=seed, steps=steps,
            algorithm=algorithm, callbacks=[RunLog(out, started)], clips=clips, save_total_limit=None,  # RunLog keeps the last ones
        )
        if last_step < facts["steps"]:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        else:  # all steps were done before the stop; the Trainer would take one more
            set_peft_model_state_dict(trainer.model, load_file(checkpoint / "adapter_model.safetensors"))
        model = finish_model(trainer, profile, out)
        after, answers_after = measure(model, processor, test, profile, "after", setting=setting, voice=voice)
        save_answers(out / "after.json", after, answers_after)
        swapped, _ = measure(model, processor, test, profile, "swapped sound", "swapped")  # of the audio tower also where questions were read
        check_clips(clips, test)
        result = {k: facts[k] for k in ("profile", "seed", "algorithm", "steps")} | dict(
            seconds=(seconds := round(time.time() - started, 1)), breakdown=breakdown(out, seconds, [before, after, swapped]),
            peak_memory_mb=round(peak_memory_mb()), skipped_rows=len(bad.found), before=before, after=after,
            paired_p=evaluation.paired_p([a.correct for a in answers_before], [a.correct for a in answers_after]), swapped_audio=swapped,
        )
        if state.is_main_process:
            report.curves(out / METRICS, out / "curves.png", result)
            write_json(out / RESULT, result)
            print(report.side_by_side(list(test), answers_before, answers_after))
            print(report.table(result))
        return result


def facts_of(run: str | Path) -> dict:
    """The result of a finished run; RunError if it isn't one."""
    if not (Path(run) / RESULT).is_file():
        raise RunError(f"{run} holds no finished run (no {RESULT}); finish it with train --resume")
    return read_json(Path(run) / RESULT, "profile", "algorithm", "steps", "seed", "before", "after")


def with_adapter(model, run: Path):
    """The model with the adapter of a run merged into it, in place.

    RunError if there is none in safetensors (other formats can hold code), or one that can't be read or holds NaN or infinite weights.
    """
    file = Path(run) / "adapter" / "adapter_model.safetensors"
    if not file.is_file():
        raise RunError(f"{run} has no adapter/adapter_model.safetensors, and weights in other formats aren't read; train it again")
    try:
        broken = [name for name, weights in load_file(file).items() if not weights.isfinite().all()]
    except SafetensorError as error:
        raise RunError(f"{file} is damaged ({error}); train it again") from error
    if broken:
        raise RunError(f"{file} holds NaN or infinite weights, first {broken[0]}; train it again, with a lower learning_rate")
    return PeftModel.from_pretrained(model, str(Path(run) / "adapter")).merge_and_unload().eval()


def trained(run: str | Path):
    """`(model, processor, profile)` of a finished run: the profile's thinker with the run's adapter merged into it."""
    profile = profiles.get(facts_of(run)["profile"])
    doctor.require(profile)
    model, processor = models.load(profile)
    return with_adapter(model, run), processor, profile
