"""A tiny model of each family with random weights, and its processor, made on the spot.

The tokenizer is tiny_omni's with the family's own special tokens added; the feature extractor and
the processor are the family's classes of transformers.
"""

import base64
from io import BytesIO

import numpy as np
import soundfile
import torch
import transformers
from transformers import WhisperFeatureExtractor

from soundmind_lite import models, profiles
from soundmind_lite.families.gemma4 import Gemma4AudioProcessor
from soundmind_lite.families.qwen3_omni import Qwen3AudioProcessor
from soundmind_lite.tiny.model import CHAT_TEMPLATE, SPECIAL

TEXT = dict(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=4096,
)
WINDOW = 2  # seconds that an encoder of fixed length takes


def tokenizer(**added):
    """tiny_omni's, with more special tokens by name: `audio_token="<sound>"`."""
    found = models.load_processor(profiles.get("tiny").model).tokenizer
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=found.backend_tokenizer,
        eos_token=found.eos_token,
        pad_token=found.pad_token,
        padding_side="left",
        extra_special_tokens=SPECIAL | added,
    )


def template(audio: str) -> str:
    """tiny_omni's chat template with another mark for audio."""
    return CHAT_TEMPLATE.replace("<|audio_bos|><|AUDIO|><|audio_eos|>", audio)


def ready(model, own, scale=4.0):
    """The model with weights large enough that the audio matters, and the tokenizer's ends."""
    torch.manual_seed(1)
    with torch.no_grad():
        for values in model.parameters():
            if values.ndim > 1:
                values.mul_(scale)
    models.set_stop_tokens(model, own)
    return model.eval()


def qwen2_audio():
    own = tokenizer()
    audio = dict(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        num_mel_bins=32,
        max_source_positions=50 * WINDOW,
    )
    config = transformers.Qwen2AudioConfig(
        audio_config=dict(audio, model_type="qwen2_audio_encoder"),
        text_config=dict(TEXT, model_type="qwen2", vocab_size=len(own)),
        audio_token_index=own.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(0)
    model = transformers.Qwen2AudioForConditionalGeneration(config)
    extractor = WhisperFeatureExtractor(feature_size=32, chunk_length=WINDOW)
    processor = transformers.Qwen2AudioProcessor(extractor, own, chat_template=CHAT_TEMPLATE)
    return ready(model, own), processor


def audio_flamingo3():
    own = tokenizer(audio_token="<sound>")
    audio = dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        num_mel_bins=32,
        max_source_positions=50 * WINDOW,
    )
    config = transformers.AudioFlamingo3Config(
        audio_config=dict(audio, model_type="audioflamingo3_encoder"),
        text_config=dict(TEXT, model_type="qwen2", vocab_size=len(own)),
        audio_token_id=own.audio_token_id,
    )
    torch.manual_seed(0)
    model = transformers.AudioFlamingo3ForConditionalGeneration(config)
    extractor = WhisperFeatureExtractor(feature_size=32, chunk_length=WINDOW)
    processor = transformers.AudioFlamingo3Processor(
        extractor, own, chat_template=template("<sound>")
    )
    return ready(model, own), processor


def gemma4():
    names = dict(audio_token="<|audio|>", boa_token="<|audio>", eoa_token="<audio|>")
    pictures = dict(image_token="<|image|>", boi_token="<|image>", eoi_token="<image|>")
    own = tokenizer(**names, **pictures, video_token="<|video|>")
    config = transformers.Gemma4Config(
        audio_config=dict(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            subsampling_conv_channels=[128, 8],
            output_proj_dims=32,
        ),
        text_config=dict(
            TEXT,
            head_dim=16,
            global_head_dim=16,
            num_hidden_layers=3,
            layer_types=["sliding_attention", "full_attention", "full_attention"],
            sliding_window=64,
            vocab_size=len(own),
            vocab_size_per_layer_input=len(own),
            hidden_size_per_layer_input=8,
            pad_token_id=own.pad_token_id,
            eos_token_id=own.eos_token_id,
        ),
        vision_config=None,
        audio_token_id=own.audio_token_id,
        boa_token_id=own.boa_token_id,
        eoa_token_index=own.eoa_token_id,
        image_token_id=own.image_token_id,
        boi_token_id=own.boi_token_id,
        eoi_token_id=own.eoi_token_id,
        video_token_id=own.video_token_id,
    )
    torch.manual_seed(0)
    model = transformers.Gemma4ForConditionalGeneration(config)
    extractor = transformers.Gemma4AudioFeatureExtractor()
    processor = Gemma4AudioProcessor(extractor, own, chat_template=template("<|audio|>"))
    return ready(model, own, 2.0), processor


