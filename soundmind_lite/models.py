"""Loads a profile's thinker and its audio-only processor.

The thinker of Qwen2.5-Omni hears and writes text; the talker, which speaks, is not needed to train it. The processor leaves out
the image and video halves of `Qwen2_5OmniProcessor` (they need torchvision) and reads and writes the same files otherwise.
"""
from pathlib import Path

import numpy as np
import torch
from transformers import ProcessorMixin, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from . import profiles
from .profiles import Profile

TOKENS = ("image_token", "audio_token", "video_token", "vision_bos_token", "vision_eos_token", "audio_bos_token", "audio_eos_token")
AUDIO_FIELDS = ("input_features", "feature_attention_mask")


class AudioProcessor(Qwen2_5OmniProcessor):
    """`Qwen2_5OmniProcessor` for text and sound alone."""

    def __init__(self, feature_extractor=None, tokenizer=None, chat_template=None):
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, chat_template=chat_template)
        for name in TOKENS:
            setattr(self, name, getattr(tokenizer, name))
        for name in ("image_token", "audio_token", "video_token"):
            setattr(self, f"{name}_id", getattr(tokenizer, f"{name}_id"))

    @property
    def model_input_names(self) -> list[str]:
        return [*self.tokenizer.model_input_names, *self.feature_extractor.model_input_names, "feature_attention_mask"]


def audio_token_count(frames):
    """Audio tokens for a number of mel frames (100 frames and about 25 tokens a second): two strided layers of the encoder."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def placeholder_ids(config) -> list[int]:
    """Token ids that stand for sound or pictures; a model that samples one would desynchronise its features, so none may be sampled."""
    names = ("audio_token_id", "audio_start_token_id", "audio_end_token_id", "image_token_id", "video_token_id")
    return sorted(getattr(config, name) for name in names)


def max_audio_seconds(processor) -> float:
    """The longest clip that the processor takes whole; anything longer it would cut without a word."""
    return processor.feature_extractor.n_samples / processor.feature_extractor.sampling_rate


def used_frames(features, mask):
    """Features (clips, 128, frames) and mask without the frames that are padding in every clip; the encoder's output is the same."""
    mask = torch.as_tensor(np.asarray(mask)).long()
    frames = int(mask.sum(-1).max())
    return torch.as_tensor(np.asarray(features))[:, :, :frames], mask[:, :frames]


def load_processor(path: str | Path, audio_seconds: float) -> AudioProcessor:
    """The processor of a checkpoint, padding clips to `audio_seconds` instead of the checkpoint's own (300 s for the 7B)."""
    processor = AudioProcessor.from_pretrained(path)
    extractor = processor.feature_extractor
    extractor.chunk_length = int(-(-audio_seconds // 1))
    extractor.n_samples = extractor.chunk_length * extractor.sampling_rate
    extractor.nb_max_frames = extractor.n_samples // extractor.hop_length
    return processor


def load(profile: Profile | str):
    """`(model, processor)` of a profile: the thinker alone, in evaluation mode, on the GPU if there is one, and its audio-only processor.

    A full Qwen2.5-Omni checkpoint works too; its talker is left out. Raises ValueError for an unknown profile name, OSError if the
    checkpoint is not there, and NotImplementedError for 4-bit profiles.
    """
    profile = profiles.get(profile) if isinstance(profile, str) else profile
    if profile.four_bit:
        raise NotImplementedError(f"the profile {profile.name!r} wants 4-bit weights, which this version can't load yet; use 80gb or tiny")
    if profile.threads:
        torch.set_num_threads(profile.threads)
    processor = load_processor(profile.model, profile.max_audio_seconds)
    model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(profile.model, dtype=getattr(torch, profile.dtype))
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu"), processor
