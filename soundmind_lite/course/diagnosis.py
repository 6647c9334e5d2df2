"""Why is my reward 0? Reads the rows, the prompt and the rollouts of a run; says what to fix."""

from collections import Counter

import torch

from ..audio import SAMPLE_RATE
from ..models import audio_token_count
from ..prompts import with_audio
from ..rewards import completion_text
from ..runs.report import groups_of, reward_names
from ..scale.doctor import Finding
from .audio_check import used_seconds
from .explain import format_fault

FEW = 0.1  # share of completions, or of groups with a spread, below which little can be learned
TENTH = 0.1  # of a second: a mask counts whole frames
NOTHING = 0.01  # reward below which a term counts as not paid
COLUMNS = {"prompt": list, "audio": str, "label": int, "reference_length": (int, float)}


def check_rows(rows) -> list[Finding]:
    """The columns that rewards and trainer read, in rows made by `data.training_rows`."""
    first = rows[0]
    findings = {name: _column(first, name, kind) for name, kind in COLUMNS.items()}
    found = list(findings.values())
    if findings["label"].ok:
        others = sorted(set(rows["label"]) - {0, 1})
        if others:
            remedy = f"values other than 0 (not-entailed) and 1 (entailed): {others}"
            found.append(Finding("labels", False, remedy))
    if findings["prompt"].ok and not isinstance(first["prompt"][0]["content"], str):
        remedy = (
            "its content must be a plain string: the trainer adds the audio, and Arrow adds None "
            "keys to a list of parts"
        )
        found.append(Finding("prompt", False, remedy))
    return found


def _column(row: dict, name: str, kind) -> Finding:
    what = f"column {name}"
    if name not in row:
        return Finding(what, False, "missing: make the rows with data.training_rows")
    if name == "audio" and row[name] is None:
        return Finding(what, False, "None: these rows are text only, or were loaded without audio")
    if not isinstance(row[name], kind):
        remedy = (
            f"holds {row[name]!r:.40}, of the wrong type; make the rows with data.training_rows"
        )
        return Finding(what, False, remedy)
    return Finding(what, True)


def check_template(processor, row, *, audio) -> list[Finding]:
    """Whether the chat template leaves room for the audio.

    `row` is one of `data.training_rows`, `audio` its clip as a mono array at 16 kHz.
    """
    conversation = with_audio(row["prompt"], audio)
    (text,) = processor.apply_chat_template(
        [conversation], add_generation_prompt=True, tokenize=False
    )
    placeholders = text.count(processor.audio_token)
    if placeholders != 1:
        what = f"chat template: {placeholders} placeholders for one clip"
        remedy = "the template dropped the audio part; load it from the checkpoint"
        return [Finding(what, False, remedy)]
    batch = processor(text=text, audio=[audio], return_tensors="pt")
    tokens = int((batch["input_ids"] == processor.audio_token_id).sum())
    frames = torch.as_tensor(batch["feature_attention_mask"]).sum()
    encoded = int(audio_token_count(frames))
    what = f"chat template: {tokens} audio tokens for {len(audio) / SAMPLE_RATE:.1f} s of audio"
    return [Finding(what, tokens == encoded, f"the audio encoder makes {encoded} embeddings")]


def check_clips(processor, clips: dict) -> list[Finding]:
    """Whether a processor reads all of each clip, given by name as a path or an array at 16 kHz.

    Many cut what is longer than their limit (30 s for Whisper's own, 300 s for Qwen2.5-Omni's)
    without a word, and the model answers a question whose end it never got. A line for the clips
    that are read whole, and one for each of the others, by name.
    """
    cut = []
    for name, clip in clips.items():
        seconds, read = used_seconds(processor, clip)
        if read < seconds - TENTH:
            what = f"clip {name} has {seconds:.1f} s, and {read:.1f} s are read"
            cut.append(Finding(what, False, "leave it out, or take a processor that reads more"))
    whole = Finding(f"clips that are read whole: {len(clips) - len(cut)} of {len(clips)}", True)
    return [whole, *cut]


def check_rollouts(rollouts: list[dict]) -> list[Finding]:
    """Reward terms that rarely pay, zero-std groups, and the most frequent format fault.

    `rollouts` are the lines of a run's completions.jsonl.
    """
    names = reward_names(rollouts)
    findings = [_term(name, [rollout.get(name) for rollout in rollouts]) for name in names]
    findings.append(_zero_std_groups(rollouts))
    faults = Counter(format_fault(completion_text(r["completion"])) for r in rollouts)
    del faults[None]  # completions in the requested format
    if faults:
        fault, count = faults.most_common(1)[0]
        what = f"most frequent format fault: {fault} ({count} of {len(rollouts)})"
        findings.append(Finding(what, count < len(rollouts) / 2, "show the model the format"))
    return findings


def _term(name: str, given: list[float | None]) -> Finding:
    values = [value for value in given if value is not None]
    if not values:
        remedy = "it never applies; read its condition, and the columns that it looks at"
        return Finding(f"{name}: None for all {len(given)} completions", False, remedy)
    paid = sum(value > NOTHING for value in values) / len(values)
    taken = sum(value < -NOTHING for value in values) / len(values)
    mean, penalises = sum(values) / len(values), min(values) < 0
    what = f"pays for {paid:.0%} of the completions"
    if penalises:
        what = f"takes from {taken:.0%} of the completions"
        if paid:
            what = f"pays for {paid:.0%} of the completions, takes from {taken:.0%}"
    if len(values) < len(given):
        what += f" that it applies to ({len(values)} of {len(given)})"
    what = f"{name}: {what}, {mean:.2f} on average"
    if len(set(values)) == 1:
        return Finding(what, paid == 1, "constant, so it teaches nothing")
    if penalises and not paid:  # to take from few is what a penalty is for
        return Finding(what, True)
    if penalises:
        usual = Counter(values).most_common(1)[0][1] / len(values)
        return Finding(what, 1 - usual >= FEW, "almost always the same; read the completions")
    if paid:
        remedy = "too rare to learn from; read completions, or warm-start the model"
    else:
        remedy = (
            f"never above {max(values):.3f}; check the column that it compares with, "
            "then read completions"
        )
    return Finding(what, paid >= FEW, remedy)


def _zero_std_groups(rollouts: list[dict]) -> Finding:
    groups = [group for step in groups_of(rollouts).values() for group in step.values()]
    flat = sum(len({round(r["advantage"], 6) for r in group}) == 1 for group in groups)
    what = f"zero-std groups: {flat} of {len(groups)}"
    remedy = (
        "all completions of a question earn the same: no advantage, no gradient; if they earn "
        "much, read them: is the task solved, or the reward hacked?"
    )
    return Finding(what, flat < (1 - FEW) * len(groups), remedy)


def check_clipping(metrics: list[dict]) -> list[Finding]:
    """Completions that hit the token limit, from the lines of a run's metrics.jsonl."""
    share = sum(m["completions/clipped_ratio"] for m in metrics) / len(metrics)
    what = f"{share:.0%} of the completions were cut off at the token limit"
    remedy = "raise max_completion_length, or look for endless thoughts"
    return [Finding(what, share < FEW, remedy)]


def lora_norms(model) -> dict[str, float]:
    """Frobenius norm of each LoRA B matrix, by parameter name.

    They start at exactly 0: a norm of 0 means that no gradient has arrived at the layer. A norm
    above 0 means that one has, not that something useful was learned.
    """
    return {name: p.norm().item() for name, p in model.named_parameters() if "lora_B" in name}
