"""Writes the trained thinker of a run as a checkpoint of its own, with a model card.

The card is made from the run's own facts.
"""

import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from .. import models
from ..alr.sources import without_secrets
from ..profiles import Profile
from ..prompts import prompt
from ..runs import report
from ..runs.adapter import adapted, profile_of
from ..runs.files import RunError, check_writable, read_json
from ..runs.folder import read_result

CARD = """# {model}, trained on spoken logic questions

The thinker of {model} with the LoRA adapter of one run merged into it. It takes a spoken question
and writes its reasoning and a verdict, `entailed` or `not-entailed`; it can't speak. Load it with
`Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder)`.

| | |
|---|---|
| data | {data}, split train |
| algorithm | {algorithm}, {steps} steps of {sizes}, seed {seed} |
| rewards | {rewards} |
| learning rate, β, LoRA rank | {rate:g}, {beta:g}, {rank} |
| precision | {precision} |
| time, peak memory | {seconds:.0f} s, {peak} MB |

Measured by the same run on {n} rows of the test split (greedy, 95 % interval):

| | accuracy | format kept |
|---|---|---|
| before | {before} | {format_before:.0%} |
| after | {after} | {format_after:.0%} |
| after, with another question's audio | {swapped} | {format_swapped:.0%} |

Exact McNemar test of before against after: p = {p:.2g}. One seed is one draw. {caution}
"""
LOSS_TO_REPORT = 0.1  # of what the adapter changes
TINY_CAUTION = "A tiny model on a tiny task: nothing here says anything about ALR."
ALR_CAUTION = "The test rows are not independent of each other."


def card(profile: Profile, result: dict, *, rewards: list[str]) -> str:
    """The model card of a run, from its profile, its `result.json` and the names of its rewards."""
    before, after, swapped = (result[name] for name in ("before", "after", "swapped_audio"))
    tiny = profile.data == "mini"
    folder = Path(profile.model)
    weights = "4-bit" if profile.load_in_4bit else "full"
    return CARD.format(
        model=folder.name if folder.is_dir() else profile.model,
        data="mini_alr (synthetic syllogisms)" if tiny else without_secrets(profile.data),
        algorithm=result["algorithm"],
        steps=result["steps"],
        sizes=f"{profile.prompts_per_step} questions × {profile.num_generations} completions",
        seed=result["seed"],
        rewards=", ".join(rewards),
        rate=profile.learning_rate,
        beta=profile.beta,
        rank=profile.lora_r,
        precision=f"{profile.dtype}, trained on {weights} weights",
        seconds=result["seconds"],
        peak=result["peak_memory_mb"],
        n=after["n"],
        before=report.interval(before),
        after=report.interval(after),
        swapped=report.interval(swapped),
        format_before=before["format_rate"],
        format_after=after["format_rate"],
        format_swapped=swapped["format_rate"],
        p=result["paired_p"],
        caution=TINY_CAUTION if tiny else ALR_CAUTION,
    )


def merge(run: str | Path, out: str | Path) -> Path:
    """Writes the merged thinker, its processor and a model card to the new folder `out`.

    A 4-bit run is merged into the unquantized weights. Warns if the merge loses more than a tenth
    of what the adapter changes, since the merged weights are rounded. Returns `out`. Raises
    RunError if the run isn't finished, or if the folder exists or can't be made.
    """
    run, out = Path(run), Path(out)
    result = read_result(run)
    rewards = read_json(run / "run.json", "rewards")["rewards"]
    if out.exists() or out.is_symlink():
        raise RunError(f"{out} exists already; choose another folder")
    check_writable(out)
    profile = profile_of(run)
    beside = out.with_name(f"{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        lost = write_checkpoint(replace(profile, load_in_4bit=False), run, folder=beside)
        if lost > LOSS_TO_REPORT:
            what = f"rounded to {profile.dtype}, the merge loses {lost:.0%} of the adapter's effect"
            warnings.warn(f"{what}; load the base and the adapter instead", stacklevel=2)
        text = card(profile, result, rewards=rewards)
        (beside / "README.md").write_text(text, encoding="utf-8")
        # a stop before this line leaves no half-written checkpoint at `out`
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def write_checkpoint(profile: Profile, run: Path, *, folder: Path) -> float:
    """Writes the profile's thinker with the run's adapter merged into it, and its processor.

    Returns the share of what the adapter changes that the merge loses, in the logits of one prompt:
    nothing to speak of in float32, more when the merged weights are rounded to 16 bits.
    """
    model, processor = models.load(profile)
    asked = models.encoded(processor, [prompt("Is it so?")], device=model.device)
    tuned = adapted(model, run).eval()
    with torch.no_grad():
        after = tuned(**asked).logits.float()
        with tuned.disable_adapter():
            before = tuned(**asked).logits.float()
        merged = tuned.merge_and_unload()
        lost = (merged(**asked).logits.float() - after).norm() / (after - before).norm()
    merged.save_pretrained(folder)
    processor = models.AudioProcessor.from_pretrained(profile.model, **models.NO_CODE)
    processor.save_pretrained(folder)
    return float(lost)
