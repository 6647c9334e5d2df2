"""Writes the trained thinker of a run as a checkpoint folder of its own, with a model card made from the run's own facts."""
import os
import shutil
from dataclasses import replace
from pathlib import Path

from .. import models, profiles
from ..runs import report
from ..runs.files import read_json
from ..runs.folder import check_writable
from ..train import RunError, facts_of, with_adapter
from ..alr.sources import without_secrets

CARD = """# {model}, trained on spoken logic questions

The thinker of {model} with the LoRA adapter of one run merged into it. It hears a question and writes a thought and a verdict, `entailed` or `not-entailed`;
it can't speak. Load it with `Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder)`.

| | |
|---|---|
| data | {data}, split train |
| algorithm | {algorithm}, {steps} steps of {prompts} questions × {group} completions, seed {seed} |
| rewards | {rewards} |
| learning rate, β, LoRA rank | {rate:g}, {beta:g}, {rank} |
| precision | {precision} |
| time, memory at the peak | {seconds:.0f} s, {peak} MB |

Measured by the same run on {n} rows of the test split (greedy, 95 % interval):

| | accuracy | format kept |
|---|---|---|
| before | {before} | {format_before:.0%} |
| after | {after} | {format_after:.0%} |
| after, with another question's sound | {swapped} | {format_swapped:.0%} |

Exact McNemar test of before against after: p = {p:.2g}. One seed is one draw. {caution}
"""


def card(result: dict, rewards: list[str]) -> str:
    """The model card of a run, from its `result.json` and the names of its rewards."""
    profile = profiles.get(result["profile"])
    before, after, swapped = (result[name] for name in ("before", "after", "swapped_audio"))
    tiny = profile.data == "mini"
    name = Path(profile.model).name if Path(profile.model).is_dir() else profile.model
    return CARD.format(
        model=name, data="mini_alr (synthetic syllogisms)" if tiny else without_secrets(profile.data), algorithm=result["algorithm"], steps=result["steps"],
        prompts=profile.prompts_per_step, group=profile.group_size, seed=result["seed"], rewards=", ".join(rewards), rate=profile.learning_rate,
        beta=profile.beta, rank=profile.lora_rank, precision=f"{profile.dtype}, trained on {'4-bit' if profile.four_bit else 'full'} weights",
        seconds=result["seconds"], peak=result["peak_memory_mb"], n=after["n"], before=report.interval(before), after=report.interval(after),
        swapped=report.interval(swapped), format_before=before["format_rate"], format_after=after["format_rate"], format_swapped=swapped["format_rate"],
        p=result["paired_p"],
        caution="A tiny model on a tiny task: nothing here says anything about ALR." if tiny else "The rows it was measured on are not independent of each other.",
    )


def merge(run: str | Path, out: str | Path) -> Path:
    """Writes the merged thinker, the processor and the card of a finished run to `out`, a folder that must not exist; returns it.

    A 4-bit run is merged into the unquantised weights. Raises RunError if the run isn't finished, or the folder exists or can't be made.
    """
    run, out = Path(run), Path(out)
    result, settings = facts_of(run), read_json(run / "run.json", "rewards")
    if out.exists() or out.is_symlink():
        raise RunError(f"{out} exists already; choose another folder")
    check_writable(out)
    profile = replace(profiles.get(result["profile"]), four_bit=False)
    beside = out.with_name(f"{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        model, _ = models.load(profile)
        with_adapter(model, run).save_pretrained(beside)
        models.AudioProcessor.from_pretrained(profile.model, **models.NO_CODE).save_pretrained(beside)
        (beside / "README.md").write_text(card(result, settings["rewards"]), encoding="utf-8")
        os.replace(beside, out)  # whole, or not at all
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out
