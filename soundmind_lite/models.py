"""Loads a profile's thinker and its audio-only processor.

The thinker of Qwen2.5-Omni hears and writes text; the talker, which speaks, is not needed to train it. The processor leaves out
the image and video halves of `Qwen2_5OmniProcessor` (they need torchvision) and reads and writes the same files otherwise.
"""
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from transformers import ProcessorMixin, Qwen2_5OmniProcessor, Qwen2_5OmniThinkerForConditionalGeneration

from . import profiles
from .fast.features import WhisperFeatureExtractor
from .profiles import Profile
from .prompts import audio_parts

TOKENS = ("image_token", "audio_token", "video_token", "vision_bos_token", "vision_eos_token", "audio_bos_token", "audio_eos_token")
# A checkpoint is data. Code that lies beside it is never run, without asking; weights that are pickles, which can hold code, are not read.
NO_CODE = {"trust_remote_code": False}
WEIGHTS_ONLY = NO_CODE | {"use_safetensors": True}
AUDIO_FIELDS = ("input_features", "feature_attention_mask")


class NoProbabilities(RuntimeError):
    """A model whose outputs are NaN or infinite, so that nothing can be sampled from it."""


class CheckpointError(OSError):
    """A checkpoint that doesn't hold what the thinker needs."""


@contextmanager
def samples_from_numbers(where: str):
    """Within it a model samples; NoProbabilities, saying where, in place of torch's words for outputs that are no numbers."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise NoProbabilities(f"{where}: the model's outputs are NaN or infinite, so nothing can be sampled; go back to weights that worked") from error


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


def encoded(processor, conversations: list[list[dict]], device) -> dict[str, torch.Tensor]:
    """One batch of conversations (arrays as sound) as the thinker's inputs, padded on the left."""
    texts = processor.apply_chat_template(conversations, add_generation_prompt=True, tokenize=False)
    clips = [part["audio"] for part in audio_parts(conversations)]
    batch = processor(text=texts, audio=clips or None, padding=True, return_tensors="pt")
    if AUDIO_FIELDS[0] in batch:
        batch.update(zip(AUDIO_FIELDS, used_frames(*(batch[name] for name in AUDIO_FIELDS))))
    return {name: tensor.to(device) for name, tensor in batch.items()}


def load_processor(path: str | Path, audio_seconds: float) -> AudioProcessor:
    """The processor of a checkpoint, padding clips to `audio_seconds` instead of the checkpoint's own (300 s for the 7B), with features that are remembered."""
    processor = AudioProcessor.from_pretrained(path, **NO_CODE)
    extractor = processor.feature_extractor = WhisperFeatureExtractor(**processor.feature_extractor.to_dict())
    extractor.chunk_length = int(-(-audio_seconds // 1))
    extractor.n_samples = extractor.chunk_length * extractor.sampling_rate
    extractor.nb_max_frames = extractor.n_samples // extractor.hop_length
    return processor


def load(profile: Profile | str):
    """`(model, processor)` of a profile: the thinker alone, in evaluation mode, on the GPU if there is one, and its audio-only processor.

    A full Qwen2.5-Omni checkpoint works too; its talker is left out. Raises ValueError for an unknown profile name, OSError if the
    checkpoint is not there, ImportError if 4-bit weights are wanted and bitsandbytes is missing, and CheckpointError if weights of the thinker are
    NaN or infinite, or missing in the checkpoint: transformers would fill them with random numbers and only warn.
    """
    profile = profiles.get(profile) if isinstance(profile, str) else profile
    if profile.threads:
        torch.set_num_threads(profile.threads)
    processor = load_processor(profile.model, profile.max_audio_seconds)
    model, report = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        profile.model, dtype=getattr(torch, profile.dtype), quantization_config=quantisation(profile), output_loading_info=True,
        **WEIGHTS_ONLY,
    )
    if lacking := sorted(report["missing_keys"]):
        parts = sorted({".".join(name.split(".")[:2]) for name in lacking})
        raise CheckpointError(f"{profile.model} lacks {len(lacking)} weights of the thinker, in {', '.join(parts)}; first {lacking[0]}")
    model = model if profile.four_bit else model.to("cuda" if torch.cuda.is_available() else "cpu")
    if broken := [name for name, weights in model.named_parameters() if weights.is_floating_point() and not weights.isfinite().all()]:
        raise CheckpointError(f"{profile.model} holds NaN or infinite weights in {len(broken)} places, first {broken[0]}; fetch it again")
    return model.eval(), processor


def quantisation(profile: Profile, full: bool = False):
    """NF4 weights with double quantisation for the language model of a 4-bit profile, else None. `full`: for a checkpoint loaded with its talker.

    The towers and the head keep their precision: the ear is small and frozen, and errors in the head hit every token; so does all that speaks. The
    names are whole ones; "audio_tower" alone would match nothing, and the tower would be quantised without a word.
    """
    if not profile.four_bit:
        return None
    from transformers import BitsAndBytesConfig

    kept = ["model.audio_tower", "model.visual", "lm_head"]
    if full:
        kept = [*(f"thinker.{name}" for name in kept), "talker", "token2wav"]
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=getattr(torch, profile.dtype),
        llm_int8_skip_modules=kept,
    )
