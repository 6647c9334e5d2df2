"""Command line: `python -m soundmind_lite COMMAND --help`.

Exit 0 on success, 2 on bad arguments, 1 with one clear line on failure.
"""

import argparse
import dataclasses
import json
import logging
import math
import os
import re
import sys
import warnings
from pathlib import Path

# What the library calls an argument, and what it is called here
FLAGS = {"resume=True": "--resume", "output_dir": "--out", "on_bad_row": "--on-bad-row"}


def doctor(args) -> None:
    from .scale import doctor

    if not doctor.report():
        raise RuntimeError("the tiny profile can't run here yet; see the lines that start with --")


def train(args) -> None:
    from .runs.processes import processes
    from .train import train

    train(
        chosen_profile(args),
        args.out,
        seed=args.seed,
        max_steps=args.steps,
        resume=args.resume,
        algorithm=args.algorithm,
        setting=args.setting,
        on_bad_row=args.on_bad_row,
    )
    if processes().is_main_process:
        files = "result.json, curves.png, metrics.jsonl, completions.jsonl, adapter/"
        print(f"\nWritten to {args.out}: {files}")


def evaluate(args) -> None:
    from .runs.files import check_target, write_json
    from .scale.doctor import require

    if args.run and (args.model or args.data):
        raise ValueError("--run evaluates its own model and data; leave out --model and --data")
    check_target(args.out, "--out")
    profile = chosen_profile(args)
    if args.run is None:
        require(profile)
    from .runs.adapter import profile_of
    from .runs.evaluating import evaluate

    if args.run is not None:
        require(profile_of(args.run))
    result = evaluate(
        profile,
        args.run,
        split=args.split,
        setting=args.setting,
        control=args.audio,
        on_bad_row=args.on_bad_row,
    )
    figures = {name: value for name, value in result.items() if name not in ("answers", "skipped")}
    print(json.dumps(figures, indent=2))
    if args.out:
        write_json(args.out, result)


def bench(args) -> None:
    from . import profiles
    from .runs.files import check_target, write_json
    from .scale import bench, doctor, growth

    profile = profiles.get(args.profile)
    if not args.random_weights:
        doctor.require(profile)
    check_target(args.json, "--json")
    sizes = {
        "audio_seconds": args.seconds_of_audio,
        "group": args.group,
        "new_tokens": args.new_tokens,
        "random_weights": args.random_weights,
    }
    result = bench.measure(profile, "rollout" if args.what == "rollout" else "step", **sizes)
    if args.what == "all":
        result["growth"] = growth.measure(profile, **sizes)
    print(json.dumps(result, indent=2))
    if args.json:
        write_json(args.json, result)


def merge(args) -> None:
    from .scale import merging

    merging.merge(args.run, args.out)
    print(f"Written to {args.out}: the merged thinker, its processor and README.md")


def plan(args) -> None:
    from . import profiles
    from .scale import doctor, planner

    profile = profiles.get(args.profile)
    cards = doctor.gpus()
    if args.gpu:
        card = planner.CARDS[args.gpu]
    elif cards:
        card = planner.card_of(*cards[0])
    else:
        raise doctor.MachineError("no GPU here to plan for; name one with --gpu")
    sizes = {"audio_seconds": args.seconds_of_audio, "price": args.price, "steps": args.steps}
    chosen = planner.plan(profile, card, **sizes)
    print(chosen)
    if not chosen.fits:
        raise RuntimeError(f"the profile {profile.name} will not fit on {card.name}")


def build_tiny(args) -> None:
    from .tiny import build

    build.build(args.out)


def site(args) -> None:
    from .publish import site

    print(f"Written: {site.build(args.out) / 'index.html'}; it opens without a network")


