"""Times sampling and whole GRPO steps on speech, plain and with a shared prefix.

Both kinds run interleaved, in one process and on the same weights. With random weights nothing is
downloaded: the time of a step depends on the shape of a model and not on what it has learned. All
completions are sampled to the same length and then cut to different ones, so that there is padding
as among real completions.
"""

import contextlib
import math
import platform
import statistics
import tempfile
from copy import deepcopy
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from datasets import Dataset
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from .. import grpo, models
from ..profiles import PROFILES, Profile
from ..prompts import with_audio
from ..runs.guards import PHASES
from . import memory
from .bench_meter import KINDS, Measurement, Meter, MeteredSteps
from .doctor import gpus, installed
from .spoken import spoken_questions

# The counts of a bench JSON, and the field of a Measurement that each comes from
COUNTS = {
    "encoder_calls_per_clip": "encoder_calls",
    "prefilled_tokens_per_group": "prefilled_tokens",
    "padded_tokens": "padded_tokens",
    "peak_memory_mb": "peak_memory_mb",
}
LENGTH = 10**6  # tokens of a prompt; positions are rotary, so a long one needs no warning
# Token ids in the thinker's configuration, and the processor's name for each token
TOKENS = {
    "audio_token_id": "audio_token",
    "audio_start_token_id": "audio_bos_token",
    "audio_end_token_id": "audio_eos_token",
    "image_token_id": "image_token",
    "video_token_id": "video_token",
    "vision_start_token_id": "vision_bos_token",
}


def measure(
    profile: Profile,
    what: str = "step",
    *,
    audio_seconds: float = 60.0,
    group: int = 8,
    new_tokens: int | None = None,
    questions: int = 1,
    random_weights: bool = False,
    repeats: int = 3,
    warm_up: int = 1,
    kinds: tuple[str, ...] = KINDS,
    model=None,
) -> dict:
    """Medians of `repeats` measurements of each kind, after `warm_up` that don't count.

    `what` is "rollout" (sampling alone) or "step". There are so many `questions` of
    `audio_seconds`, each with `group` completions of up to `new_tokens` (default: the profile's).
    `kinds` are those measured, in turn; figures of the other are None. `model` is a thinker of the
    profile that is loaded already; its parameters don't change. Returns what `bench --json`
    writes; ratios are plain / shared.
    """
    profile = at_sizes(
        profile,
        audio_seconds=audio_seconds,
        group=group,
        new_tokens=new_tokens or profile.max_completion_length,
        questions=questions,
    )
    processor = processor_for(profile, random_weights)
    processor.tokenizer.model_max_length = LENGTH
    if model is None:
        model = thinker_for(profile, processor, random_weights)
    forward = vars(model).get("forward")
    steps = MeteredSteps(kinds)
    with tempfile.TemporaryDirectory() as folder:
        rows = spoken_questions(questions, audio_seconds, Path(folder))
        trainer = grpo.trainer_for(
            profile,
            model,
            processing_class=processor,
            train_dataset=Dataset.from_list(rows),
            output_dir=Path(folder),
            max_steps=len(kinds) * (warm_up + repeats),
            callbacks=[steps],
            save_strategy="no",
            generation_kwargs={"min_new_tokens": profile.max_completion_length},
        )
        trainer.second_thread.alone = math.inf  # the figures and the rate of `limit` are for one
        steps.trainer, steps.meter = trainer, Meter(trainer)
        cut_unevenly(trainer, steps.meter)
        try:
            if what == "step":
                with contextlib.redirect_stdout(None):
                    trainer.train()
            else:
                sample_alone(steps, rows, turns=warm_up + repeats)
        finally:  # the model can be measured again, even after a GPU had too little memory
            steps.meter.close()
            trainer.model.unload()
            vars(model).pop("forward", None)  # the output head that TRL puts on for each trainer
            if forward:
                model.forward = forward
    counted = {kind: measurements[warm_up:] for kind, measurements in steps.found.items()}
    facts = facts_of(profile, model, audio_seconds=audio_seconds, random_weights=random_weights)
    return facts | side_by_side(what, counted, questions)


def at_sizes(
    profile: Profile, *, audio_seconds: float, group: int, new_tokens: int, questions: int = 1
) -> Profile:
    """The profile at the sizes of a measurement, with micro-batches as large as they may be."""
    rows = questions * group
    fitting = min(profile.per_device_train_batch_size, rows)
    return replace(
        profile,
        num_generations=group,
        prompts_per_step=questions,
        per_device_train_batch_size=max(n for n in range(1, fitting + 1) if rows % n == 0),
        max_completion_length=new_tokens,
        max_audio_seconds=max(profile.max_audio_seconds, audio_seconds),
        shared_prefix=True,
    )


def processor_for(profile: Profile, random_weights: bool):
    """The processor of a profile, or for random weights, which have none, that of the tiny one."""
    source = PROFILES["tiny"].model if random_weights else profile.model
    return models.load_processor(source, profile.max_audio_seconds)


def thinker_for(profile: Profile, processor, random_weights: bool):
    """The thinker of a profile, trained or random."""
    return random_thinker(profile, processor) if random_weights else models.load(profile)[0]


