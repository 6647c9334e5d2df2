"""What `AudioCheck` says of four trainers in their first step: plain TRL, ours, ours with the audio
removed on purpose, and ms-swift where `SOUNDMIND_SWIFT_PYTHON` names a Python that has it.

    python -m soundmind_lite.course.check_table

All sample the same completions: two spoken questions of mini_alr's dev split, two completions of 24
tokens each, from tiny_omni, in float32. ms-swift's log-probs are compared with forward passes in
this Python, which has another version of transformers.
"""

import os
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from .. import data, grpo, models, profiles
from ..audio import load_audio
from ..prompts import with_audio
from ..rewards import TEXT_REWARDS
from ..runs.guards import GuardedTrainer
from ..runs.sampling import METRIC, SamplingIsThePolicy, SamplingWarning
from ..scale import peer_worker, peers
from ..trainer import AudioGRPOTrainer
from .audio_check import AudioCheck, AudioCheckWarning, Checked, audio_token, by_audio

PROFILE = replace(
    profiles.get("tiny"),
    num_generations=2,
    prompts_per_step=2,
    per_device_train_batch_size=4,
    max_completion_length=24,
)
HEAD = (
    "| nats a token, first step | sampled − scored | scored − own audio | scored − no audio "
    "| own − swapped | own − no audio | placeholders | finding |\n" + "|---" * 8 + "|"
)


class PlainTRL(SamplingIsThePolicy, GRPOTrainer):
    """TRL's trainer; the mixin compares what is sampled with what is scored, and changes
    nothing."""

    def _thinker(self, model):
        return self.accelerator.unwrap_model(model).get_base_model()


class WithoutAudio(SamplingIsThePolicy, AudioGRPOTrainer):
    """Ours with the fault planted: the features don't reach the log-prob pass."""

    _thinker = PlainTRL._thinker

    def _score_rows(self, model, input_ids, attention_mask, logits_to_keep, audio, **kwargs):
        rows = (input_ids, attention_mask, logits_to_keep)
        return super()._score_rows(model, *rows, {}, **kwargs)


def job_of_a_step() -> dict:
    """One step on two questions, as `peers` describes jobs to its workers."""
    rows = data.training_rows(data.load_alr("mini", "dev")).select(range(2)).to_list()
    return {"profile": asdict(PROFILE), "rows": rows, "seed": 0, "steps": 1}


def checked(trainer_class) -> tuple[Checked, float]:
    """What `AudioCheck` finds in one step, and the mean gap between sampled and scored
    log-probs."""
    model, processor = models.load(PROFILE)
    job = job_of_a_step()
    rows = Dataset.from_list(job["rows"])
    if trainer_class is PlainTRL:
        inside = [{**row, "prompt": with_audio(row["prompt"], row["audio"])} for row in job["rows"]]
        rows = Dataset.from_list(inside).remove_columns("audio")
    with TemporaryDirectory() as folder:
        trainer = trainer_class(
            model=model,
            reward_funcs=list(TEXT_REWARDS),
            args=grpo.grpo_config(PROFILE, folder, **peer_worker.settings(job)),
            train_dataset=rows,
            processing_class=processor,
            peft_config=grpo.lora_config(PROFILE),
        )
        trainer.remove_callback(PrinterCallback)
        check = AudioCheck(trainer)
        trainer.add_callback(check)
        with warnings.catch_warnings():
            for kind in (AudioCheckWarning, SamplingWarning):  # the table has what they say
                warnings.simplefilter("ignore", kind)
            trainer.train()
    return check.steps[0], trainer.state.log_history[0][f"{METRIC}/mean"]


def checked_swift(python: str) -> tuple[Checked, float, str]:
    """The same of ms-swift, run by `python`, and its version."""
    with TemporaryDirectory() as folder:
        job = job_of_a_step() | {"peer": "swift", "lora_targets": peers.TARGETS}
        job |= {"full_checkpoint": peers.write_full(PROFILE, Path(folder))}
        found = peers.in_a_process(python, job, module="soundmind_lite.course.check_swift")
    model, processor = models.load(PROFILE)
    gaps, placeholders, expected = [], 0, 0
    for row in found["rows"]:
        ids = torch.tensor(row["ids"])
        scored, sampled = torch.tensor(row["scored"]), torch.tensor(row["sampled"])
        other = next(one["audio"] for one in found["rows"] if one["audio"] != row["audio"])
        (prompt,) = [one["prompt"] for one in job["rows"] if one["audio"] == row["audio"]]
        clips = load_audio(row["audio"]), load_audio(other)
        prompt = with_audio(prompt, row["audio"])
        under, made = by_audio(model, processor, prompt, *clips, ids, len(scored))
        pairs = (
            (sampled, scored),
            (scored, under.own),
            (scored, under.without),
            (under.own, under.swapped),
            (under.own, under.without),
        )
        gaps.append([(a - b).abs().mean().item() for a, b in pairs])
        placeholders += int((ids == audio_token(model)).sum())
        expected += made
    sampling, *means = [sum(values) / len(values) for values in zip(*gaps)]
    one = Checked(1, len(gaps), *means, (placeholders, expected))
    return one, sampling, found["versions"]["ms-swift"]


def line(name: str, one: Checked, sampling: float) -> str:
    """A row of the table."""
    found = (sampling, one.scored_minus_own, one.scored_minus_without)
    found += (one.own_minus_swapped, one.own_minus_without)
    figures = " | ".join(f"{value:.0e}" if value < 0.001 else f"{value:.2f}" for value in found)
    counts = f"{one.placeholders[0]} of {one.placeholders[1]}"
    return f"| {name} | {figures} | {counts} | {one.fault() or 'none'} |"


def table() -> str:
    """The whole table in Markdown."""
    version = peer_worker.versions()["trl"]
    lines = [
        HEAD,
        line(f"plain TRL {version}", *checked(PlainTRL)),
        line("ours", *checked(GuardedTrainer)),
        line("ours, audio removed on purpose", *checked(WithoutAudio)),
    ]
    if python := os.environ.get(peers.SWIFT):
        one, sampling, version = checked_swift(python)
        lines.append(line(f"ms-swift {version}", one, sampling))
    else:
        lines.append(f"| ms-swift | not run: {peers.SWIFT} names no Python that has it |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
