"""One trainer's steps, in a process of its own: what `peers` runs for each peer and round.

    python -m soundmind_lite.scale.peer_worker JOB.json RESULT.json

ms-swift runs in a Python with its own versions of transformers and TRL, so each trainer is imported
in the function that uses it. A reward keeps the completions, and a callback the time of each step:
the two things that all three trainers take in the same form.
"""

import json
import sys
import time
from pathlib import Path

import torch
from transformers import TrainerCallback

from ..rewards import answer_reward, completion_text, text_format_reward, text_length_reward
from ..runs.process_memory import peak_memory_mb

REWARDS = (answer_reward, text_format_reward, text_length_reward)


class Clock(TrainerCallback):
    """Seconds from the beginning to the end of each optimizer step, sampling included, and the CPU
    seconds of this process."""

    def __init__(self):
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self._began = (0.0, 0.0)

    def on_step_begin(self, args, state, control, **_):
        self._began = time.perf_counter(), time.process_time()

    def on_step_end(self, args, state, control, **_):
        began, cpu_began = self._began
        self.seconds.append(time.perf_counter() - began)
        self.cpu_seconds.append(time.process_time() - cpu_began)


class Kept:
    """A reward of 0 that keeps the texts of every completion, in order."""

    __name__ = "kept"

    def __init__(self):
        self.texts: list[str] = []

    def __call__(self, completions, **_) -> list[float]:
        self.texts += [completion_text(completion) for completion in completions]
        return [0.0] * len(completions)


def trl(job: dict, clock: Clock, kept: Kept) -> None:
    """GRPOTrainer as TRL has it; the audio is a part of the prompt, or `generate` wouldn't get
    it."""
    from datasets import Dataset
    from trl import GRPOTrainer

    from .. import grpo, models
    from ..profiles import Profile
    from ..prompts import with_audio

    profile = Profile(**job["profile"])
    model, processor = models.load(profile)
    rows = [{**row, "prompt": with_audio(row["prompt"], row["audio"])} for row in job["rows"]]
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[*REWARDS, kept],
        args=grpo.grpo_config(profile, job["folder"], **settings(job)),
        train_dataset=Dataset.from_list(rows).remove_columns("audio"),
        processing_class=processor,
        peft_config=grpo.lora_config(profile),
        callbacks=[clock],
    )
    trainer.train()


def ours(job: dict, clock: Clock, kept: Kept) -> None:
    """The trainer of the command `train`."""
    from datasets import Dataset

    from .. import grpo, models
    from ..profiles import Profile

    profile = Profile(**job["profile"])
    model, processor = models.load(profile)
    trainer = grpo.trainer_for(
        profile,
        model,
        reward_funcs=[*REWARDS, kept],
        train_dataset=Dataset.from_list(job["rows"]),
        processing_class=processor,
        output_dir=job["folder"],
        callbacks=[clock],
        **settings(job),
    )
    trainer.train()


def swift(job: dict, clock: Clock, kept: Kept) -> None:
    """ms-swift's trainer, from its command line's arguments; its names for the same settings."""
    from swift.pipelines import rlhf_main
    from swift.rewards import orms
    from swift.rlhf_trainers import GRPOTrainer

    rewards = {reward.__name__: reward for reward in (*REWARDS, kept)}
    for name, reward in rewards.items():
        orms[name] = lambda args=None, reward=reward: reward
    train = GRPOTrainer.train

    def clocked(trainer, *args, **kwargs):
        trainer.add_callback(clock)
        return train(trainer, *args, **kwargs)

    GRPOTrainer.train = clocked
    arguments = swift_arguments(job) | {"reward_funcs": list(rewards)}
    words = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, values)]
    rlhf_main(words)


def swift_arguments(job: dict) -> dict:
    """Names and values of ms-swift's command line; the rows are written to the job's folder."""
    profile, folder = job["profile"], Path(job["folder"])
    rows = []
    for row in job["rows"]:
        (turn,) = row["prompt"]
        messages = [turn | {"content": f"<audio>{turn['content']}"}]
        columns = {name: row[name] for name in ("label", "reference_length")}
        rows.append({"messages": messages, "audios": [row["audio"]], **columns})
    lines = [json.dumps(row) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    group, batch = profile["num_generations"], profile["per_device_train_batch_size"]
    return {
        "rlhf_type": "grpo",
        "model": job["full_checkpoint"],
        "model_type": "qwen2_5_omni",
        "use_hf": True,
        "check_model": False,
        "torch_dtype": profile["dtype"],
        "system": "",
        "dataset": folder / "rows.jsonl",
        "load_from_cache_file": False,
        "split_dataset_ratio": 0,
        "dataset_shuffle": False,  # its sampler shuffles, as TRL's does
        "tuner_type": "lora",
        "lora_rank": profile["lora_r"],
        "lora_alpha": 2 * profile["lora_r"],
        "lora_dropout": 0,
        "target_regex": job["lora_targets"],
        "num_generations": group,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": profile["prompts_per_step"] * group // batch,
        "max_completion_length": profile["max_completion_length"],
        "temperature": 1,
        "top_p": 1,
        "top_k": -1,
        "beta": profile["beta"],
        "loss_type": "dapo",  # TRL's default
        "learning_rate": profile["learning_rate"],
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": 5,
        "max_steps": job["steps"],
        "gradient_checkpointing": False,
        "seed": job["seed"],
        "data_seed": job["seed"],
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "output_dir": folder,
        "add_version": False,
    }


def settings(job: dict) -> dict:
    """What both take beside the profile: every completion gets the same number of tokens."""
    tokens = job["profile"]["max_completion_length"]
    sampling = {"min_new_tokens": tokens}
    return {
        "seed": job["seed"],
        "max_steps": job["steps"],
        "save_strategy": "no",
        "generation_kwargs": sampling,
    }


def versions() -> dict[str, str]:
    """Of the packages that matter here and are installed in this Python."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in ("torch", "transformers", "peft", "trl", "ms-swift"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(job_file: str, result_file: str) -> None:
    torch.set_num_threads(1)
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    clock, kept = Clock(), Kept()
    {"trl": trl, "ours": ours, "swift": swift}[job["peer"]](job, clock, kept)
    result = {  # the completions are those of the first step, which has all rows
        "seconds": clock.seconds[1:],  # the first step warms up
        "cpu_seconds": clock.cpu_seconds[1:],
        "completions": kept.texts[: len(job["rows"]) * job["profile"]["num_generations"]],
        "peak_memory_mb": [peak_memory_mb()],
        "versions": versions(),
    }
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
