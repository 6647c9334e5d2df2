"""A GRPO step of the same checkpoint on the same rows with plain TRL, this package and ms-swift.

Equal are: weights, clip, prompt, seed, LoRA's rank and targets, the KL's weight, float32, the
number of completions, of their tokens and of micro-batches, and one torch thread. Not equal are:

- plain TRL scores without the audio, so its step does less work than it should;
- TRL and ms-swift encode the audio and compute the prompt once a completion and a pass, and this
  package once a step: that difference is what is measured;
- this package alone never samples audio placeholders, so that another token may be drawn where one
  of them had some probability;
- ms-swift runs on its own versions of transformers and TRL (they are in the result), encodes each
  row by its own template to sample and to score, and may take several questions in another order,
  which changes what is drawn; its peak memory includes what it imports.

Each round runs each peer once, in a process of its own, whose first step doesn't count. CPU seconds
are the steadier ones beside other work.
"""

import json
import math
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch
from tqdm.auto import tqdm

from .. import grpo, models
from ..profiles import ROOT, Profile
from ..runs.files import write_json
from . import bench
from .spoken import spoken_questions

SWIFT = "SOUNDMIND_SWIFT_PYTHON"  # a Python that has ms-swift, in an environment of its own
PEERS = {"trl": "plain TRL", "ours": "ours", "swift": "ms-swift"}
WORKER = "soundmind_lite.scale.peer_worker"
STEPS = 3  # of a process; the first doesn't count
MEDIANS = {"step_s": "seconds", "cpu_s": "cpu_seconds", "peak_memory_mb": "peak_memory_mb"}
# The projections of the language model by either of the names that transformers 5 has had for it
TARGETS = grpo.LORA_TARGETS.replace("language_model", r"(language_model|thinker\.model)")
# For the half of the processor that audio doesn't use
IMAGES = {"image_processor_type": "Qwen2VLImageProcessor"}


