"""The thinker of a profile and its audio-only processor.

The thinker of Qwen2.5-Omni takes audio and writes text; the talker, which speaks, is not needed
to train it. The processor leaves out the image and video halves of `Qwen2_5OmniProcessor`, which
need torchvision, and otherwise reads and writes the same files. Models of other `families` are
loaded by the same functions.
"""

from pathlib import Path

import torch
import transformers
from transformers import ProcessorMixin, Qwen2_5OmniProcessor

from . import profiles
from .profiles import Profile

# A checkpoint is data: code beside it is never run, and pickles, which can hold code, aren't read.
NO_CODE = {"trust_remote_code": False}
WEIGHTS_ONLY = NO_CODE | {"use_safetensors": True}
AUDIO_FIELDS = ("input_features", "feature_attention_mask")  # (clips, 128, frames), (clips, frames)
# Complete names: "audio_tower" alone would match nothing, and the encoder would be quantised.
KEPT_MODULES = ("model.audio_tower", "model.visual", "lm_head")
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
    """Audio tokens of a number of mel frames: about 25 for the 100 frames of a second."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def placeholder_ids(config) -> list[int]:
    """Token ids that stand for audio or pictures; a sampled one would misalign the features."""
    from . import families  # which know what their configurations call them

    return families.of(config).placeholders


def max_audio_seconds(processor) -> float:
    """The longest clip that the processor takes; it would cut anything longer silently."""
    from . import families  # which know where their processors cut

    return families.of_processor(processor).max_seconds(processor)


def encoded(processor, conversations: list[list[dict]], *, device) -> dict[str, torch.Tensor]:
    """One batch of conversations, with arrays as audio, as the thinker's left-padded inputs."""
    from . import families  # which know how their processors are called

    batch = families.of_processor(processor).batch(processor, conversations)
    return {name: tensor.to(device) for name, tensor in batch.items()}


def load(profile: Profile | str):
    """`(model, processor)` of a profile, the model in evaluation mode.

    Raises ValueError for an unknown profile, ImportError for 4 bits without bitsandbytes.
    """
    profile = profiles.get(profile)
    if profile.num_threads:
        torch.set_num_threads(profile.num_threads)
    processor = load_processor(profile.model, profile.max_audio_seconds)
    options = {"dtype": profile.dtype, "quantization_config": quantization_config(profile)}
    model = load_thinker(profile.model, **options)
    set_stop_tokens(model, processor.tokenizer)
    return model.eval(), processor


def set_stop_tokens(model, tokenizer) -> None:
    """Completions end at the tokenizer's end of turn, as in TRL, whatever the checkpoint names."""
    declared = model.generation_config.eos_token_id
    stops = declared if isinstance(declared, list) else [declared]
    model.generation_config.eos_token_id = sorted({tokenizer.eos_token_id, *stops} - {None})
    model.generation_config.pad_token_id = tokenizer.pad_token_id


def load_thinker(path: str | Path, **options):
    """The thinker of a checkpoint, on the GPU if there is one; a full Qwen2.5-Omni's talker is
    left out. A model of another family is loaded whole.

    `options` are those of `from_pretrained`. Raises OSError without a checkpoint, CheckpointError
    if a parameter is NaN, infinite or missing (transformers would initialise it at random), and
    FamilyError for a model of a type that no family has.
    """
    from . import families
    from .alr import checkpoint  # where the hub's files come from
    from .runs import sharding

    options |= WEIGHTS_ONLY | {"output_loading_info": True} | sharding.placement()
    folder = checkpoint.fetched(path)
    config = checkpoint.thinker_config(checkpoint.read_config(folder))
    model_class = getattr(transformers, families.of(config).model_class)
    model, report = model_class.from_pretrained(folder, config=config, **options)
    model.name_or_path = model.config.name_or_path = str(path)  # an adapter's base
    # quantised weights are placed while they are loaded, those of a sharded model as it is prepared
    placed = "device_map" in options or options.get("quantization_config") is not None
    if not placed and not sharding.is_sharded():
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint.check(model, report, name=path)
    checkpoint.keep_trainable(model)
    return model


def load_processor(path: str | Path, max_audio_seconds: float | None = None) -> AudioProcessor:
    """The processor of a checkpoint, for clips of up to `max_audio_seconds` (rounded up), to which
    all are padded. The default is the checkpoint's own limit, 300 s for the 7B; an encoder that
    takes one length alone keeps it."""
    from . import families
    from .alr import checkpoint
    from .fast.features import remembering  # the same features, computed once

    folder = checkpoint.fetched(path)
    family = families.of(checkpoint.read_config(folder))
    processor = family.processor(folder)
    if family.any_length:
        processor.feature_extractor = remembering(processor.feature_extractor, max_audio_seconds)
    return processor


def quantization_config(profile: Profile):
    """NF4 with double quantisation for the language model of a 4-bit profile, else None.

    The audio encoder and the head keep their precision: the encoder is small and frozen, and an
    error in the head affects every token.
    """
    if not profile.load_in_4bit:
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, profile.dtype),
        llm_int8_skip_modules=list(KEPT_MODULES),
    )
