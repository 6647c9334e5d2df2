"""Writes the trained thinker of a run as a checkpoint of its own, with a model card.

The card is made from the run's own facts.
"""

import json
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
from ..runs.files import RunError, check_writable, read_json, write_json
from ..runs.folder import read_result
from ..runs.usage import plain_code

CARD = """# {model}, trained on spoken logic questions

The thinker of {model} with the LoRA adapter of one run merged into it. It takes a spoken question
and writes its reasoning and a verdict, `entailed` or `not-entailed`; it can't speak.

| | |
|---|---|
| data | {data}, split train |
| algorithm | {algorithm}, {steps} steps of {sizes}, seed {seed} |
| rewards | {rewards} |
| learning rate, β, LoRA rank | {rate:g}, {beta:g}, {rank} |
| precision | {precision} |
| time, peak memory | {seconds:.0f} s, {peak} MB |

{measured} {caution}

In plain transformers it answers a question so, run in this folder. `AutoProcessor` refuses the
folder, since it wants the image half of the processor, which isn't here.

```python
{code}```
"""
MEASUREMENTS = {
    "before": "before",
    "after": "after",
    "swapped_audio": "after, with another question's audio",
}
LOSS_TO_REPORT = 0.1  # of what the adapter changes
TINY_CAUTION = "A tiny model on a tiny task: nothing here says anything about ALR."
ALR_CAUTION = "The test rows are not independent of each other."


def card(profile: Profile, result: dict, *, rewards: list[str]) -> str:
    """The model card of a run, from its profile, its `result.json` and the names of its rewards."""
    processor = models.load_processor(profile.model)
    tiny = profile.data == "mini"
    folder = Path(profile.model)
    weights = "4-bit" if profile.load_in_4bit else "unquantised"
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
        measured=measured(result),
        caution=TINY_CAUTION if tiny else ALR_CAUTION,
        code=plain_code(".", processor=processor, tokens=profile.max_completion_length),
    )


def measured(result: dict) -> str:
    """What a run measured, as a table."""
    if not result["after"]:
        return "The run measured nothing."
    lines = [
        f"Measured by the same run on {result['after']['n']} rows of the test split (greedy, 95 % "
        "interval):\n",
        "| | accuracy | format kept |",
        "|---|---|---|",
    ]
    for name, title in MEASUREMENTS.items():
        if found := result[name]:
            lines.append(f"| {title} | {report.interval(found)} | {found['format_rate']:.0%} |")
    p = f"p = {result['paired_p']:.2g}"
    lines.append(f"\nExact McNemar test of before against after: {p}. One seed is one draw.")
    return "\n".join(lines)


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
    # the class whose files these are: for one that it doesn't know AutoProcessor would take the
    # tokenizer alone, which leaves out the audio silently
    for name in ("processor_config.json", "tokenizer_config.json"):
        settings = json.loads((folder / name).read_text(encoding="utf-8"))
        settings["processor_class"] = "Qwen2_5OmniProcessor"
        write_json(folder / name, settings)
    return float(lost)
