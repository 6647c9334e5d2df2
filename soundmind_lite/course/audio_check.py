"""Does a GRPO trainer score with the audio that it sampled with? A check for any of them.

Some trainers give the audio to `generate` and not to the pass that computes log-probs, or cut it
between the two. Nothing fails, and the reward may rise. `AudioCheck` scores a few completions of
each logged step once more by itself, in plain forward passes of one row: with the row's own audio,
with another row's and with none. What the trainer computed must equal the first.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from transformers import TrainerCallback

from .. import families
from ..audio import SAMPLE_RATE, load_audio
from ..prompts import audio_parts, with_audio
from ..runs.sampling import EXPLAINED, coarsest

FEW = 4  # rows of a step that are scored again, each three times
SMALL = 0.05  # of the audio's effect: a difference below this is taken for rounding, too
METRIC = "audio_check"


class AudioCheckWarning(UserWarning):
    """The trainer doesn't train on what it sampled from."""


@dataclass
class Conditions:
    """Log-probs (tokens,) of one completion under one model."""

    own: torch.Tensor  # with the row's own audio
    swapped: torch.Tensor  # with another clip, cut or repeated to the same length
    without: torch.Tensor  # with the placeholders alone


@dataclass
class Checked:
    """What one step showed; differences are mean absolute ones of log-probs, in nats a token."""

    step: int
    rows: int
    scored_minus_own: float  # the trainer's log-probs against those with the audio: should be 0
    scored_minus_without: float  # and against those without
    own_minus_swapped: float  # what the audio changes: should not be 0
    own_minus_without: float
    placeholders: tuple[int, int]  # in the trainer's prompts, and as the processor makes them

    def fault(self, rounding: float = EXPLAINED[torch.float32]) -> str:
        """What is wrong, or "" if nothing is; `rounding` is what the precision explains."""
        found, expected = self.placeholders
        if found != expected:
            what = f"the prompts hold {found} audio placeholders, and the audio makes {expected}"
            return f"{what}: a prompt or a clip was cut, or a placeholder was sampled"
        if self.own_minus_without <= rounding:
            return "the model's log-probs don't depend on the audio, whoever computes them"
        gap = self.scored_minus_own
        if self.scored_minus_without < gap:
            what = f"the trainer's log-probs are {gap:.2g} nats a token from those with the audio"
            return (
                f"{what} and {self.scored_minus_without:.2g} from those without: it scores without"
            )
        if gap > max(rounding, SMALL * self.own_minus_without):
            what = f"the trainer's log-probs are {gap:.2g} nats a token from those with the audio"
            return f"{what}, more than rounding explains: it scores other audio, or another policy"
        return ""


def encoded(model, processor, prompt: list[dict], clip: np.ndarray) -> dict[str, torch.Tensor]:
    """The model's inputs for one conversation with its clip, an array at 16 kHz."""
    try:
        return families.of(model.config).inputs(processor, [prompt], [clip])
    except families.FamilyError:  # of which nothing is known but what transformers usually does
        text = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        text = text if isinstance(text, str) else text[0]
        return dict(processor(text=text, audio=[clip], return_tensors="pt"))


@torch.no_grad()
def completion_log_probs(model, ids: torch.Tensor, tokens: int, **features) -> torch.Tensor:
    """Log-probs (tokens,) of the last `tokens` of a sequence (length,), in one forward pass."""
    ids = ids[None]
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **features).logits
    before = logits[0, -tokens - 1 : -1].float().log_softmax(-1)
    return before.gather(1, ids[0, -tokens:, None])[:, 0]


def by_audio(model, processor, prompt, clip, other, ids, tokens: int) -> tuple[Conditions, int]:
    """A completion's log-probs under the three conditions, and the prompt's audio placeholders.

    `prompt` is a conversation with an audio part, `clip` and `other` are mono arrays at 16 kHz,
    `ids` (length,) the prompt's tokens and then the completion's, of which there are `tokens`. If
    they hold other numbers of placeholders than the prompt, the log-probs are NaN: transformers
    would refuse the audio, or misplace it.
    """
    dtype, device = next(model.parameters()).dtype, ids.device
    marker = audio_token(model)
    placeholders = int((encoded(model, processor, prompt, clip)["input_ids"] == marker).sum())
    if placeholders != int((ids == marker).sum()):
        return Conditions(*[torch.full((tokens,), torch.nan, device=device)] * 3), placeholders
    found = []
    for audio in (clip, np.resize(other, len(clip))):
        fields = encoded(model, processor, prompt, audio)
        features = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in fields.items()
            if name not in ("input_ids", "attention_mask")
        }
        found.append(completion_log_probs(model, ids, tokens, **features))
    return Conditions(*found, completion_log_probs(model, ids, tokens)), placeholders


def audio_token(model) -> int:
    """The id of a model's audio placeholder, under whichever name its configuration has it."""
    config = getattr(model, "config", None)
    for name in ("audio_token_id", "audio_token_index"):
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    raise ValueError(f"{type(config).__name__} names no audio placeholder")


