"""What a command takes and says: checked numbers, one line for an error, and no noise."""

import argparse
import logging
import math
import os
import re
import sys
import warnings

from ..alr.sources import without_secrets
from .second_thread import let_threads_sleep

# What the library calls an argument, and what it is called on the command line
FLAGS = {
    "resume=True": "--resume",
    "output_dir": "--out",
    "on_bad_row": "--on-bad-row",
    "control=": "--audio ",
    "model=": "--model ",
    "max_steps": "--steps",
    "num_generations": "--num-generations",
    "max_completion_length": "--max-completion-length",
    "rollouts=": "--rollouts ",
    "server=": "--server ",
    "streaming=True": "fewer --train-rows and --test-rows",
}
# What only a profile sets
SIZES = r"(?:per_device_(?:train|eval)_batch_size|prompts_per_step|max_audio_seconds|learning_rate)"

# Of each command, what it does in a sentence or two, and an example
ABOUT = {
    "doctor": (
        "Says what this machine has and which profiles it can run. A line that begins with -- ends "
        "with what to do.",
        "",
    ),
    "train": (
        "Measures the model, trains it with GRPO and rule rewards, measures it again, and writes "
        "the run folder. Ctrl-C saves a checkpoint after the current step; --resume continues.",
        "--seed 0 --steps 20 --out runs/mine",
    ),
    "evaluate": (
        "Prints the share of right answers with its 95 % interval: of a finished run, of a "
        "checkpoint or adapter folder, or of a profile's untrained model.",
        "--run runs/tiny-seed0 --audio swapped --out figures.json",
    ),
    "bench": (
        "Times sampling and whole steps on this machine, plain and with a shared prefix, side by "
        "side in one process.",
        "step --seconds-of-audio 30 --group 4 --json bench.json",
    ),
    "speedrun": (
        "Trains the shipped tiny model until it answers 90 % of the unseen spoken test questions, "
        "and says how many steps and seconds that took, imports included.",
        "--entry entry.json --json race.json",
    ),
    "merge": (
        "Merges the adapter of a finished run into its model and writes that as a checkpoint with "
        "a model card.",
        "--run runs/tiny-seed0 --out merged",
    ),
    "plan": (
        "Plans memory, time and cost of a run from data sheets, and lists what the run leaves out. "
        "Nothing is downloaded, and no GPU is needed.",
        "--profile l4 --hours 3 --price 0.8",
    ),
    "build-tiny": (
        "Makes the spoken syllogisms and trains the tiny model from nothing but this package.",
        "--out rebuilt",
    ),
    "site": (
        "Writes the notebooks with their outputs as web pages that open without a network.",
        "--out site",
    ),
}


def about(command: str) -> dict[str, str]:
    """The description and the example of a command, as argparse takes them."""
    description, example = ABOUT[command]
    whole = f"python -m soundmind_lite {command} {example}".rstrip()
    return {"description": description, "epilog": f"example: {whole}"}


def add_rollouts(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say where completions are sampled: --rollouts and --server."""
    words = "sample with the model that is trained, or on a vLLM server (default: %(default)s)"
    names = ("transformers", "vllm")  # engine.ROLLOUTS, whose module imports torch
    parser.add_argument("--rollouts", choices=names, default=names[0], help=words)
    words = "that of --rollouts vllm, such as http://127.0.0.1:8000"
    parser.add_argument("--server", metavar="URL", help=words)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def amount(text: str) -> float:
    """A number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError("must be a positive number")
    return value


def seed(text: str) -> int:
    """A number that NumPy and torch take as a seed."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError("must lie between 0 and 2**32 - 1")
    return value


def quiet() -> None:
    """Settings that must be made before torch is loaded, and warnings that aren't the reader's."""
    let_threads_sleep()
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # bitsandbytes recommends faster kernels whenever peft is imported
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # DeepSpeed, where it is installed, says on stdout that there is no GPU
    logging.getLogger("DeepSpeed").addFilter(is_error)
    # about names that TRL uses, not about the reader's code
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that knows no "│" must not end a run


def is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def one_line(error: BaseException) -> str:
    """The error and its notes in one line, in this command line's words, without secrets."""
    notes = getattr(error, "__notes__", [])
    name = "stopped" if isinstance(error, KeyboardInterrupt) else type(error).__name__
    return without_secrets(in_flags(". ".join([str(error).rstrip(".") or name, *notes])))


def in_flags(text: str) -> str:
    """The text in this command line's words: flags for what has one, and where to set the rest.

    >>> in_flags("lower num_generations or prompts_per_step")
    "lower --num-generations or the profile's prompts_per_step"
    """
    for argument, flag in FLAGS.items():  # as a word of its own, not in a path
        text = re.sub(rf"(?<![\w/.\\-]){argument}(?![\w/.\\-])", flag, text)
    return re.sub(rf"(?<![\w/.\\-])(?<!profile's )({SIZES})(?![\w/.\\])", r"the profile's \1", text)
