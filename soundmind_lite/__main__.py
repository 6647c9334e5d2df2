"""Command line: `python -m soundmind_lite COMMAND --help`. Exit 0 on success, 2 on bad arguments, 1 with one clear line on failure."""
import argparse
import logging
import math
import os
import sys
import warnings
from pathlib import Path


def doctor(args) -> None:
    from .scale import doctor

    if not doctor.report():
        raise RuntimeError("the tiny profile can't run here yet; see the lines that start with --")


def train(args) -> None:
    from . import train as runs

    runs.train(args.profile, args.out, args.seed, args.steps, args.resume, args.algorithm, setting=args.setting, on_bad_row=args.on_bad_row)
    if not runs.processes().is_main_process:
        return
    print(f"\nWritten to {args.out}: result.json, curves.png, metrics.jsonl, completions.jsonl, adapter/")


def ready_for(file: Path | None, option: str) -> None:
    """Says before the long work, not after it, that its figures can't be written."""
    from .runs.folder import check_writable

    if file is None:
        return
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; give {option} the name of a file")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file.parent}: no such folder for {option}")
    check_writable(file.parent)


def evaluate(args) -> None:
    import json

    from . import data, evaluation, profiles, train as runs
    from .scale import doctor
    from .speech import evaluation as spoken_evaluation, talker
    from .alr.bad_rows import BadRows

    ready_for(args.out, "--out")
    profile = profiles.get(runs.facts_of(args.run)["profile"] if args.run else args.profile)
    doctor.require(profile)
    bad, audio = BadRows(args.on_bad_row), "question" if args.setting.startswith("audio") else None
    rows = data.load_alr(profile.data, args.split, audio=audio, on_bad_row=bad, max_seconds=profile.max_audio_seconds)
    model, processor, voice = talker.load_with_voice(profile, speaks := args.setting.endswith("-audio"))
    if args.run:
        model = runs.with_adapter(model, args.run)
    answers = evaluation.answer_rows(
        model, processor, rows, max_new_tokens=profile.max_completion_tokens,
        batch_size=profile.evaluation_batch, control=args.audio, setting=args.setting, progress="evaluate",
    )
    result = dict(run=args.run and str(args.run), profile=profile.name, split=args.split, setting=args.setting, audio=args.audio, skipped_rows=len(bad.found))
    if speaks:
        answers = spoken_evaluation.listen(rows, answers, voice, setting=args.setting, progress="speak and listen")
        result |= spoken_evaluation.summary(answers, voice)
    else:
        result |= evaluation.summary(answers)
    print(json.dumps(result, indent=2))
    if args.out:
        runs.write_json(args.out, result | {"answers": [vars(a) for a in answers], "skipped": bad.listed()})


def bench(args) -> None:
    import json

    from . import profiles, train as runs
    from .scale import bench, doctor

    profile = profiles.get(args.profile)
    if not args.random_weights:
        doctor.require(profile)
    ready_for(args.json, "--json")
    sizes = dict(audio_seconds=args.seconds_of_audio, group=args.group, new_tokens=args.new_tokens, random_weights=args.random_weights)
    result = bench.measure(profile, "rollout" if args.what == "rollout" else "step", **sizes)
    if args.what == "all":
        result["growth"] = bench.growth(profile, **sizes)
    print(json.dumps(result, indent=2))
    if args.json:
        runs.write_json(args.json, result)


def merge(args) -> None:
    from .scale import merging

    merging.merge(args.run, args.out)
    print(f"Written to {args.out}: the merged thinker, its processor and README.md")


def plan(args) -> None:
    from . import profiles
    from .scale import doctor, planner

    profile, cards = profiles.get(args.profile), doctor.gpus()
    if args.gpu:
        card = planner.CARDS[args.gpu]
    elif cards:
        card = planner.card_of(*cards[0])
    else:
        raise doctor.MachineError("no GPU here to plan for; name one with --gpu")
    chosen = planner.plan(profile, card, args.seconds_of_audio, args.price, steps=args.steps)
    print(chosen)
    if not chosen.fits:
        raise RuntimeError(f"the profile {profile.name} will not fit on {card.name}")


def build_tiny(args) -> None:
    from .tiny import build as tiny_build

    tiny_build.build(args.out)


def site(args) -> None:
    from .publish import site

    print(f"Written: {site.build(args.out) / 'index.html'}; it opens without a network")


def positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def amount(text: str) -> float:
    if not 0 < (value := float(text)) < math.inf:
        raise argparse.ArgumentTypeError("must be a positive number")
    return value


def seed(text: str) -> int:
    if not 0 <= (value := int(text)) < 2**32:
        raise argparse.ArgumentTypeError("must lie between 0 and 2**32 - 1")
    return value


