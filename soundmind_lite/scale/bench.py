"""Times sampling and whole GRPO steps on speech, the plain seam and `hear_once` side by side in one process, on the same weights.

With random weights it needs no download: the time of a step depends on the shape of a model and not on what it has learned. All completions are
sampled to the same length; then they are cut to different ones, as real completions have, so that padding shows.
"""
import contextlib
import platform
import statistics
import tempfile
import threading
import time
from copy import deepcopy
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2_5OmniThinkerForConditionalGeneration, TrainerCallback

from .. import data, grpo, models
from . import planner
from ..audio import SAMPLE_RATE, load_audio
from .doctor import gpus, installed
from ..runs.process_memory import return_freed_memory
from ..profiles import PROFILES, Profile
from ..prompts import with_audio
from ..runs.report import BLUE, ORANGE

KINDS = ("plain", "shared")
GROWTH = {"seconds_of_audio": (5, 15, 60, 120), "group": (2, 4, 8, 16), "new_tokens": (25, 50, 100, 200)}


def random_thinker(profile: Profile, processor):
    """A thinker of the profile's shape with random weights and the processor's special tokens, on the GPU if there is one.

    4-bit weights are quantised while they are loaded, so for them a random checkpoint is written to a temporary folder first (18 GB for the 7B).
    """
    if profile.four_bit:
        with tempfile.TemporaryDirectory() as folder:
            random_thinker(replace(profile, four_bit=False), processor).cpu().save_pretrained(folder)
            return Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
                folder, dtype=getattr(torch, profile.dtype), quantization_config=models.quantisation(profile),
            ).eval()
    torch.manual_seed(0)
    config = deepcopy(planner.config_of(profile.model))  # the trainer writes into it
    tokens = dict(audio="audio_token", audio_start="audio_bos_token", audio_end="audio_eos_token", image="image_token", video="video_token", vision_start="vision_bos_token")
    for name, token in tokens.items():
        setattr(config, f"{name}_token_id", processor.tokenizer.convert_tokens_to_ids(getattr(processor, token)))
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, profile.dtype))
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            return Qwen2_5OmniThinkerForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def spoken_question(seconds: float, folder: Path):
    """Training rows whose sound is real speech of exactly `seconds`: questions of mini_alr, one after another."""
    import soundfile

    rows = data.training_rows(data.load_alr("mini", "train"))
    speech, needed = [], int(seconds * SAMPLE_RATE)
    while sum(map(len, speech)) < needed:
        speech.append(load_audio(rows[len(speech) % len(rows)]["audio"]))
    soundfile.write(clip := folder / "question.wav", np.concatenate(speech)[:needed], SAMPLE_RATE)
    return rows.select(range(1)).map(lambda row: {"audio": str(clip)})


class Meter:
    """Counts what the thinker runs over, and the largest memory, between `start` and `stop`."""

    def __init__(self, trainer):
        self.sampling, self.counts, self.peak_mb, self._running = False, {}, 0.0, False
        thinker = trainer.model.get_base_model()
        watched = ((thinker.model.audio_tower, self._heard), (thinker.model.language_model, self._read))
        self._hooks = [module.register_forward_pre_hook(count, with_kwargs=True) for module, count in watched]

    def close(self) -> None:
        """Takes the hooks off the model."""
        for hook in self._hooks:
            hook.remove()

    def _heard(self, module, args, options):
        self.counts["encoder_calls"] += len(options["feature_lens"])

    def _read(self, module, args, options):
        rows, tokens = options["inputs_embeds"].shape[:2]
        if self.sampling and tokens > 1:
            self.counts["prefilled_tokens"] += rows * tokens
        mask = options.get("attention_mask")
        if not self.sampling and isinstance(mask, torch.Tensor) and mask.ndim == 2:
            self.counts["padded_tokens"] += int((mask[:, -tokens:] == 0).sum())

    def start(self) -> None:
        return_freed_memory()
        self.counts, self.peak_mb, self._running = dict(encoder_calls=0, prefilled_tokens=0, padded_tokens=0), 0.0, True
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self._began = now()

    def stop(self) -> dict:
        seconds, self._running = now() - self._began, False
        self._thread.join()
        if torch.cuda.is_available():
            self.peak_mb = torch.cuda.max_memory_allocated() / 2**20
        return dict(seconds=seconds, peak_memory_mb=self.peak_mb, **self.counts)

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while self._running:
            self.peak_mb = max(self.peak_mb, process.memory_info().rss / 2**20)
            time.sleep(0.01)


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