class AudioCheck(TrainerCallback):
    """A callback for a GRPOTrainer, TRL's own or one derived from it.

        trainer.add_callback(check := AudioCheck(trainer))

    `steps` holds a `Checked` for every logged step, and the trainer's log has its numbers under
    `audio_check/`. The first step with a fault warns. A row's audio is in its column `audio` or in
    its prompt; rows without audio, and those with several clips, aren't checked.
    """

    def __init__(self, trainer):
        self.trainer = trainer
        self.steps: list[Checked] = []
        self._sampled: dict[tuple, tuple] = {}  # (prompt, clip, another clip) by a row's tokens
        self._found: list[tuple] = []  # of each row that was scored: see `_compare`
        self._score = trainer._get_per_token_logps_and_entropies
        self._sample = trainer._generate_and_score_completions
        trainer._get_per_token_logps_and_entropies = self._scored
        trainer._generate_and_score_completions = self._generated

    def _generated(self, inputs):
        output = self._sample(inputs)
        self._sampled = {}
        if not self.trainer.model.training:
            return output
        rows = [(i, *with_its_clip(row)) for i, row in enumerate(inputs)]
        rows = [row for row in rows if row[2] is not None]
        step = max(1, len(rows) // FEW)
        for place, (i, prompt, clip) in enumerate(rows):
            if place % step == 0 and len(self._sampled) < FEW:
                others = [other for _, _, other in rows if not np.array_equal(other, clip)]
                other = others[0] if others else clip[::-1].copy()
                names = ("prompt_ids", "completion_ids"), ("prompt_mask", "completion_mask")
                ids, mask = (torch.cat([output[name][i] for name in pair]) for pair in names)
                tokens = int(output["completion_mask"][i].sum())
                key = tuple(ids[mask.bool()].tolist())
                self._sampled.setdefault(key, (prompt, clip, other, tokens))
        return output

    def _scored(self, model, input_ids, attention_mask, logits_to_keep, *args, **kwargs):
        scored = self._score(model, input_ids, attention_mask, logits_to_keep, *args, **kwargs)
        if torch.is_grad_enabled() and self._sampled:
            for ids, mask, log_probs in zip(input_ids, attention_mask, scored[0]):
                row = ids[mask.bool()]
                known = self._sampled.pop(tuple(row.tolist()), None)
                if known is not None:
                    kept = mask[-logits_to_keep:].bool()
                    self._compare(row, log_probs.detach()[kept], *known)
        return scored

    def _compare(self, ids, scored, prompt, clip, other, tokens) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        training = model.training
        model.eval()
        found, expected = by_audio(
            model, self.trainer.processing_class, prompt, clip, other, ids, tokens
        )
        model.train(training)
        placeholders = int((ids == audio_token(model)).sum())
        pairs = (
            (scored, found.own),
            (scored, found.without),
            (found.own, found.swapped),
            (found.own, found.without),
        )
        gaps = [(a.float() - b).abs().mean().item() for a, b in pairs]
        self._found.append((gaps, placeholders, expected))

    def on_step_end(self, args, state, control, **_):
        if not self._found:
            return
        gaps, found, expected = zip(*self._found)
        means = [sum(values) / len(values) for values in zip(*gaps)]
        counts = (sum(found), sum(expected))
        checked = Checked(state.global_step, len(gaps), *means, counts)
        self._found = []
        self.steps.append(checked)
        for name in ("scored_minus_own", "own_minus_swapped", "own_minus_without"):
            self.trainer._metrics["train"][f"{METRIC}/{name}"].append(getattr(checked, name))
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        rounding = EXPLAINED[coarsest(model, self.trainer.accelerator.mixed_precision)]
        fault = checked.fault(rounding)
        if fault and not any(before.fault(rounding) for before in self.steps[:-1]):
            warnings.warn(f"step {checked.step}: {fault}", AudioCheckWarning, stacklevel=2)


def with_its_clip(row: dict) -> tuple[list[dict], np.ndarray | None]:
    """A row's conversation with its audio as a part, and its clip; None without exactly one."""
    prompt = with_audio(row["prompt"], row.get("audio"))
    parts = audio_parts([prompt])
    if len(parts) != 1:
        return prompt, None
    clip = next(
        parts[0][name] for name in ("audio", "path", "url") if parts[0].get(name) is not None
    )
    return prompt, load_audio(clip)


def used_seconds(processor, clip) -> tuple[float, float]:
    """Seconds of a clip, and those that the processor's features cover: less if it was cut.

    Whisper's feature extractor cuts what is longer than its `chunk_length`, 30 or 300 seconds,
    without a word. `clip` is a path or a mono array at 16 kHz.
    """
    audio = load_audio(clip)
    family = families.of_processor(processor)
    if family.one_by_one:  # no feature extractor of Whisper's, or one that gets its windows
        seconds = len(audio) / SAMPLE_RATE
        return seconds, min(seconds, family.max_seconds(processor))
    extractor = processor.feature_extractor
    found = extractor(
        audio, sampling_rate=SAMPLE_RATE, return_attention_mask=True, return_tensors="np"
    )
    frames = int(found["attention_mask"].sum())
    return len(audio) / SAMPLE_RATE, frames * extractor.hop_length / SAMPLE_RATE
