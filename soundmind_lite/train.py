"""One run from end to end: load, measure, train with GRPO, measure again, write.

What it leaves out is in `runs`: checks around the trainer, the files of the run folder, several
processes, an order of rows that survives a resume.
"""

from pathlib import Path

from transformers import set_seed

from . import evaluation, grpo, profiles
from .data import SETTINGS
from .profiles import Profile
from .rewards import TEXT_REWARDS


def train(
    profile: Profile | str = "tiny",
    output_dir: str | Path | None = None,
    *,
    seed: int = 0,
    max_steps: int | None = None,
    resume: bool = False,
    algorithm: str = "grpo",
    reward_funcs=None,
    setting: str = "audio-text",
    on_bad_row: str = "raise",
    report_to: str | None = None,
    rollouts: str = "transformers",
    server: str | None = None,
) -> dict:
    """The whole run, on one process or on those that accelerate or torchrun started.

    `output_dir` (default: runs/PROFILE-seedSEED) gets the files that `runs.folder` lists.
    `reward_funcs`, one or several, default to the text rewards, and to text and audio rewards if
    the setting's answers are spoken: by the talker of a full checkpoint, else by hibari-tts.
    `algorithm` is one of `runs.algorithms`. `on_bad_row="skip"` leaves out rows that can't be used,
    counted and listed. `report_to` is a tracker, as in TRL. `rollouts="vllm"` samples on the vLLM
    server with the URL `server`: see `runs.engine`. Returns the result.

    Raises MachineError if this machine can't run the profile, RunError if the run can't start or
    resume in the folder, or if rows or clips changed during it, TrainingError for NaN and infinity,
    ALRFormatError and AudioError for bad rows and clips, ValueError for rewards that can't be used.
    An error that stops a run under way carries a note of what is complete.
    """
    # what surrounds a run; the method can be read without it
    from .runs import algorithms, engine
    from .runs.adapter import save_adapter
    from .runs.folder import RunFolder
    from .runs.measuring import measure
    from .runs.reward_checks import as_list, check_rewards
    from .runs.rows import load_rows
    from .runs.sharding import check_sharding, prepared
    from .runs.sizes import check_sizes
    from .scale.doctor import require
    from .speech.rewards import AUDIO_REWARDS, spoken_by
    from .speech.talker import load_with_voice

    # 1. Settings, checked before anything is loaded
    profile = profiles.get(profile)
    require(profile)
    spoken = profiles.one_of(SETTINGS, setting, what="setting").endswith("-audio")
    check_sharding(profile, spoken)
    shipped = TEXT_REWARDS + AUDIO_REWARDS if spoken else TEXT_REWARDS
    reward_funcs = as_list(reward_funcs) or list(shipped)
    max_steps = profile.max_steps if max_steps is None else max_steps
    changes = algorithms.options(algorithm)
    changes |= engine.options(rollouts, server, model=profile.model, setting=setting)
    check_sizes(profile, max_steps=max_steps)
    output_dir = output_dir or f"runs/{profile.name}-seed{seed}"
    settings = {"seed": seed, "algorithm": algorithm, "steps": max_steps, "setting": setting}
    settings["rollouts"] = rollouts

    with RunFolder(output_dir, profile, settings, reward_funcs=reward_funcs, resume=resume) as run:
        # 2. Rows and model
        set_seed(seed)
        rows = load_rows(profile, setting, on_bad_row=on_bad_row)
        check_rewards(reward_funcs, rows.train)
        model, processor, voice = load_with_voice(profile, spoken)
        run.begin(rows, voice)
        asked = {"rows": rows.test, "profile": profile, "processing_class": processor}
        asked |= {"setting": setting, "log": run.answers}

        # 3. The trainer, and before
        trainer = grpo.trainer_for(
            profile,
            model,
            processing_class=processor,
            train_dataset=rows.train,
            output_dir=run.path,
            reward_funcs=[spoken_by(voice, reward) for reward in reward_funcs],
            seed=seed,
            max_steps=max_steps,
            callbacks=[run.log],
            report_to=[report_to] if report_to else [],
            **changes,
        )
        model = prepared(trainer, run.checkpoint)
        before = run.saved("before") or measure(model, "before", **asked, step=0, voice=voice)
        run.save("before", before)

        # 4. Train
        run.train(trainer)
        model = save_adapter(trainer, run.path)

        # 5. After, and with another row's audio: does the model listen?
        asked["step"] = max_steps
        after = measure(model, "after", **asked, voice=voice)
        run.save("after", after)
        swapped = measure(model, "swapped audio", **asked, control="swapped")

        # 6. Write
        p = evaluation.paired_p(before.correct, after.correct)
        return run.finish(before=before, after=after, swapped=swapped, paired_p=p)