class Steps(TrainerCallback):
    """Even steps plain, odd steps shared; keeps what the meter counts and where the trainer's time goes."""

    def __init__(self):
        self.found = {kind: [] for kind in KINDS}

    def on_step_begin(self, args, state, control, **_):
        self.trainer.share(state.global_step % 2 == 1)
        self.trainer.seconds = dict.fromkeys(self.trainer.seconds, 0.0)
        self.meter.start()

    def on_step_end(self, args, state, control, **_):
        self.found[KINDS[(state.global_step - 1) % 2]].append(self.meter.stop() | {"phases": dict(self.trainer.seconds)})


def measure(
    profile: Profile, what: str = "step", audio_seconds: float = 60.0, group: int = 8, new_tokens: int | None = None, random_weights: bool = False,
    repeats: int = 3, model=None,
) -> dict:
    """Medians of `repeats` interleaved measurements of each kind, after a first pair that doesn't count: sampling alone ("rollout"), or whole steps ("step").

    One question of `audio_seconds`, `group` completions of up to `new_tokens` (default: the profile's). Ratios are plain / shared. `model`: a thinker of
    the profile that is loaded already; it comes out as it went in.
    """
    tokens = new_tokens or profile.max_completion_tokens
    profile = replace(
        profile, group_size=group, prompts_per_step=1, micro_batch=min(profile.micro_batch, group), max_completion_tokens=tokens,
        max_audio_seconds=max(profile.max_audio_seconds, audio_seconds), hear_once=True,
    )
    processor = models.load_processor(PROFILES["tiny"].model if random_weights else profile.model, profile.max_audio_seconds)
    if model is None:
        model = random_thinker(profile, processor) if random_weights else models.load(profile)[0]
    callback, forward = Steps(), vars(model).get("forward")
    with tempfile.TemporaryDirectory() as folder:
        rows = spoken_question(audio_seconds, Path(folder))
        trainer = grpo.trainer_for(
            profile, model, processor, rows, Path(folder), steps=2 * (repeats + 1), callbacks=[callback], save_strategy="no",
            generation_kwargs={"min_new_tokens": tokens},
        )
        meter = callback.meter = Meter(trainer)
        callback.trainer = trainer
        cut_unevenly(trainer, meter)
        found = callback.found
        if what == "step":
            with contextlib.redirect_stdout(None):
                trainer.train()
        else:
            sample_alone(trainer, meter, rows[0], group, repeats, found)
    meter.close()
    trainer.model.unload()
    vars(model).pop("forward", None)  # TRL's head, which it puts on each time
    if forward:
        model.forward = forward
    return facts(profile, model, random_weights, audio_seconds, group, tokens) | side_by_side(what, {kind: runs[1:] for kind, runs in found.items()})


