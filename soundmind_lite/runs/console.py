"""What a command takes and says: checked numbers, one line for an error, and no noise."""

import argparse
import logging
import math
import os
import re
import sys
import warnings

from ..alr.sources import without_secrets

# What the library calls an argument, and what it is called on the command line
FLAGS = {"resume=True": "--resume", "output_dir": "--out", "on_bad_row": "--on-bad-row"}


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
    notes = getattr(error, "__notes__", [])
    text = ". ".join([str(error).rstrip(".") or type(error).__name__, *notes])
    for argument, flag in FLAGS.items():  # as a word of its own, not in a path
        text = re.sub(rf"(?<![\w/.\\-]){argument}(?![\w/.\\-])", flag, text)
    return without_secrets(text)