def parser() -> argparse.ArgumentParser:
    from .alr.bad_rows import POLICIES
    from .profiles import PROFILES
    from .training_data import SETTINGS

    top = argparse.ArgumentParser(prog="python -m soundmind_lite", description="Audio logical reasoning, learned from rule rewards.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    profile = dict(default="tiny", choices=list(PROFILES), help="sizes of model, data and run (default: %(default)s)")

    on_bad_row = dict(choices=POLICIES, default="raise", help="stop at a row or clip that can't be used, or leave it out, counted and listed")

    p = commands.add_parser("doctor", help="what this machine has, and which profiles it can run")
    p.set_defaults(call=doctor)

    p = commands.add_parser("train", help="evaluate, train with rule rewards, evaluate again")
    p.add_argument("--profile", **profile)
    p.add_argument("--seed", type=seed, default=0)
    p.add_argument("--out", type=Path, help="the run folder (default: runs/PROFILE-seedSEED)")
    p.add_argument("--steps", type=positive, help="optimizer steps (default: the profile's)")
    p.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    p.add_argument("--algorithm", choices=("grpo", "reinforce++"), default="grpo")
    p.add_argument("--setting", choices=SETTINGS, default="audio-text", help="how questions come and answers are given (default: %(default)s)")
    p.add_argument("--on-bad-row", **on_bad_row)
    p.set_defaults(call=train)

    p = commands.add_parser("evaluate", help="accuracy of a run or of the untrained model, with its interval")
    p.add_argument("--run", type=Path, help="a run folder (default: the untrained model of --profile)")
    p.add_argument("--profile", **profile)
    p.add_argument("--split", choices=("train", "dev", "test"), default="test")
    p.add_argument("--setting", choices=SETTINGS, default="audio-text", help="spoken answers are judged by what is heard")
    p.add_argument("--audio", choices=("true", "silent", "swapped"), default="true", help="the row's own sound, silence, or another row's")
    p.add_argument("--out", type=Path, help="a JSON file for the figures and every answer")
    p.add_argument("--on-bad-row", **on_bad_row)
    p.set_defaults(call=evaluate)

    p = commands.add_parser("bench", help="time sampling and steps on speech, plain and hearing each question once")
    p.add_argument("what", choices=("rollout", "step", "all"), help="sampling alone, a whole step, or a step and how it grows with sound, group and length")
    p.add_argument("--profile", **profile)
    p.add_argument("--random-weights", action="store_true", help="the profile's shape without its checkpoint")
    p.add_argument("--seconds-of-audio", type=amount, default=60.0)
    p.add_argument("--group", type=positive, default=8)
    p.add_argument("--new-tokens", type=positive, help="of a completion (default: the profile's)")
    p.add_argument("--json", type=Path, help="a file for the figures")
    p.set_defaults(call=bench)

    p = commands.add_parser("merge", help="write the trained thinker of a run as a checkpoint of its own, with a model card")
    p.add_argument("--run", type=Path, required=True, help="the folder of a finished run")
    p.add_argument("--out", type=Path, required=True, help="a new folder")
    p.set_defaults(call=merge)

    p = commands.add_parser("plan", help="memory, time and cost of a profile on a GPU, before anything is downloaded")
    p.add_argument("--profile", **profile | dict(default="l4"))
    p.add_argument("--gpu", choices=("T4", "L4", "A100", "H100"), help="default: the first GPU of this machine")
    p.add_argument("--seconds-of-audio", type=amount, default=60.0, help="of one question (default: %(default)s)")
    p.add_argument("--price", type=amount, help="of an hour, in any currency")
    p.add_argument("--steps", type=positive, help="default: the profile's")
    p.set_defaults(call=plan)

    p = commands.add_parser("build-tiny", help="rebuild assets/mini_alr and assets/tiny_omni from nothing")
    p.add_argument("--out", type=Path, required=True)
    p.set_defaults(call=build_tiny)

    p = commands.add_parser("site", help="write the course as a folder of web pages, from the notebooks as they are committed")
    p.add_argument("--out", type=Path, required=True, help="a new folder, or that of an earlier site, which is replaced")
    p.set_defaults(call=site)
    return top


def main() -> int:
    # Idle threads that spin slow two busy cores down by up to 20 times; this must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it recommends faster kernels whenever peft is imported
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # about names that TRL uses, not about the reader's code
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that knows no "│" must not end a finished run
    args = parser().parse_args()
    if getattr(args, "out", None) is None and args.call is train:
        args.out = Path("runs") / f"{args.profile}-seed{args.seed}"
    try:
        args.call(args)
    except KeyboardInterrupt:
        begun = args.call is train and (args.out / "run.json").exists()
        print("\nstopped" + ("; go on with --resume" if begun else ""), file=sys.stderr)
        return 130
    except Exception as error:  # one clear line for a person; the whole trace for who asks
        if os.environ.get("SOUNDMIND_TRACE"):
            raise
        from .alr.sources import without_secrets

        print(f"error: {without_secrets(str(error)) or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
