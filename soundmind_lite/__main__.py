"""Command line: `python -m soundmind_lite COMMAND --help`.

Exit 0 on success, 2 on bad arguments, 1 with one clear line on failure.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from .runs import console


def doctor(args) -> None:
    from .scale import doctor

    if not doctor.report():
        raise RuntimeError("the tiny profile can't run here yet; see the lines that start with --")


def train(args) -> None:
    from .runs.processes import processes
    from .train import train

    profile = chosen_profile(args)
    if args.hours:
        from .scale import doctor, planner

        card = doctor.chosen_card(args.gpu, profile)
        processes = doctor.processes_for(profile)
        profile = planner.within(profile, card, hours=args.hours, processes=processes)
        print(console.in_flags(str(planner.plan(profile, card, processes=processes))))
    names = ("seed", "resume", "algorithm", "setting", "on_bad_row", "report_to")
    train(profile, args.out, max_steps=args.steps, **given(args, *names, "rollouts", "server"))
    if processes().is_main_process:
        files = "result.json, curves.png, metrics.jsonl, completions.jsonl, adapter/"
        print(f"\nWritten to {args.out}: {files}")


def evaluate(args) -> None:
    from .runs.files import check_target
    from .scale.doctor import require

    if args.against:
        return compare(args)
    check_target(args.out, "--out")
    if args.run is None:  # asked before the slow imports
        require(chosen_profile(args))
    from .runs.adapter import profile_of
    from .runs.evaluating import evaluate, in_words

    own = profile_of(args.run) if args.run else None  # None, too, for an adapter without a run
    if own and args.model:
        raise ValueError("--run evaluates its own model; leave out --model")
    profile = chosen_profile(args, own)
    require(profile)
    options = given(args, "split", "setting", "on_bad_row", "out")
    result = evaluate(profile, args.run, control=args.audio, **options)
    if args.json:
        lists = ("answers", "skipped")
        print(json.dumps({k: v for k, v in result.items() if k not in lists}, indent=2))
    else:
        print(in_words(result))


def compare(args) -> None:
    if args.run or args.out is None:  # said before the slow imports
        raise ValueError("--against compares the profile's --model, and --out is a folder for it")
    from .runs import independent
    from .scale.doctor import require

    require(profile := chosen_profile(args))
    options = given(args, "split", "on_bad_row")
    print(independent.page(independent.compare(profile, args.against, args.out, **options)))


def bench(args) -> None:
    from .scale import benches

    sizes = given(args, "group", "new_tokens", "random_weights")
    sizes["audio_seconds"] = args.seconds_of_audio
    benches.bench(args.what, args.profile, args.json, questions=args.questions, **sizes)


def speedrun(args) -> None:
    from .scale import benches

    options = given(args, "entry", "seed", "every", "to_the_end", "algorithms")
    benches.speedrun(args.json, **options)


def merge(args) -> None:
    from .scale import merging

    merging.merge(args.run, args.out)
    print(f"Written to {args.out}: the merged thinker, its processor and README.md")


def plan(args) -> None:
    from .scale import doctor, planner

    profile = chosen_profile(args)
    card = doctor.chosen_card(args.gpu, profile)
    sizes = {"processes": None if args.gpu else doctor.processes_for(profile)}
    sizes["audio_seconds"] = args.seconds_of_audio
    if args.hours:
        profile = planner.within(profile, card, hours=args.hours, **sizes)
    if args.steps:
        profile = dataclasses.replace(profile, max_steps=args.steps)
    chosen = planner.plan(profile, card, price=args.price, **sizes)
    print(console.in_flags(str(chosen)))
    if not chosen.fits:
        raise RuntimeError(f"the profile {profile.name} will not fit on {card.name}")


def build_tiny(args) -> None:
    from .tiny import build

    build.build(args.out)


def site(args) -> None:
    from .alr.sources import check_shipped
    from .profiles import ROOT
    from .publish import site

    check_shipped(ROOT / "notebooks")
    print(f"Written: {site.build(args.out) / 'index.html'}; it opens without a network")


def given(args, *names: str) -> dict:
    return {name: getattr(args, name) for name in names}


def chosen_profile(args, profile=None):
    """The profile, by default that of --profile, with what the command line replaces in it."""
    from . import profiles

    profile = profile or profiles.get(args.profile)
    fields = {field.name for field in dataclasses.fields(profile)}
    changes = {k: v for k, v in vars(args).items() if k in fields and v is not None}
    return dataclasses.replace(profile, **changes)


def parser() -> argparse.ArgumentParser:
    from .data import SETTINGS, SPLITS
    from .profiles import PROFILES
    from .runs.algorithms import CONFIGS
    from .scale.cards import CARDS

    top = argparse.ArgumentParser(
        prog="python -m soundmind_lite",
        description="Audio logical reasoning, learned by rule-based reinforcement learning.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    default = "(default: %(default)s)"

    def command(name: str, call, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, **console.about(name))
        added.set_defaults(call=call)
        return added

    def add_profile(p, default: str = "tiny") -> None:
        words = "sizes of model, data and run (default: %(default)s)"
        p.add_argument("--profile", default=default, choices=list(PROFILES), help=words)

    def add_source(p) -> None:
        p.add_argument("--model", help="a checkpoint, as a folder or hub id, for the profile's own")
        p.add_argument("--data", help="a folder, zip or hub id in ALR's format, for the profile's")

    def add_sizes(p, *names: str) -> None:
        sizes = {
            "train-rows": "questions to train on, a random part that is always the same",
            "test-rows": "questions to measure on, a random part that is always the same",
            "num-generations": "completions of a question",
            "max-completion-length": "tokens of a completion",
        }
        for name in names or sizes:
            words = f"{sizes[name]} (default: the profile's)"
            p.add_argument(f"--{name}", type=console.positive, metavar="N", help=words)

    def add_length(p) -> None:
        words = "optimizer steps (default: the profile's)"
        p.add_argument("--steps", type=console.positive, help=words)
        add_sizes(p)
        words = "measure greedy and sampled answers, greedy ones, or none (default: the profile's)"
        p.add_argument("--eval", choices=("full", "short", "none"), help=words)
        words = "choose rows, steps and --eval so that the run is planned to end within these hours"
        p.add_argument("--hours", type=console.amount, help=words)
        words = "plan for this card (default: the first GPU here, else the profile's): "
        words += ", ".join(CARDS)
        p.add_argument("--gpu", choices=list(CARDS), metavar="CARD", help=words)

    def add_rows(p) -> None:
        words = f"how the question comes and how the answer is given {default}"
        p.add_argument("--setting", choices=SETTINGS, default="audio-text", help=words)
        words = f"stop at a bad row or clip, or leave it out, counted and listed {default}"
        p.add_argument("--on-bad-row", choices=("raise", "skip"), default="raise", help=words)

    command("doctor", doctor, "what this machine has, and which profiles it can run")

    p = command("train", train, "evaluate, train with rule rewards, evaluate again")
    add_profile(p)
    p.add_argument("--seed", type=console.seed, default=0, help=default)
    p.add_argument("--out", type=Path, help="the run folder (default: runs/PROFILE-seedSEED)")
    p.add_argument("--resume", action="store_true", help="continue from --out's last checkpoint")
    words = f"GRPO as TRL sets it, or another of its losses, or REINFORCE++ {default}"
    p.add_argument("--algorithm", choices=list(CONFIGS), default="grpo", help=words)
    p.add_argument("--report-to", help="a tracker that transformers knows, such as trackio")
    console.add_rollouts(p)
    add_length(p)
    add_source(p)
    add_rows(p)

    p = command("evaluate", evaluate, "accuracy of a run or an untrained model, with its interval")
    p.add_argument("--run", type=Path, help="a run or checkpoint (default: the untrained model)")
    add_profile(p)
    add_source(p)
    add_sizes(p, "test-rows", "max-completion-length")
    p.add_argument("--split", choices=SPLITS, default="test", help=default)
    words = f"the row's own audio, silence, or another row's {default}"
    p.add_argument("--audio", choices=("true", "silent", "swapped"), default="true", help=words)
    words = "a checkpoint: compare --model with it, and ask with silence and swapped audio, too"
    p.add_argument("--against", metavar="MODEL", help=words)
    words = "a JSON file for the figures and every answer; with --against, a folder"
    p.add_argument("--out", type=Path, help=words)
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_rows(p)

    p = command("bench", bench, "time sampling and steps, plain and with a shared prefix")
    words = "sampling alone, a whole step, a step and how it grows with its sizes, "
    words += "a new token in sampling, or a step beside plain TRL and ms-swift"
    p.add_argument("what", choices=("rollout", "step", "all", "decode", "peers"), help=words)
    add_profile(p)
    words = "the profile's shape without its checkpoint"
    p.add_argument("--random-weights", action="store_true", help=words)
    words = f"of the question {default}"
    p.add_argument("--seconds-of-audio", type=console.amount, default=60.0, help=words)
    words = f"of a step {default}"
    p.add_argument("--questions", type=console.positive, default=1, metavar="N", help=words)
    words = f"completions of the question {default}"
    p.add_argument("--group", type=console.positive, default=8, help=words)
    words = "of a completion (default: the profile's)"
    p.add_argument("--new-tokens", type=console.positive, help=words)
    p.add_argument("--json", type=Path, help="a file for the figures")

    p = command("speedrun", speedrun, "time and steps to 90 %% on unseen questions")
    words = "a JSON file of fields to change: of the profile, of GRPOConfig, and algorithm"
    p.add_argument("--entry", type=Path, help=words)
    p.add_argument("--seed", type=console.seed, default=0, help=default)
    words = f"steps between two measurements {default}"
    p.add_argument("--every", type=console.positive, default=2, metavar="N", help=words)
    p.add_argument("--to-the-end", action="store_true", help="don't stop at 90 %%")
    words = "every algorithm of train, to the end; continues the races in --json"
    p.add_argument("--algorithms", action="store_true", help=words)
    p.add_argument("--json", type=Path, help="a file for the figures")

    p = command("merge", merge, "write a run's trained thinker as a checkpoint, with a model card")
    p.add_argument("--run", type=Path, required=True, help="the folder of a finished run")
    p.add_argument("--out", type=Path, required=True, help="a new folder")

    p = command("plan", plan, "memory, time and cost of a profile on a GPU, before any download")
    add_profile(p, default="l4")
    add_length(p)
    words = "of one question (default: the mean of the data)"
    p.add_argument("--seconds-of-audio", type=console.amount, help=words)
    p.add_argument("--price", type=console.amount, help="of an hour, in any currency")

    p = command("build-tiny", build_tiny, "rebuild assets/mini_alr and assets/tiny_omni")
    p.add_argument("--out", type=Path, required=True, help="a new or empty folder")

    p = command("site", site, "write the course as a folder of web pages, from its notebooks")
    words = "a new folder, or that of an earlier site, which is replaced"
    p.add_argument("--out", type=Path, required=True, help=words)
    return top


def main() -> int:
    console.quiet()
    args = parser().parse_args()
    if args.call is train and args.out is None:
        args.out = Path("runs") / f"{args.profile}-seed{args.seed}"
    try:
        args.call(args)
    except KeyboardInterrupt as error:
        print(f"\n{console.one_line(error)}", file=sys.stderr)
        return 130
    except Exception as error:  # one clear line; SOUNDMIND_TRACE=1 shows the whole trace
        if os.environ.get("SOUNDMIND_TRACE"):
            raise
        print(f"error: {console.one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
