"""Times sampling and whole GRPO steps on speech, plain and with a shared prefix.

Both kinds run interleaved, in one process and on the same weights. With random weights nothing is
downloaded: the time of a step depends on the shape of a model and not on what it has learned. All
completions are sampled to the same length and then cut to different ones, so that there is padding
as among real completions.
"""

import contextlib
import platform
import statistics
import tempfile
from copy import deepcopy
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from .. import data, grpo, models
from ..audio import SAMPLE_RATE, load_audio
from ..profiles import PROFILES, Profile
from ..prompts import with_audio
from . import memory
from .bench_meter import KINDS, Measurement, Meter, MeteredSteps
from .doctor import gpus, installed

# The counts of a bench JSON, and the field of a Measurement that each comes from
COUNTS = {
    "encoder_calls_per_clip": "encoder_calls",
    "prefilled_tokens_per_group": "prefilled_tokens",
    "padded_tokens": "padded_tokens",
    "peak_memory_mb": "peak_memory_mb",
}
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
    random_weights: bool = False,
    repeats: int = 3,
    model=None,
) -> dict:
    """Medians of `repeats` measurements of each kind, after a first pair that doesn't count.

    `what` is "rollout" (sampling alone) or "step". There is one question of `audio_seconds` and
    `group` completions of up to `new_tokens` (default: the profile's). `model` is a thinker of the
    profile that is loaded already; its parameters don't change. Returns what `bench --json`
    writes; ratios are plain / shared.
    """
    profile = at_sizes(
        profile,
        audio_seconds=audio_seconds,
        group=group,
        new_tokens=new_tokens or profile.max_completion_length,
    )
    source = PROFILES["tiny"].model if random_weights else profile.model
    processor = models.load_processor(source, profile.max_audio_seconds)
    if model is None:
        model = random_thinker(profile, processor) if random_weights else models.load(profile)[0]
    forward = vars(model).get("forward")
    steps = MeteredSteps()
    with tempfile.TemporaryDirectory() as folder:
        rows = spoken_question(audio_seconds, Path(folder))
        trainer = grpo.trainer_for(
            profile,
            model,
            processing_class=processor,
            train_dataset=rows,
            output_dir=Path(folder),
            max_steps=2 * (repeats + 1),
            callbacks=[steps],
            save_strategy="no",
            generation_kwargs={"min_new_tokens": profile.max_completion_length},
        )
        steps.trainer, steps.meter = trainer, Meter(trainer)
        cut_unevenly(trainer, steps.meter)
        if what == "step":
            with contextlib.redirect_stdout(None):
                trainer.train()
        else:
            sample_alone(steps, rows[0], repeats=repeats)
    steps.meter.close()
    trainer.model.unload()
    vars(model).pop("forward", None)  # the output head that TRL puts on for each trainer
    if forward:
        model.forward = forward
    counted = {kind: measurements[1:] for kind, measurements in steps.found.items()}
    facts = facts_of(profile, model, audio_seconds=audio_seconds, random_weights=random_weights)
    return facts | side_by_side(what, counted)


def at_sizes(profile: Profile, *, audio_seconds: float, group: int, new_tokens: int) -> Profile:
    """The profile with one question a step, at the sizes of a measurement."""
    return replace(
        profile,
        num_generations=group,
        prompts_per_step=1,
        per_device_train_batch_size=min(profile.per_device_train_batch_size, group),
        max_completion_length=new_tokens,
        max_audio_seconds=max(profile.max_audio_seconds, audio_seconds),
        shared_prefix=True,
    )


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


def spoken_question(seconds: float, folder: Path):
    """One training row whose clip is real speech of exactly `seconds`.

    The clip, written to `folder`, is made of mini_alr's questions, one after another.
    """
    import soundfile

    rows = data.training_rows(data.load_alr("mini", "train"))
    needed = int(seconds * SAMPLE_RATE)
    speech = []
    while sum(map(len, speech)) < needed:
        speech.append(load_audio(rows[len(speech) % len(rows)]["audio"]))
    clip = folder / "question.wav"
    soundfile.write(clip, np.concatenate(speech)[:needed], SAMPLE_RATE)
    return rows.select(range(1)).map(lambda row: {"audio": str(clip)})


def cut_unevenly(trainer, meter: Meter) -> None:
    """After sampling, completion i of n (from 0) keeps (i + 1) / n of its tokens.

    While it samples, `meter.sampling` is set.
    """
    sample = trainer._generate_single_turn

    def sampled(*args, **kwargs):
        meter.sampling = True
        ids, log_probs = sample(*args, **kwargs)
        meter.sampling = False
        cut = [row[: max(1, len(row) * (i + 1) // len(ids))] for i, row in enumerate(ids)]
        return cut, log_probs

    trainer._generate_single_turn = sampled


def sample_alone(steps: MeteredSteps, row: dict, *, repeats: int) -> None:
    """Samples the group of one row `repeats` + 1 times in each kind, without training."""
    trainer, meter = steps.trainer, steps.meter
    trainer.model.train()
    prompts = [with_audio(row["prompt"], row["audio"])] * trainer.num_generations
    for turn in range(2 * (repeats + 1)):
        trainer.share(turn % 2 == 1)
        meter.start()
        trainer._generate(prompts)
        steps.found[KINDS[turn % 2]].append(meter.stop())


def side_by_side(what: str, found: dict[str, list[Measurement]]) -> dict:
    """The medians of each kind and their ratios, under the names that `bench --json` promises."""

    def median(kind: str, name: str) -> float:
        return statistics.median(getattr(measurement, name) for measurement in found[kind])

    def phase(kind: str, name: str) -> float:
        return statistics.median(measurement.phases[name] for measurement in found[kind])

    result = {what: ratio(median("plain", "seconds"), median("shared", "seconds"))}
    if what == "step":
        result["rollout"] = ratio(phase("plain", "sample"), phase("shared", "sample"))
        names = found["plain"][0].phases
        result["phases_s"] = {kind: {name: phase(kind, name) for name in names} for kind in KINDS}
    for name, field in COUNTS.items():
        result[name] = median("shared", field)
        result[f"plain_{name}"] = median("plain", field)
    return result


def table(result: dict) -> str:
    """What `measure` found, for a person; all of it is in its result."""
    sizes = f"{result['audio_seconds']:g} s of audio, {result['group']} completions of "
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
    for axis, points in result.get("growth", {}).items():
        for point in points:
            words = f"a step, {axis.replace('_', ' ')} {point[axis]:g}"
            figures = f"{point['plain_s']:10.2f}{point['shared_s']:10.2f}{point['ratio']:8.1f}"
            lines.append(f"{words:30}{figures}")
    return "\n".join(lines)


def ratio(plain: float, shared: float) -> dict[str, float]:
    """Two times in seconds, and how many times faster the second is."""
    return {"ratio": plain / shared, "plain_s": plain, "shared_s": shared}


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
    }