def chosen_profile(args):
    """The profile, with what the command line replaces in it."""
    from . import profiles

    names = ("model", "data", "num_generations", "max_completion_length")
    changes = {k: v for k, v in vars(args).items() if k in names and v is not None}
    return dataclasses.replace(profiles.get(args.profile), **changes)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def amount(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be a positive number")
    return value


def seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError("must lie between 0 and 2**32 - 1")
    return value


def parser() -> argparse.ArgumentParser:
    from .data import SETTINGS, SPLITS
    from .profiles import PROFILES

    top = argparse.ArgumentParser(
        prog="python -m soundmind_lite",
        description="Audio logical reasoning, learned by rule-based reinforcement learning.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(call=call)
        return added

    def add_profile(p, default: str = "tiny") -> None:
        words = "sizes of model, data and run (default: %(default)s)"
        p.add_argument("--profile", default=default, choices=list(PROFILES), help=words)

    def add_source(p) -> None:
        p.add_argument("--model", help="a checkpoint, as a folder or hub id, for the profile's own")
        p.add_argument("--data", help="a folder, zip or hub id in ALR's format, for the profile's")

    def add_rows(p) -> None:
        words = "how the question comes and how the answer is given (default: %(default)s)"
        p.add_argument("--setting", choices=SETTINGS, default="audio-text", help=words)
        words = "stop at a row or clip that can't be used, or leave it out, counted and listed"
        p.add_argument("--on-bad-row", choices=("raise", "skip"), default="raise", help=words)

    command("doctor", doctor, "what this machine has, and which profiles it can run")

    p = command("train", train, "evaluate, train with rule rewards, evaluate again")
    add_profile(p)
    p.add_argument("--seed", type=seed, default=0)
    p.add_argument("--out", type=Path, help="the run folder (default: runs/PROFILE-seedSEED)")
    p.add_argument("--steps", type=positive, help="optimizer steps (default: the profile's)")
    p.add_argument("--resume", action="store_true", help="continue from --out's last checkpoint")
    p.add_argument("--algorithm", choices=("grpo", "reinforce++"), default="grpo")
    words = "completions of a question (default: the profile's)"
    p.add_argument("--num-generations", type=positive, metavar="G", help=words)
    words = "tokens of a completion (default: the profile's)"
    p.add_argument("--max-completion-length", type=positive, metavar="N", help=words)
    add_source(p)
    add_rows(p)

    p = command("evaluate", evaluate, "accuracy of a run or an untrained model, with its interval")
    p.add_argument("--run", type=Path, help="a run folder (default: --profile's untrained model)")
    add_profile(p)
    add_source(p)
    p.add_argument("--split", choices=SPLITS, default="test")
    words = "the row's own audio, silence, or another row's"
    p.add_argument("--audio", choices=("true", "silent", "swapped"), default="true", help=words)
    p.add_argument("--out", type=Path, help="a JSON file for the figures and every answer")
    add_rows(p)

    p = command("bench", bench, "time sampling and steps, plain and with a shared prefix")
    words = "sampling alone, a whole step, or a step and how it grows with audio, group and length"
    p.add_argument("what", choices=("rollout", "step", "all"), help=words)
    add_profile(p)
    words = "the profile's shape without its checkpoint"
    p.add_argument("--random-weights", action="store_true", help=words)
    p.add_argument("--seconds-of-audio", type=amount, default=60.0)
    p.add_argument("--group", type=positive, default=8, help="completions of the question")
    p.add_argument("--new-tokens", type=positive, help="of a completion (default: the profile's)")
    p.add_argument("--json", type=Path, help="a file for the figures")

    p = command("merge", merge, "write a run's trained thinker as a checkpoint, with a model card")
    p.add_argument("--run", type=Path, required=True, help="the folder of a finished run")
    p.add_argument("--out", type=Path, required=True, help="a new folder")

    p = command("plan", plan, "memory, time and cost of a profile on a GPU, before any download")
    add_profile(p, default="l4")
    words = "default: the first GPU of this machine"
    p.add_argument("--gpu", choices=("T4", "L4", "A100", "H100"), help=words)
    words = "of one question (default: %(default)s)"
    p.add_argument("--seconds-of-audio", type=amount, default=60.0, help=words)
    p.add_argument("--price", type=amount, help="of an hour, in any currency")
    p.add_argument("--steps", type=positive, help="default: the profile's")

    p = command("build-tiny", build_tiny, "rebuild assets/mini_alr and assets/tiny_omni")
    p.add_argument("--out", type=Path, required=True, help="a new or empty folder")

    p = command("site", site, "write the course as a folder of web pages, from its notebooks")
    words = "a new folder, or that of an earlier site, which is replaced"
    p.add_argument("--out", type=Path, required=True, help=words)
    return top


def quiet() -> None:
    """Settings that must be made before torch is loaded, and warnings that aren't the reader's."""
    # idle threads that spin slow two busy cores down by up to 20 times
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # bitsandbytes recommends faster kernels whenever peft is imported
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # about names that TRL uses, not about the reader's code
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that knows no "│" must not end a run


def one_line(error: Exception) -> str:
    """The error and its notes in one line, in this command line's words, without secrets."""
    from .alr.sources import without_secrets

    notes = getattr(error, "__notes__", [])
    text = ". ".join([str(error).rstrip(".") or type(error).__name__, *notes])
    for argument, flag in FLAGS.items():  # as a word of its own, not in a path
        text = re.sub(rf"(?<![\w/.\\-]){argument}(?![\w/.\\-])", flag, text)
    return without_secrets(text)


def main() -> int:
    quiet()
    args = parser().parse_args()
    if args.call is train and args.out is None:
        args.out = Path("runs") / f"{args.profile}-seed{args.seed}"
    try:
        args.call(args)
    except KeyboardInterrupt:
        begun = args.call is train and (args.out / "run.json").exists()
        print("\nstopped" + ("; continue with --resume" if begun else ""), file=sys.stderr)
        return 130
    except Exception as error:  # one clear line; SOUNDMIND_TRACE=1 shows the whole trace
        if os.environ.get("SOUNDMIND_TRACE"):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
