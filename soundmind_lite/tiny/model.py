"""The tiny Omni: the same transformers classes as Qwen2.5-Omni's thinker, with about 1.5 million weights.

Four stages teach it, in an order that gives each stage something to build on:
text first (copying and logic), then the audio tower onto the language model's own embeddings (CTC), then both together, and last
the habits of a base model that can reason and often doesn't.
"""
import random
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2_5OmniThinkerForConditionalGeneration, WhisperFeatureExtractor
from transformers.models.qwen2_5_omni import Qwen2_5OmniThinkerConfig

from . import syllogisms
from ..models import AudioProcessor, audio_token_count
from ..prompts import gold_completion, prompt, with_audio

SPECIAL = {
    "image_token": "<|IMAGE|>", "audio_token": "<|AUDIO|>", "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>", "vision_eos_token": "<|vision_eos|>",
    "audio_bos_token": "<|audio_bos|>", "audio_eos_token": "<|audio_eos|>",
}
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>{% else %}{{ part['text'] }}{% endif %}"
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
    """A byte-level BPE tokenizer trained on the small world's text, Whisper's mel features, and our own chat template."""
    rng = random.Random(0)
    texts = ["user", "assistant", prompt()[0]["content"]] * (samples // 4)
    for _ in range(samples):
        problem = syllogisms.draw(rng)
        texts += [problem.question, gold_completion(problem.reasoning, problem.label)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size.vocabulary, special_tokens=[PAD, START, END, *SPECIAL.values()], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), min_frequency=20,
    ))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END, pad_token=PAD, padding_side="left", extra_special_tokens=SPECIAL, model_max_length=2048,
    )
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=MAX_AUDIO_SECONDS, return_attention_mask=True)
    return AudioProcessor(feature_extractor=extractor, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE)


def build_model(tokenizer, size: Size = Size(), seed: int = 0) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """A thinker with random weights. Its vision tower exists, because the class wants one, and is as small as it can be."""
    torch.manual_seed(seed)
    quarter = size.hidden // size.heads // 2
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    config = Qwen2_5OmniThinkerConfig(
        audio_config=dict(
            num_mel_bins=128, encoder_layers=size.audio_layers, encoder_attention_heads=4, encoder_ffn_dim=3 * size.hidden,
            d_model=size.hidden, n_window=100, output_dim=size.hidden, max_source_positions=100,
        ),
        vision_config=dict(
            depth=1, hidden_size=16, intermediate_size=16, num_heads=1, patch_size=14, out_hidden_size=size.hidden, fullatt_block_indexes=[0],
        ),
        text_config=dict(
            vocab_size=(len(tokenizer) + 7) // 8 * 8, hidden_size=size.hidden, intermediate_size=3 * size.hidden,
            num_hidden_layers=size.layers, num_attention_heads=size.heads, num_key_value_heads=size.kv_heads,
            max_position_embeddings=2048, tie_word_embeddings=True, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            rope_parameters=dict(rope_type="default", rope_theta=1e4, mrope_section=[quarter - 2 * (quarter // 3), quarter // 3, quarter // 3]),
        ),
        audio_token_index=ids["audio_token"], image_token_index=ids["image_token"], video_token_index=ids["video_token"],
        audio_start_token_id=ids["audio_bos_token"], audio_end_token_id=ids["audio_eos_token"], tie_word_embeddings=True,
    )
    config.vision_start_token_id, config.vision_end_token_id = ids["vision_bos_token"], ids["vision_eos_token"]
    config.audio_token_id, config.image_token_id, config.video_token_id = (ids[f"{kind}_token"] for kind in ("audio", "image", "video"))
    model = Qwen2_5OmniThinkerForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


class Mel:
    """Log-mel features of a batch in one transform; the same numbers as the extractor, which works clip by clip."""

    def __init__(self, extractor: WhisperFeatureExtractor):
        self.filters = torch.from_numpy(extractor.mel_filters).float().T.contiguous()
        self.window = torch.hann_window(extractor.n_fft)
        self.n_fft, self.hop = extractor.n_fft, extractor.hop_length

    def __call__(self, clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """16 kHz clips → features (batch, 128, frames), padded with silence, and their mask (batch, frames)."""
        frames = torch.tensor([-(-len(clip) // self.hop) for clip in clips])
        wave = torch.zeros(len(clips), (int(frames.max()) + 1) * self.hop)
        for row, clip in zip(wave, clips):
            row[: len(clip)] = torch.from_numpy(clip)
        spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, return_complex=True)[..., :-1].abs() ** 2
        mel = (self.filters @ spectrum).clamp_min(1e-10).log10()
        mel = (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4
        frame_index = torch.arange(int(frames.max()))
        return mel[..., : len(frame_index)], (frame_index[None] < frames[:, None]).long()


def padded(rows: list[list[int]], value: int, left: bool = False) -> torch.Tensor:
    """Token rows as one tensor, filled up with `value`."""
    width = max(map(len, rows))
    return torch.tensor([[value] * (width - len(r)) + r if left else r + [value] * (width - len(r)) for r in rows])


class Batches:
    """Token and feature batches for the four stages; the prompt is the processor's own."""

    def __init__(self, processor: AudioProcessor):
        self.tokenizer, self.mel = processor.tokenizer, Mel(processor.feature_extractor)
        self._chat = lambda messages: processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        before, after = self._chat(with_audio(prompt(), "clip")).split(SPECIAL["audio_token"])
        self.before, self.after = self.encode(before), self.encode(after)
        self.audio_id = self.tokenizer.convert_tokens_to_ids(SPECIAL["audio_token"])

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def target(self, text: str) -> list[int]:
        return [*self.encode(text), self.tokenizer.eos_token_id]

    def text_prompt(self, question: str) -> list[int]:
        return self.encode(self._chat(prompt(question)))

    def heard_prompt(self, audio_ids: list[int]) -> list[int]:
        return [*self.before, *audio_ids, *self.after]

    def labelled(self, prompts: list[list[int]], targets: list[list[int]]) -> dict[str, torch.Tensor]:
        """Right-padded inputs whose labels cover the targets only."""
        rows = [p + t for p, t in zip(prompts, targets)]
        return dict(
            input_ids=padded(rows, self.tokenizer.pad_token_id), attention_mask=padded([[1] * len(r) for r in rows], 0),
            labels=padded([[-100] * len(p) + t for p, t in zip(prompts, targets)], -100),
        )

    def sound(self, clips: list[np.ndarray]) -> tuple[dict[str, torch.Tensor], list[list[int]]]:
        """Features and mask, and the prompt rows with one placeholder for each audio token."""
        features, mask = self.mel(clips)
        prompts = [self.heard_prompt([self.audio_id] * int(n)) for n in audio_token_count(mask.sum(1))]
        return dict(input_features=features, feature_attention_mask=mask), prompts