def random_thinker(profile: Profile, processor):
    """A thinker of the profile's shape with random weights, on the GPU if there is one.

    It knows the processor's special tokens. 4-bit weights are quantized while they are loaded, so
    for them a random checkpoint is written to a temporary folder first (18 GB for the 7B).
    """
    dtype = getattr(torch, profile.dtype)
    if profile.load_in_4bit:
        full = random_thinker(replace(profile, load_in_4bit=False), processor).cpu()
        with tempfile.TemporaryDirectory() as folder:
            full.save_pretrained(folder)
            return Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
                folder, dtype=dtype, quantization_config=models.quantization_config(profile)
            ).eval()
    torch.manual_seed(0)
    config = deepcopy(memory.config_of(profile.model))  # the trainer writes into it
    for name, token in TOKENS.items():
        number = processor.tokenizer.convert_tokens_to_ids(getattr(processor, token))
        setattr(config, name, number)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            return Qwen2_5OmniThinkerForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def cut_unevenly(trainer, meter: Meter) -> None:
    """After sampling, the completions of a group keep `kept_tokens`.

    While it samples, `meter.sampling` is set.
    """
    sample = trainer._generate_single_turn
    group = trainer.num_generations

    def sampled(*args, **kwargs):
        meter.sampling = True
        ids, log_probs = sample(*args, **kwargs)
        meter.sampling = False
        cut = [row[: kept_tokens(len(row), group)[i % group]] for i, row in enumerate(ids)]
        return cut, log_probs

    trainer._generate_single_turn = sampled


def kept_tokens(sampled: int, group: int) -> list[int]:
    """Of so many sampled tokens, completion i of a group (from 0) keeps (i + 1) / group.

    >>> kept_tokens(100, 4)
    [25, 50, 75, 100]
    """
    return [max(1, sampled * (i + 1) // group) for i in range(group)]


def sample_alone(steps: MeteredSteps, rows: list[dict], *, turns: int) -> None:
    """Samples the groups of all rows so many times in each kind, without training."""
    trainer, meter = steps.trainer, steps.meter
    trainer.model.train()
    prompts = [with_audio(row["prompt"], row["audio"]) for row in rows]
    prompts = [prompt for prompt in prompts for _ in range(trainer.num_generations)]
    for kind in steps.kinds * turns:
        trainer.share(kind == "shared")
        meter.start()
        trainer._generate(prompts)
        steps.found[kind].append(meter.stop())


def side_by_side(what: str, found: dict[str, list[Measurement]], questions: int) -> dict:
    """The medians of each kind and their ratios, under the names that `bench --json` promises.

    What is counted by clip or group is that of one of the `questions`. None: not measured.
    """

    def median(kind: str, name: str) -> float | None:
        values = [getattr(measurement, name) for measurement in found[kind]]
        return statistics.median(values) if values else None

    def phase(kind: str, name: str) -> float | None:
        values = [measurement.phases[name] for measurement in found[kind]]
        return statistics.median(values) if values else None

    result = {what: ratio(median("plain", "seconds"), median("shared", "seconds"))}
    if what == "step":
        result["rollout"] = ratio(phase("plain", "sample"), phase("shared", "sample"))
        result["phases_s"] = {kind: {name: phase(kind, name) for name in PHASES} for kind in KINDS}
    for name, field in COUNTS.items():
        for key, kind in ((name, "shared"), (f"plain_{name}", "plain")):
            count = median(kind, field)
            if "_per_" in name and count is not None:
                count /= questions
            result[key] = count
    return result


def table(result: dict) -> str:
    """What `measure` found of both kinds, for a person; all of it is in its result."""
    questions = f"{result['questions']} × " if result.get("questions", 1) > 1 else ""
    sizes = f"{questions}{result['audio_seconds']:g} s of audio, {result['group']} completions of "
    lines = [
        f"profile {result['profile']} on {result['card']}: {sizes}{result['new_tokens']} tokens",
        f"{'':30}{'plain':>10}{'shared':>10}{'ratio':>8}",
    ]
    for name, words in (("step", "a step, s"), ("rollout", "sampling alone, s")):
        if found := result.get(name):
            figures = f"{found['plain_s']:10.2f}{found['shared_s']:10.2f}{found['ratio']:8.1f}"
            lines.append(f"{words:30}{figures}")
    for name in COUNTS:
        plain, shared = result[f"plain_{name}"], result[name]
        lines.append(f"{name.replace('_', ' '):30}{plain:10,.0f}{shared:10,.0f}")
    return "\n".join(lines)


def ratio(plain: float | None, shared: float | None) -> dict[str, float | None]:
    """Two times in seconds, None if not measured, and how many times faster the second is."""
    faster = None if plain is None or shared is None else plain / shared
    return {"ratio": faster, "plain_s": plain, "shared_s": shared}


def facts_of(profile: Profile, model, *, audio_seconds: float, random_weights: bool) -> dict:
    """What is measured, and on what; `profile` is at the sizes of the measurement."""
    card, memory_gb = gpus()[0] if gpus() else (f"CPU, {platform.machine()}", None)
    packages = ("torch", "transformers", "peft", "trl")
    return {
        "card": card,
        "memory_gb": memory_gb,
        "date": date.today().isoformat(),
        "versions": {name: installed(name) for name in packages},
        "profile": profile.name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "random_weights": random_weights,
        "dtype": profile.dtype,
        "load_in_4bit": profile.load_in_4bit,
        "audio_seconds": audio_seconds,
        "group": profile.num_generations,
        "new_tokens": profile.max_completion_length,
        "questions": profile.prompts_per_step,
    }
