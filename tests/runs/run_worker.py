"""A small run in a process of its own, for tests that launch several of them or kill one.

`run_worker.py OUT DATA [--given] [--resume] [--skip] [--sizes JSON]`; a "%r" in DATA becomes the
number of the process, and the sizes are fields of the profile.

`run_worker.py --nursery` does the slow imports once. Then each line that it reads is a JSON object:
`module`, this one or `sharded_worker`; `arguments`, those above; a file `log` for what is printed;
`environments`, the variables of each process; perhaps `kill_at` and `delay`. It is a run in child
processes. Each line that it writes is how the run ended (0, the number of a signal, or minus an
exit code) and how often it changed a file or folder of its own. `kill_at` N sends SIGKILL when the
run is about to make its N-th change, or `delay` seconds later.
"""

import argparse
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from multiprocessing.sharedctypes import RawValue
from pathlib import Path

from soundmind_lite import profiles, train
from soundmind_lite.trainer import AudioGRPOTrainer

COMPLETIONS = (
    "<think>Major premise: all cats are dogs. So all cats are dogs.</think>\nAnswer: entailed",
    "Answer: not-entailed",
    "<think>nothing follows</think>\nAnswer: not-entailed",
    "<think>never closed",
)
SMALL = dict(
    name="small",
    num_generations=4,
    prompts_per_step=4,
    per_device_train_batch_size=8,
    max_steps=4,
    save_steps=2,
    max_completion_length=20,
    beta=0.1,
)
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")


def given(self, prompt_ids, *_, **__):
    """In place of sampling, which differs between processes: each has its own random numbers."""
    start = self.accelerator.process_index * len(prompt_ids)
    texts = (COMPLETIONS[(start + i) % len(COMPLETIONS)] for i in range(len(prompt_ids)))
    return [
        self.processing_class.tokenizer(text + "<|im_end|>")["input_ids"] for text in texts
    ], None


def run(out: Path, data: str, *, resume=False, on_bad_row: str = "raise", **sizes) -> None:
    data = data.replace("%r", os.environ.get("RANK", "0"))
    profile = replace(profiles.get("tiny"), **{"data": data, **SMALL, **sizes})
    train.train(profile, out, resume=resume, on_bad_row=on_bad_row)


def changes(event: str, args: tuple) -> bool:
    """Is this audit event about to change a file? `open` has the mode of open(), or the flags of
    os.open()."""
    if event != "open":
        return event in CHANGES
    mode, flags = args[1], args[2]
    if isinstance(mode, str):
        return any(letter in "wax+" for letter in mode)
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def count_changes(out: str, number: int, delay: float, count) -> None:
    """Counts this process's changes below `out`, in memory that its parent shares, and lets it die
    at that number of them."""

    def die():
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    def hook(event, args):
        if changes(event, args) and str(args[0]).startswith(out):
            count.value += 1
            if count.value == number:
                threading.Thread(target=die).start() if delay else die()

    sys.addaudithook(hook)


def nursery() -> None:
    gc.freeze()  # collections of garbage in the children needn't walk through what is imported
    for line in sys.stdin:
        order, count = json.loads(line), RawValue("i", 0)
        children = {born(order, variables, count) for variables in order["environments"]}
        ends = []
        while children:
            child, status = os.wait()
            children.discard(child)
            ends.append(-os.waitstatus_to_exitcode(status))
            if ends[-1]:  # the others would wait for it
                for other in children:
                    os.kill(other, signal.SIGTERM)
        print(next(filter(None, ends), 0), count.value, flush=True)


def born(order: dict, variables: dict[str, str], count) -> int:
    """Starts a process of the run, and returns its number."""
    child = os.fork()
    if child:
        return child
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ |= variables
    code = 0
    try:
        worker = importlib.import_module(order["module"])
        out = order["arguments"][0]
        count_changes(out, order.get("kill_at", 0), order.get("delay", 0), count)
        worker.main(order["arguments"])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("data")
    parser.add_argument("--given", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--skip", action="store_true")
    parser.add_argument("--sizes", type=json.loads, default={})
    args = parser.parse_args(arguments)
    if args.given:
        AudioGRPOTrainer._generate_single_turn = given
    on_bad_row = "skip" if args.skip else "raise"
    run(args.out, args.data, resume=args.resume, on_bad_row=on_bad_row, **args.sizes)


if __name__ == "__main__":
    if sys.argv[1:] == ["--nursery"]:
        sys.exit(nursery())
    main(sys.argv[1:])
