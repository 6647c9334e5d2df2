"""The thinker of a profile and its audio-only processor.

The thinker of Qwen2.5-Omni takes audio and writes text; the talker, which speaks, is not needed
to train it. The processor leaves out the image and video halves of `Qwen2_5OmniProcessor`, which
need torchvision, and otherwise reads and writes the same files.
"""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    ProcessorMixin,
    Qwen2_5OmniProcessor,
    Qwen2_5OmniThinkerForConditionalGeneration,
)

from . import profiles
from .profiles import Profile
from .prompts import audio_parts

# A checkpoint is data: code beside it is never run, and pickles, which can hold code, aren't read.
NO_CODE = {"trust_remote_code": False}
WEIGHTS_ONLY = NO_CODE | {"use_safetensors": True}
AUDIO_FIELDS = ("input_features", "feature_attention_mask")  # (clips, 128, frames), (clips, frames)
PLACEHOLDERS = ("image_token", "audio_token", "video_token")
MARKERS = ("vision_bos_token", "vision_eos_token", "audio_bos_token", "audio_eos_token")


class CheckpointError(OSError):
    """A checkpoint that doesn't hold what the thinker needs."""


class AudioProcessor(Qwen2_5OmniProcessor):
    """`Qwen2_5OmniProcessor` for text and audio alone."""

    def __init__(self, feature_extractor=None, tokenizer=None, chat_template=None):
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, chat_template=chat_template)
        for name in PLACEHOLDERS + MARKERS:
            setattr(self, name, getattr(tokenizer, name))
        for name in PLACEHOLDERS:
            setattr(self, f"{name}_id", getattr(tokenizer, f"{name}_id"))

    @property
    def model_input_names(self) -> list[str]:
        names = self.tokenizer.model_input_names + self.feature_extractor.model_input_names
        return [*names, "feature_attention_mask"]


def audio_token_count(frames):
    """Audio tokens of a number of mel frames: 100 frames and about 25 tokens a second.

    Two layers of the audio encoder halve the length, each in its own way of rounding.
    """
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def placeholder_ids(config) -> list[int]:
    """Token ids that stand for audio or pictures.

    A sampled one would misalign placeholders and features, so none of them may be sampled.
    """
    names = ("audio", "audio_start", "audio_end", "image", "video")
    return sorted(getattr(config, f"{name}_token_id") for name in names)


def max_audio_seconds(processor) -> float:
    """The longest clip that the processor takes; it would cut anything longer silently."""
    return processor.feature_extractor.n_samples / processor.feature_extractor.sampling_rate


def used_frames(features, mask) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (clips, 128, frames) and mask (clips, frames) without the frames that are padding in
    every clip; the audio encoder's output is the same."""
    mask = torch.as_tensor(np.asarray(mask)).long()
    frames = int(mask.sum(-1).max())
    return torch.as_tensor(np.asarray(features))[:, :, :frames], mask[:, :frames]


def encoded(processor, conversations: list[list[dict]], *, device) -> dict[str, torch.Tensor]:
    """One batch of conversations, with arrays as audio, as the thinker's left-padded inputs."""
    texts = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
    clips = [part["audio"] for part in audio_parts(conversations)]
    batch = processor(text=texts, audio=clips or None, padding=True, return_tensors="pt")
    if clips:
        batch.update(zip(AUDIO_FIELDS, used_frames(*(batch[name] for name in AUDIO_FIELDS))))
    return {name: tensor.to(device) for name, tensor in batch.items()}


def load(profile: Profile | str):
    """`(model, processor)` of a profile, the model in evaluation mode, on the GPU if there is one.

    Raises ValueError for an unknown profile, ImportError if 4-bit weights are wanted and
    bitsandbytes is missing, and what `load_thinker` raises.
    """
    profile = profiles.get(profile)
    if profile.num_threads:
        torch.set_num_threads(profile.num_threads)
    processor = load_processor(profile.model, profile.max_audio_seconds)
    dtype = getattr(torch, profile.dtype)
    quantization = quantization_config(profile)
    model = load_thinker(profile.model, dtype=dtype, quantization_config=quantization)
    if not profile.load_in_4bit:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval(), processor


def load_thinker(path: str | Path, **options):
    """The thinker of a checkpoint, also of a full Qwen2.5-Omni, whose talker is left out.

    `options` are those of `from_pretrained`. Raises OSError if there is no checkpoint, and
    CheckpointError if a parameter of the thinker is NaN, infinite or missing: transformers would
    fill it with random numbers and only warn.
    """
    model, report = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        path, output_loading_info=True, **WEIGHTS_ONLY, **options
    )
    if missing := sorted(report["missing_keys"]):
        parts = ", ".join(sorted({".".join(name.split(".")[:2]) for name in missing}))
        what = f"{len(missing)} parameters of the thinker, in {parts}; first {missing[0]}"
        raise CheckpointError(f"{path} lacks {what}")
    if broken := [name for name, value in model.named_parameters() if not _is_finite(value)]:
        what = f"NaN or infinite values in {len(broken)} parameters, first {broken[0]}"
        raise CheckpointError(f"{path} holds {what}; fetch it again")
    return model


def _is_finite(values: torch.Tensor) -> bool:
    return not values.is_floating_point() or bool(values.isfinite().all())


def load_processor(path: str | Path, max_audio_seconds: float | None = None) -> AudioProcessor:
    """The processor of a checkpoint, for clips of up to `max_audio_seconds`.

    Every clip is padded to the limit: the less it is, the less memory that takes. The default is
    the checkpoint's own limit, 300 s for the 7B.
    """
    from .fast.features import WhisperFeatureExtractor  # the same features, remembered

    processor = AudioProcessor.from_pretrained(path, **NO_CODE)
    extractor = WhisperFeatureExtractor(**processor.feature_extractor.to_dict())
    if max_audio_seconds is not None:
        extractor.chunk_length = int(-(-max_audio_seconds // 1))
        extractor.n_samples = extractor.chunk_length * extractor.sampling_rate
        extractor.nb_max_frames = extractor.n_samples // extractor.hop_length
    processor.feature_extractor = extractor
    return processor


def quantization_config(profile: Profile, *, full: bool = False):
    """NF4 with double quantisation for the language model of a 4-bit profile, else None.

    The audio encoder and the head keep their precision: the encoder is small and frozen, and an
    error in the head affects every token. `full` is for a checkpoint loaded with its talker, whose
    speech parts keep theirs, too. The names must be complete ones: "audio_tower" alone would match
    nothing, and the encoder would be quantised silently.
    """
    if not profile.load_in_4bit:
        return None
    from transformers import BitsAndBytesConfig

    kept = ["model.audio_tower", "model.visual", "lm_head"]
    if full:
        kept = [*(f"thinker.{name}" for name in kept), "talker", "token2wav"]
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, profile.dtype),
        llm_int8_skip_modules=kept,
    )
