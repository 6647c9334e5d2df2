""""Why is my reward 0?" Reads the rows, the prompt and the rollouts of a run, and says what is wrong and what to do."""
from collections import Counter

import torch

from ..audio import SAMPLE_RATE
from ..scale.doctor import Finding
from .explain import format_fault
from ..models import audio_token_count
from ..prompts import with_audio
from ..runs.report import groups_of
from ..rewards import completion_text

FEW = 0.1  # a share below which a reward term, or a group with variance, counts as too rare to learn from
NOTHING = 0.01  # points below which a term does not pay


def check_rows(rows) -> list[Finding]:
    """The columns that the rewards and the trainer read, in rows made by `data.training_rows`."""
    needed = {"prompt": list, "audio": str, "label": int, "reference_length": (int, float)}
    findings, first = [], rows[0]
    for name, kind in needed.items():
        if name not in first:
            findings.append(Finding(f"column {name}", False, "missing: make the rows with data.training_rows"))
        elif name == "audio" and first[name] is None:
            findings.append(Finding("column audio", False, "None: these rows are text only, or were loaded without sound"))
        elif not isinstance(first[name], kind):
            findings.append(Finding(f"column {name}", False, f"holds {first[name]!r:.40}, of the wrong type; make the rows with data.training_rows"))
        else:
            findings.append(Finding(f"column {name}", True))
    if findings[2].ok and (wrong := Counter(rows["label"]).keys() - {0, 1}):
        findings.append(Finding("labels", False, f"{sorted(wrong)} stand beside 0 (not-entailed) and 1 (entailed)"))
    if findings[0].ok and not isinstance(first["prompt"][0]["content"], str):
        findings.append(Finding("prompt", False, "its content must be a plain string; the trainer adds the sound, Arrow would spoil it"))
    return findings


def check_template(processor, row, audio) -> list[Finding]:
    """Does the chat template leave room for the sound? `row` as from `data.training_rows`, `audio` its clip as an array."""
    text = processor.apply_chat_template([with_audio(row["prompt"], audio)], add_generation_prompt=True, tokenize=False)[0]
    if (found := text.count(processor.audio_token)) != 1:
        return [Finding(f"chat template: {found} placeholders for one clip", False, "the template dropped the audio part; load it from the checkpoint")]
    batch = processor(text=text, audio=[audio], return_tensors="pt")
    tokens = int((batch["input_ids"] == processor.audio_token_id).sum())
    fits = tokens == int(audio_token_count(torch.as_tensor(batch["feature_attention_mask"]).sum()))
    return [Finding(f"chat template: {tokens} audio tokens for {len(audio) / SAMPLE_RATE:.1f} s of sound", fits, "not as many as the audio tower makes")]


def check_rollouts(rollouts: list[dict]) -> list[Finding]:
    """Reward terms that rarely pay, groups without variance, and the most frequent fault of the format (lines of completions.jsonl)."""
    findings = []
    for name in (key for key in rollouts[0] if key.endswith("_reward")):
        values = [r[name] for r in rollouts]
        paid, constant = sum(v > NOTHING for v in values) / len(values), len(set(values)) == 1
        what = f"{name}: pays for {paid:.0%} of the completions, {sum(values) / len(values):.2f} on average"
        remedy = "constant, so it teaches nothing" if constant else f"never above {max(values):.3f}; check the column that it compares with, then read completions"
        if not constant and paid:
            remedy = "too rare to learn from; read completions, or warm-start the model"
        findings.append(Finding(what, paid >= FEW and not (constant and paid < 1), remedy))
    groups = [group for step in groups_of(rollouts).values() for group in step.values()]
    flat = sum(len({round(r["advantage"], 6) for r in group}) == 1 for group in groups)
    what = f"{flat} of {len(groups)} groups without variance"
    findings.append(Finding(what, flat < (1 - FEW) * len(groups), "all completions of a question earn the same: no advantage, no gradient"))
    faults = Counter(fault for r in rollouts if (fault := format_fault(completion_text(r["completion"]))))
    if faults:
        (fault, count), *_ = faults.most_common(1)
        findings.append(Finding(f"most frequent fault of the format: {fault} ({count} of {len(rollouts)})", count < len(rollouts) / 2, "show the model the format"))
    return findings


def check_clipping(metrics: list[dict]) -> list[Finding]:
    """Completions that ran into the token limit before they ended, from metrics.jsonl."""
    share = sum(m["completions/clipped_ratio"] for m in metrics) / len(metrics)
    return [Finding(f"{share:.0%} of the completions were cut off at the token limit", share < FEW, "raise max_completion_tokens, or look for endless thoughts")]


def lora_norms(model) -> dict[str, float]:
    """Frobenius norm of each LoRA B matrix. They start at exactly 0, so a norm of 0 means that a layer hasn't moved."""
    return {name: p.norm().item() for name, p in model.named_parameters() if "lora_B" in name}
