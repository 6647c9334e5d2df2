"""The tiny Omni: the transformers classes of Qwen2.5-Omni's thinker, with 1.5 million parameters.

Here are its tokenizer, its processor and the model with random weights, and the batches that train
it (see `training`).
"""

import random
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5OmniThinkerForConditionalGeneration,
    WhisperFeatureExtractor,
)
from transformers.models.qwen2_5_omni import Qwen2_5OmniThinkerConfig

from ..models import AudioProcessor, audio_token_count
from ..prompts import gold_completion, prompt, with_audio
from . import syllogisms

SPECIAL = {
    "image_token": "<|IMAGE|>",
    "audio_token": "<|AUDIO|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
}
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
MAX_AUDIO_SECONDS = 12


@dataclass(frozen=True)
class Size:
    """Widths and depths of the tiny model."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    audio_layers: int = 3
    vocabulary: int = 768


def build_processor(size: Size = Size(), samples: int = 3000) -> AudioProcessor:
    """The processor: a byte-level BPE tokenizer, Whisper's mel features and a chat template.

    The tokenizer is trained on the small world's text, `samples` problems of it.
    """
    rng = random.Random(0)
    texts = ["user", "assistant", prompt()[0]["content"]] * (samples // 4)
    for _ in range(samples):
        problem = syllogisms.draw(rng)
        texts += [problem.question, gold_completion(problem.reasoning, problem.label)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary,
        special_tokens=[PAD, START, END, *SPECIAL.values()],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=20,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        extra_special_tokens=SPECIAL,
        model_max_length=2048,
    )
    extractor = WhisperFeatureExtractor(
        feature_size=128, chunk_length=MAX_AUDIO_SECONDS, return_attention_mask=True
    )
    return AudioProcessor(
        feature_extractor=extractor, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE
    )


def build_model(
    tokenizer: PreTrainedTokenizerFast, size: Size = Size(), *, seed: int = 0
) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """A thinker with random weights.

    The class requires a vision encoder; it is as small as it can be, and nothing uses it.
    """
    torch.manual_seed(seed)
    config = _config(tokenizer, size)
    model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _config(tokenizer: PreTrainedTokenizerFast, size: Size) -> Qwen2_5OmniThinkerConfig:
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    audio_config = dict(
        num_mel_bins=128,
        encoder_layers=size.audio_layers,
        encoder_attention_heads=4,
        encoder_ffn_dim=3 * size.hidden,
        d_model=size.hidden,
        n_window=100,
        output_dim=size.hidden,
        max_source_positions=100,
    )
    vision_config = dict(
        depth=1,
        hidden_size=16,
        intermediate_size=16,
        num_heads=1,
        patch_size=14,
        out_hidden_size=size.hidden,
        fullatt_block_indexes=[0],
    )
    # Half of a head's width, in sections for time, height and width; audio and text use all three.
    half = size.hidden // size.heads // 2
    third = half // 3
    text_config = dict(
        vocab_size=(len(tokenizer) + 7) // 8 * 8,
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        rope_parameters=dict(
            rope_type="default", rope_theta=1e4, mrope_section=[half - 2 * third, third, third]
        ),
    )
    config = Qwen2_5OmniThinkerConfig(
        audio_config=audio_config,
        vision_config=vision_config,
        text_config=text_config,
        audio_token_index=ids["audio_token"],
        image_token_index=ids["image_token"],
        video_token_index=ids["video_token"],
        audio_start_token_id=ids["audio_bos_token"],
        audio_end_token_id=ids["audio_eos_token"],
        tie_word_embeddings=True,
    )
    config.vision_start_token_id = ids["vision_bos_token"]
    config.vision_end_token_id = ids["vision_eos_token"]
    config.audio_token_id = ids["audio_token"]
    config.image_token_id = ids["image_token"]
    config.video_token_id = ids["video_token"]
    return config


class Mel:
    """Log-mel features of a batch in one transform.

    The numbers are those of the feature extractor, which transforms clip by clip.
    """

    def __init__(self, extractor: WhisperFeatureExtractor):
        self.filters = torch.from_numpy(extractor.mel_filters).float().T.contiguous()
        self.window = torch.hann_window(extractor.n_fft)
        self.n_fft = extractor.n_fft
        self.hop = extractor.hop_length

    def __call__(self, clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (batch, 128, frames) of 16 kHz clips padded with silence; mask (batch, frames).

        The mask is 1 for the frames of the clip and 0 for padding.
        """
        lengths = torch.tensor([-(-len(clip) // self.hop) for clip in clips])
        frames = int(lengths.max())
        wave = torch.zeros(len(clips), (frames + 1) * self.hop)
        for row, clip in zip(wave, clips):
            row[: len(clip)] = torch.from_numpy(clip)
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)
        power = spectrum[..., :-1].abs() ** 2
        mel = (self.filters @ power).clamp_min(1e-10).log10()
        mel = (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4
        mask = torch.arange(frames)[None] < lengths[:, None]
        return mel[..., :frames], mask.long()


def padded(rows: list[list[int]], value: int, *, left: bool = False) -> torch.Tensor:
    """Token rows as one tensor (rows, longest row), padded with `value` on the right or left."""
    side = "left" if left else "right"
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(
        tensors, batch_first=True, padding_value=value, padding_side=side
    )


class Batches:
    """Token and feature batches for the four stages; the prompt is the processor's own."""

    def __init__(self, processor: AudioProcessor):
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.mel = Mel(processor.feature_extractor)
        self.audio_id = self.tokenizer.convert_tokens_to_ids(SPECIAL["audio_token"])
        # Tokens of the prompt before and after the audio tokens.
        before, after = self._chat(with_audio(prompt(), "clip")).split(SPECIAL["audio_token"])
        self.before = self.encode(before)
        self.after = self.encode(after)

    def _chat(self, messages: list[dict]) -> str:
        template = self.processor.apply_chat_template
        return template(messages, add_generation_prompt=True, tokenize=False)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as it is, without special tokens around it."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def target(self, text: str) -> list[int]:
        """Token ids of a complete completion, with the end-of-turn token."""
        return [*self.encode(text), self.tokenizer.eos_token_id]

    def text_prompt(self, question: str) -> list[int]:
        """Token ids of the prompt of a written question."""
        return self.encode(self._chat(prompt(question)))

    def audio_prompt(self, audio_ids: list[int]) -> list[int]:
        """Token ids of the prompt of a spoken question, with `audio_ids` as its audio tokens."""
        return [*self.before, *audio_ids, *self.after]

    def labelled(
        self, prompts: list[list[int]], targets: list[list[int]]
    ) -> dict[str, torch.Tensor]:
        """Right-padded inputs whose labels cover only the targets."""
        pairs = list(zip(prompts, targets))
        rows = [prompt + target for prompt, target in pairs]
        masks = [[1] * len(row) for row in rows]
        labels = [[-100] * len(prompt) + target for prompt, target in pairs]
        return {
            "input_ids": padded(rows, self.tokenizer.pad_token_id),
            "attention_mask": padded(masks, 0),
            "labels": padded(labels, -100),
        }

    def sound(self, clips: list[np.ndarray]) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        """Features and mask of the clips, and prompts with a placeholder for each audio token."""
        features, mask = self.mel(clips)
        counts = audio_token_count(mask.sum(1)).tolist()
        prompts = [self.audio_prompt([self.audio_id] * count) for count in counts]
        return {"input_features": features, "feature_attention_mask": mask}, prompts
