"""Qwen2.5-Omni's own talker: text and speech from the full model. Only full checkpoints have one; tiny_omni hasn't, and its answers are read by a voice.

Tried on a CPU with a tiny full model of random weights, which goes through the whole path (thinker, talker, token2wav) and speaks noise. On the published
checkpoints: not run.
"""
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, Qwen2_5OmniForConditionalGeneration

from .models import AUDIO_FIELDS, AudioProcessor, CheckpointError, load_processor, used_frames
from .profiles import Profile
from .prompts import audio_parts

RATE = 24_000  # Hz of token2wav's waveform
SAMPLES_PER_CODE = 480  # each code of the talker is 20 ms of sound


def load_full(profile: Profile) -> tuple[Qwen2_5OmniForConditionalGeneration, AudioProcessor]:
    """`(model, processor)` of a full checkpoint, talker included. CheckpointError if the checkpoint is a thinker alone, or lacks its voices (`spk_dict.pt`)."""
    if not hasattr(AutoConfig.from_pretrained(profile.model), "talker_config"):  # or transformers would make up a talker of full size
        raise CheckpointError(f"{profile.model} is no full checkpoint: it holds a thinker alone")
    model = Qwen2_5OmniForConditionalGeneration.from_pretrained(profile.model, dtype=getattr(torch, profile.dtype))
    if not getattr(model, "speaker_map", None):
        raise CheckpointError(f"{profile.model} has no voice: spk_dict.pt must lie beside the weights of {Path(profile.model).name}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.eval().to(device), load_processor(profile.model, profile.max_audio_seconds)


@torch.no_grad()
def answer_in_speech(
    model, processor, conversation: list[dict], max_new_tokens: int, max_codes: int = 4096, speaker: str | None = None,
) -> tuple[str, np.ndarray, int]:
    """The answer to one conversation as text, as a float32 waveform, and the waveform's rate in Hz. The text is greedy.

    `speaker` is a voice of the checkpoint (default: its first). Raises ValueError for a voice that it doesn't have.
    """
    voices = list(model.speaker_map)
    if speaker is not None and speaker not in voices:
        raise ValueError(f"there is no voice {speaker!r}; choose one of {', '.join(voices)}")
    text = processor.apply_chat_template([conversation], add_generation_prompt=True, tokenize=False)
    clips = [part["audio"] for part in audio_parts([conversation])]
    batch = processor(text=text, audio=clips or None, return_tensors="pt")
    if AUDIO_FIELDS[0] in batch:
        batch.update(zip(AUDIO_FIELDS, used_frames(*(batch[name] for name in AUDIO_FIELDS))))
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    ids, waveform = model.generate(
        **batch, generation_mode="audio", speaker=speaker or voices[0], thinker_max_new_tokens=max_new_tokens, thinker_do_sample=False,
        talker_max_new_tokens=max_codes,
    )
    written = processor.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)[0]
    return written, waveform.reshape(-1).float().cpu().numpy(), RATE
