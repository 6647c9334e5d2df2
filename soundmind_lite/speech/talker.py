"""Qwen2.5-Omni's own talker: text and speech from the full model. Only full checkpoints have one; tiny_omni hasn't, and hibari-tts reads its answers.

The talker speaks from the thinker's hidden states, so the thinker writes a completion that was sampled before once more, token by token, before it is
spoken. Tried on a CPU with a tiny full model of random weights, which goes through the whole path (thinker, talker, token2wav) and speaks noise. On the
published checkpoints: not run.
"""
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from transformers import AutoConfig, Qwen2_5OmniForConditionalGeneration

from .. import models
from ..audio import load_audio
from ..models import AudioProcessor, CheckpointError, encoded, load_processor
from ..profiles import Profile
from ..prompts import with_audio
from .spoken import CASCADE, Speech, measured, spoken_text

RATE = 24_000  # Hz of token2wav's waveform
SAMPLES_PER_CODE = 480  # each code of the talker is 20 ms of sound
MAX_CODES = 240 * RATE // SAMPLES_PER_CODE  # four minutes, as for the other voice


class TooShort(ValueError):
    """A text that the talker can't begin to speak."""


def has_talker(profile: Profile) -> bool:
    """Is the profile's checkpoint a full one?"""
    return hasattr(AutoConfig.from_pretrained(profile.model, **models.NO_CODE), "talker_config")


def load_full(profile: Profile) -> tuple[Qwen2_5OmniForConditionalGeneration, AudioProcessor]:
    """`(model, processor)` of a full checkpoint, talker included. CheckpointError if the checkpoint is a thinker alone, or lacks its voices (`spk_dict.pt`)."""
    if not has_talker(profile):  # or transformers would make up a talker of full size
        raise CheckpointError(f"{profile.model} is no full checkpoint: it holds a thinker alone")
    try:
        model = Qwen2_5OmniForConditionalGeneration.from_pretrained(
            profile.model, dtype=getattr(torch, profile.dtype), quantization_config=models.quantisation(profile, full=True), **models.WEIGHTS_ONLY,
        )
    except UnpicklingError as error:  # the one pickle that is read, and nothing but tensors from it
        raise CheckpointError(f"{profile.model}: spk_dict.pt holds more than tensors, which can be code; get the checkpoint from its publisher") from error
    if not getattr(model, "speaker_map", None):
        raise CheckpointError(f"{profile.model} has no voice: spk_dict.pt must lie beside the weights of {Path(profile.model).name}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return (model if profile.four_bit else model.to(device)).eval(), load_processor(profile.model, profile.max_audio_seconds)


@torch.no_grad()
def answer_in_speech(
    model, processor, conversation: list[dict], max_new_tokens: int, max_codes: int = MAX_CODES, speaker: str | None = None, written: str | None = None,
) -> tuple[str, np.ndarray, int]:
    """The answer to one conversation as text, as a float32 waveform, and the waveform's rate in Hz. The text is greedy, or `written` if given.

    `speaker` is a voice of the checkpoint (default: its first). Raises ValueError for a voice that it doesn't have, and TooShort for a text of one
    token: the talker begins with the second.
    """
    voices = list(model.speaker_map)
    if speaker is not None and speaker not in voices:
        raise ValueError(f"there is no voice {speaker!r}; choose one of {', '.join(voices)}")
    batch = encoded(processor, [conversation], model.device)
    start, forced = batch["input_ids"].shape[1], {}
    if written is not None:
        ids = [*processor.tokenizer(written, split_special_tokens=True).input_ids, processor.tokenizer.eos_token_id]
        if len(ids) < 3:
            raise TooShort(f"the talker can't speak {written!r}: it needs two tokens or more")
        forced = dict(thinker_prefix_allowed_tokens_fn=lambda row, so_far: [ids[len(so_far) - start]])
        max_new_tokens = len(ids)
    sequence, waveform = model.generate(
        **batch, generation_mode="audio", speaker=speaker or voices[0], thinker_max_new_tokens=max_new_tokens, thinker_do_sample=False,
        talker_max_new_tokens=max_codes, talker_min_new_tokens=2, **forced,  # no code at all would be no sound, and an error
    )
    said = processor.tokenizer.batch_decode(sequence[:, start:], skip_special_tokens=True)[0]
    return said, waveform.reshape(-1).float().cpu().numpy(), RATE


class Talker:
    """The voice of a full model, as `spoken.Voice` wants it. The thinker inside may be in training: what speaks is the policy as it is now."""

    def __init__(self, model, processor, speaker: str | None = None, max_codes: int = MAX_CODES):
        self.model, self.processor, self.max_codes = model, processor, max_codes
        self.speaker = speaker or next(iter(model.speaker_map))
        self.name = f"Qwen2.5-Omni's talker, voice {self.speaker}"

    def __call__(self, completions: list[str], hear: str | None = None, *, prompts: list[list[dict]], **columns) -> list[Speech | None]:
        """`prompts` are conversations as the trainer makes them, with paths or 16 kHz arrays as sound."""
        thinker = self.model.thinker
        was_training = thinker.training
        thinker.eval()  # in training, gradient checkpointing would switch the cache off
        try:
            with torch.random.fork_rng():  # the talker samples; the random numbers of the training around it stay where they are
                torch.manual_seed(0)
                return [self._spoken(prompt, text, hear) for prompt, text in zip(prompts, completions, strict=True)]
        finally:
            thinker.train(was_training)

    def _spoken(self, conversation: list[dict], text: str, hear: str | None) -> Speech | None:
        if not spoken_text(text):
            return None
        heard = [{**m, "content": [_loaded(part) for part in m["content"]]} for m in with_audio(conversation, None)]
        try:
            _, waveform, rate = answer_in_speech(self.model, self.processor, heard, 0, self.max_codes, self.speaker, written=text)
        except TooShort:
            return None
        if len(waveform) >= self.max_codes * SAMPLES_PER_CODE:  # it was cut off in the middle
            return None
        return measured(spoken_text(text), waveform, rate, hear)


def _loaded(part: dict) -> dict:
    return {**part, "audio": load_audio(part["audio"])} if part["type"] == "audio" and isinstance(part["audio"], str) else part


def load_with_voice(profile: Profile, speaks: bool = True):
    """`(model, processor, voice)`: the thinker of a profile, and its own talker if the checkpoint has one, else `spoken.CASCADE`; None if it needn't speak."""
    if not speaks:
        return *models.load(profile), None
    if not has_talker(profile):
        return *models.load(profile), CASCADE
    full, processor = load_full(profile)
    return full.thinker, processor, Talker(full, processor)