def cut_unevenly(trainer, meter: Meter) -> None:
    """After sampling, completion i of n keeps (i + 1) / n of its tokens; while sampling goes on, the meter counts prefilled tokens."""
    sample = trainer._generate_single_turn

    def sampled(*args, **kwargs):
        meter.sampling = True
        ids, log_probs = sample(*args, **kwargs)
        meter.sampling = False
        return [row[: max(1, len(row) * (i + 1) // len(ids))] for i, row in enumerate(ids)], log_probs

    trainer._generate_single_turn = sampled


def sample_alone(trainer, meter: Meter, row: dict, group: int, repeats: int, found: dict) -> None:
    trainer.model.train()
    for turn in range(2 * (repeats + 1)):
        trainer.share(turn % 2 == 1)
        meter.start()
        trainer._generate([with_audio(row["prompt"], row["audio"])] * group)
        found[KINDS[turn % 2]].append(meter.stop() | {"phases": {}})


def side_by_side(what: str, found: dict[str, list[dict]]) -> dict:
    """The medians of each kind and their ratios, under the names that `bench --json` promises."""
    middle = lambda kind, name: statistics.median(run[name] for run in found[kind])
    times = lambda plain, shared: dict(ratio=plain / shared, plain_s=plain, shared_s=shared)
    result = {what: times(*(middle(kind, "seconds") for kind in KINDS))}
    if what == "step":
        phase = lambda kind, name: statistics.median(run["phases"][name] for run in found[kind])
        result["rollout"] = times(*(phase(kind, "sample") for kind in KINDS))
        result["phases_s"] = {kind: {name: phase(kind, name) for name in found[kind][0]["phases"]} for kind in KINDS}
    counts = {"encoder_calls_per_clip": "encoder_calls", "prefilled_tokens_per_group": "prefilled_tokens", "padded_tokens": "padded_tokens", "peak_memory_mb": "peak_memory_mb"}
    for name, counted in counts.items():
        plain, shared = (middle(kind, counted) for kind in KINDS)
        result |= {name: shared, f"plain_{name}": plain}
    return result


def facts(profile: Profile, model, random_weights: bool, audio_seconds: float, group: int, new_tokens: int) -> dict:
    """What was measured, and on what."""
    card, memory_gb = gpus()[0] if gpus() else (f"CPU, {platform.machine()}", None)
    return dict(
        card=card, memory_gb=memory_gb, date=date.today().isoformat(), versions={name: installed(name) for name in ("torch", "transformers", "peft", "trl")},
        profile=profile.name, weights=sum(p.numel() for p in model.parameters()), random_weights=random_weights, dtype=profile.dtype,
        four_bit=profile.four_bit, audio_seconds=audio_seconds, group=group, new_tokens=new_tokens,
    )


def growth(profile: Profile, audio_seconds: float = 60.0, group: int = 8, new_tokens: int | None = None, random_weights: bool = False) -> dict[str, list[dict]]:
    """How the time of a step grows with seconds of sound, with the group and with new tokens; the other two stay as given."""
    from tqdm.auto import tqdm

    given = dict(audio_seconds=audio_seconds, group=group, new_tokens=new_tokens)
    longest = replace(profile, max_audio_seconds=max(GROWTH["seconds_of_audio"]))
    model = random_thinker(longest, models.load_processor(PROFILES["tiny"].model, 1)) if random_weights else models.load(longest)[0]
    names = {"seconds_of_audio": "audio_seconds", "group": "group", "new_tokens": "new_tokens"}
    points = [(axis, value) for axis, values in GROWTH.items() for value in values]
    found = {axis: [] for axis in GROWTH}
    for axis, value in tqdm(points, desc="growth", unit="point"):
        one = measure(profile, **given | {names[axis]: value}, random_weights=random_weights, repeats=1, model=model)
        found[axis].append({axis: value, **one["step"], "plain_rollout_s": one["rollout"]["plain_s"], "shared_rollout_s": one["rollout"]["shared_s"]})
    return found


def draw(growth: dict[str, list[dict]]):
    """A figure of what `growth` found, a panel for each size that changes, and the same in words."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    names = {"seconds_of_audio": "seconds of sound", "group": "completions of a group", "new_tokens": "new tokens"}
    for axes, (axis, points) in zip(figure.subplots(1, len(growth), sharey=True), growth.items()):
        for kind, label, colour, style, mark in (("plain", "plain", ORANGE, "--", "o"), ("shared", "heard once", BLUE, "-", "s")):
            axes.plot([p[axis] for p in points], [p[f"{kind}_s"] for p in points], marker=mark, linestyle=style, color=colour, label=label)
        axes.set(xlabel=names[axis], ylim=(0, None))
    figure.axes[0].set(ylabel="seconds of a step")
    figure.axes[0].legend(fontsize=9)
    courses = [f"by {names[axis]} " + ", ".join(f"{p[axis]}: {p['plain_s']:.1f} and {p['shared_s']:.1f}" for p in points) for axis, points in growth.items()]
    return figure, f"Seconds of a GRPO step, plain and heard once, {'; '.join(courses)}."