def qwen3_omni():
    own = tokenizer()
    ids = {name: own.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    audio = dict(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=64,
        num_mel_bins=128,
        output_dim=64,
        downsample_hidden_size=8,
        max_source_positions=1500,
    )
    vision = dict(
        depth=1,
        hidden_size=16,
        intermediate_size=16,
        num_heads=1,
        out_hidden_size=64,
        deepstack_visual_indexes=[0],
        num_position_embeddings=16,
    )
    experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
    rope = dict(rope_type="default", rope_theta=1e4, mrope_section=[4, 2, 2])
    config = transformers.models.qwen3_omni_moe.Qwen3OmniMoeThinkerConfig(
        audio_config=audio,
        vision_config=vision,
        text_config=dict(TEXT, **experts, head_dim=16, rope_parameters=rope, vocab_size=len(own)),
        audio_token_id=ids["audio_token"],
        audio_start_token_id=ids["audio_bos_token"],
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
    )
    config.vision_start_token_id = ids["vision_bos_token"]
    torch.manual_seed(0)
    model = transformers.Qwen3OmniMoeThinkerForConditionalGeneration(config)
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=12)
    return ready(model, own), Qwen3AudioProcessor(extractor, own, chat_template=CHAT_TEMPLATE)


def voxtral(own=None):
    own = own or MistralLike()
    audio = dict(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        num_mel_bins=32,
        max_source_positions=50 * WINDOW,
    )
    config = transformers.VoxtralConfig(
        audio_config=dict(audio, model_type="voxtral_encoder"),
        text_config=dict(TEXT, model_type="llama", vocab_size=len(own), head_dim=16),
        audio_token_id=own.convert_tokens_to_ids("[AUDIO]"),
    )
    torch.manual_seed(0)
    model = transformers.VoxtralForConditionalGeneration(config)
    processor = transformers.VoxtralProcessor(WhisperFeatureExtractor(feature_size=32), own)
    windows = dict(pad_to_multiple_of=16_000 * WINDOW, max_source_positions=100 * WINDOW)
    processor.audio_kwargs = processor.audio_kwargs | windows
    return ready(model, own), processor


class MistralLike(transformers.PreTrainedTokenizerFast):
    """tiny_omni's tokenizer with the chat template of mistral-common's, whose files are Voxtral's.

    As `MistralCommonBackend.apply_chat_template` does, it reads audio in base64, pads it to whole
    windows, writes as many placeholders as its encoder makes, and returns the arrays under "audio".
    """

    def __init__(self):
        own = tokenizer(audio_token="[AUDIO]")
        super().__init__(
            tokenizer_object=own.backend_tokenizer,
            eos_token=own.eos_token,
            pad_token=own.pad_token,
            padding_side="left",
        )
        self.audio_token_id = own.audio_token_id

    def apply_chat_template(self, conversations, *, padding, return_tensors, **_):
        found = [self._ids_and_clips(conversation) for conversation in conversations]
        ids = [ids for ids, _ in found]
        batch = self.pad({"input_ids": ids}, padding=padding, return_tensors=return_tensors)
        clips = [clip for _, clips in found for clip in clips]
        return batch | ({"audio": clips} if clips else {})

    def _ids_and_clips(self, conversation):
        (turn,) = conversation
        ids, clips = [], []
        text = {"type": "text", "text": turn["content"]}
        for part in turn["content"] if isinstance(turn["content"], list) else [text]:
            if part["type"] == "text":
                ids += self.encode(part["text"])
                continue
            clip, rate = soundfile.read(BytesIO(base64.b64decode(part["base64"])), dtype="float32")
            assert rate == 16_000
            windows = -(-len(clip) // (rate * WINDOW))
            clips.append(np.pad(clip, (0, windows * rate * WINDOW - len(clip))))
            ids += [self.audio_token_id] * int(12.5 * WINDOW * windows)
        return ids, clips


FAMILIES = {
    "Qwen2-Audio": qwen2_audio,
    "Qwen3-Omni": qwen3_omni,
    "Voxtral": voxtral,
    "Audio Flamingo 3": audio_flamingo3,
    "Gemma 4": gemma4,
}