def measure(
    profile: Profile,
    *,
    audio_seconds: float = 60.0,
    group: int = 8,
    new_tokens: int | None = None,
    random_weights: bool = False,
    questions: int = 1,
    rounds: int = 3,
    seed: int = 0,
) -> dict:
    """Medians over `rounds` of each peer's seconds a step, CPU seconds and peak memory in MB.

    A step has so many questions of `audio_seconds`, each with `group` completions of `new_tokens`
    (default: the profile's). "same_completions" counts those of the first step whose text is ours.
    Raises ValueError for a profile of a GPU and for random weights, RuntimeError with the last line
    that a peer printed if it fails.
    """
    if random_weights or profile.card:
        raise ValueError("peers compares trained weights on a CPU: --profile tiny, no random ones")
    tokens = new_tokens or profile.max_completion_length
    at_once = math.gcd(profile.per_device_train_batch_size, questions * group)
    sizes = {"audio_seconds": audio_seconds, "group": group, "new_tokens": tokens}
    profile = bench.at_sizes(profile, **sizes, questions=questions)
    profile = replace(profile, per_device_train_batch_size=at_once)
    pythons = {"trl": sys.executable, "ours": sys.executable, "swift": os.environ.get(SWIFT)}
    pythons = {name: python for name, python in pythons.items() if python}
    found = {name: [] for name in pythons}
    loads = []
    with TemporaryDirectory() as folder:
        rows = spoken_questions(questions, audio_seconds, Path(folder))
        job = {"profile": asdict(profile), "rows": rows, "seed": seed, "steps": STEPS}
        if "swift" in pythons:
            full = write_full(profile, Path(folder) / "full")
            job |= {"full_checkpoint": full, "lora_targets": TARGETS}
        for name in tqdm(in_turn(list(pythons), rounds), desc="peers", unit="process"):
            loads.append(psutil.getloadavg()[0])
            found[name].append(in_a_process(pythons[name], job | {"peer": name}))
    facts = {"date": date.today().isoformat(), "profile": profile.name, "seed": seed}
    facts |= {"cpu": platform.machine(), "cores": os.cpu_count(), "threads": 1, "loads": loads}
    facts |= {"questions": questions, "audio_seconds": audio_seconds, "group": group}
    facts |= {"new_tokens": tokens, "micro_batches": questions * group // at_once, "rounds": rounds}
    return facts | summary(found)


def write_full(profile: Profile, folder: Path) -> str:
    """The profile's thinker as a full Qwen2.5-Omni without a talker, which ms-swift loads.

    Its generation settings forbid completions shorter than the profile's. Returns the folder.
    """
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration, logging

    thinker, processor = models.load(profile)
    level = logging.get_verbosity()
    logging.set_verbosity_error()  # the token ids of its default talker are not the tiny model's
    config = Qwen2_5OmniConfig(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    full = Qwen2_5OmniForConditionalGeneration(config)
    full.thinker.load_state_dict(thinker.state_dict())
    full.generation_config = thinker.generation_config
    # top_k 0 is all tokens; ms-swift makes None of -1, and then transformers' 50 holds
    settings = {"do_sample": True, "top_k": 0, "min_new_tokens": profile.max_completion_length}
    full.generation_config.update(**settings)
    full.save_pretrained(folder)
    logging.set_verbosity(level)
    processor.save_pretrained(folder)
    write_json(folder / "preprocessor_config.json", IMAGES)
    torch.save({}, folder / "spk_dict.pt")  # of no voices; transformers asks for the file
    return str(folder)


def in_turn(names: list[str], rounds: int) -> list[str]:
    """All names once a round, each round beginning with another: none is always first."""
    turned = [names[turn % len(names) :] + names[: turn % len(names)] for turn in range(rounds)]
    return [name for names in turned for name in names]


def in_a_process(python: str, job: dict, *, module: str = WORKER) -> dict:
    """What the worker found for this job, run by `python` with one thread, no GPU and no hub."""
    with TemporaryDirectory() as folder:
        job_file, result = Path(folder) / "job.json", Path(folder) / "result.json"
        write_json(job_file, job | {"folder": folder})
        command = [python, "-m", module, str(job_file), str(result)]
        settings = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
        settings |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(
            command, env=os.environ | settings, capture_output=True, text=True, check=False
        )
        if done.returncode:
            *_, last = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
            raise RuntimeError(f"{PEERS[job['peer']]} failed, run by {python}: {last}")
        return json.loads(result.read_text(encoding="utf-8"))


def summary(found: dict[str, list[dict]]) -> dict:
    """Each peer's medians, and how many times ours they are; {"peers": …, "same_completions": …}"""
    peers = {name: {"installed": name in found} for name in PEERS}
    for name, rounds in found.items():
        for median, measured in MEDIANS.items():
            peers[name][median] = statistics.median(x for one in rounds for x in one[measured])
        peers[name]["all_seconds"] = [one["seconds"] for one in rounds]
        peers[name]["versions"] = rounds[0]["versions"]
    ratios = {"ratio": "step_s", "cpu_ratio": "cpu_s", "memory_ratio": "peak_memory_mb"}
    for name in found:
        for ratio, median in ratios.items():
            peers[name][ratio] = peers[name][median] / peers["ours"][median]
    own = found["ours"][0]["completions"]
    same = {
        name: sum(text == other for text, other in zip(rounds[0]["completions"], own))
        for name, rounds in found.items()
    }
    return {"peers": peers, "same_completions": same}


def table(result: dict) -> str:
    """What `measure` found, for a person."""
    sizes = f"{result['questions']} × {result['audio_seconds']:g} s of audio, "
    sizes += f"each with {result['group']} completions of "
    lines = [
        f"profile {result['profile']} on a CPU, one thread: {sizes}{result['new_tokens']} tokens",
        f"{'':10}{'a step, s':>10}{'ratio':>7}{'CPU s':>8}{'ratio':>7}{'peak, MB':>10}{'ratio':>7}",
    ]
    for name, words in PEERS.items():
        peer = result["peers"][name]
        if not peer["installed"]:
            lines.append(f"{words:10} not installed: {SWIFT} names no Python that has it")
            continue
        times = f"{peer['step_s']:10.2f}{peer['ratio']:7.1f}{peer['cpu_s']:8.2f}"
        memory = f"{peer['cpu_ratio']:7.1f}{peer['peak_memory_mb']:10,.0f}"
        lines.append(f"{words:10}{times}{memory}{peer['memory_ratio']:7.1f}")
    same = (
        f"{PEERS[name]} {n}" for name, n in result["same_completions"].items() if name != "ours"
    )
    count = result["questions"] * result["group"]
    lines.append(f"of {count} first completions the same text as ours: {', '.join(same)}")
    lines.append("plain TRL scores without the audio: its step does less work than it should")
    return "\n".join(lines)
