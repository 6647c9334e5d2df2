"""What the trainer asks of a family of audio models; a module for each family answers where the
usual answer, below, is not its own."""

from contextlib import contextmanager

import numpy as np
import torch
import transformers
from torch.nn.functional import pad

from ..models import AUDIO_FIELDS, NO_CODE, audio_token_count
from ..prompts import audio_parts

# Token ids under which a configuration names what stands for audio or pictures, or marks its ends.
PLACEHOLDERS = (
    *("audio_token_id", "audio_start_token_id", "audio_end_token_id"),
    *("image_token_id", "video_token_id"),
    *("boi_token_id", "eoi_token_id", "boa_token_id", "eoa_token_index"),
)
AUDIO_MODULES = ("audio_tower", "multi_modal_projector", "embed_audio")  # of `model.model`


class FamilyError(ValueError):
    """A model or a processor that no family here knows, or something that its family can't do."""


class Family:
    """A family of models, for one configuration."""

    name = ""  # as its readers know it
    model_types: tuple[str, ...] = ()  # `config.model_type` of what is trained
    model_class = ""  # of transformers
    processor_class = ""  # of transformers; it prepares prompts
    # the arguments of the model's forward that hold audio: features, one row a clip or a window of
    # it, and where there is one, the mask of their frames
    fields: tuple[str, ...] = AUDIO_FIELDS
    one_by_one = False  # whether TRL's call for a whole batch of prompts would pad them or fail
    any_length = False  # whether features may be shorter than the processor pads them
    not_shared = ""  # why the completions of a prompt can't share its KV cache

    def __init__(self, config=None):
        self.config = config  # None where a processor alone is asked for

    @property
    def audio_token(self) -> int:
        return self.config.audio_token_id

    @property
    def placeholders(self) -> list[int]:
        """Token ids that are never to be sampled: they would misalign the features."""
        found = {getattr(self.config, name, None) for name in PLACEHOLDERS}
        return sorted(found - {None})

    @contextmanager
    def with_pictures(self):
        """Within it the configuration names a token for pictures, with or without them.

        TRL's constructor asks for one, to suppress it, and fails on a model without.
        """
        lacking = not hasattr(self.config, "image_token_id")
        if lacking:
            self.config.image_token_id = self.audio_token
        try:
            yield
        finally:
            if lacking:
                del self.config.image_token_id

    def tokens(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """The audio tokens (rows of features,) that each row makes in the prompt."""
        return audio_token_count(features[self.fields[1]].sum(-1))

    def tokenized(self, tokenize, prompts: list) -> tuple[list[list[int]], list | None, dict]:
        """Prompts, images and fields as `tokenize`, TRL's `_tokenize_prompts`, returns them, but
        never padded, and with no field that isn't the model's."""
        if not self.one_by_one:
            return tokenize(prompts)
        ids, images, fields = zip(*(tokenize([prompt]) for prompt in prompts))
        images = [each[0] if each else None for each in images] if any(images) else None
        parts = {name: [own[name] for own in fields if name in own] for name in self.fields}
        joined = {name: padded(values) for name, values in parts.items() if values}
        return [list(map(int, own[0])) for own in ids], images, joined

    def prepared(self, fields: dict, dtype=torch.float32) -> dict[str, torch.Tensor]:
        """The fields as tensors for a model of `dtype`, without frames that all rows lack."""
        found = {name: torch.as_tensor(np.asarray(fields[name])) for name in self.fields}
        if self.any_length:
            features, mask = found.values()
            mask = mask.long()
            frames = int(mask.sum(-1).max())
            found = dict(zip(self.fields, (features[..., :frames], mask[:, :frames])))
        return found

    def by_prompt(self, features: dict, prompt_ids: list) -> dict[str, list[torch.Tensor]]:
        """Each field's rows that belong to each prompt; a prompt without audio has none.

        ValueError if the placeholders of the prompts are more or fewer than the features make.
        """
        found = torch.tensor([list(ids).count(self.audio_token) for ids in prompt_ids])
        made = self.tokens(features).cpu()
        ends = torch.searchsorted(made.cumsum(0), found.cumsum(0), right=True)
        counts = ends.diff(prepend=ends.new_zeros(1)).tolist()
        expected = torch.stack([own.sum() for own in made[: ends[-1]].split(counts)])
        if not torch.equal(expected, found) or ends[-1] < len(made):
            raise self.mismatch(found.tolist(), made.tolist())
        return {name: list(values.split(counts)) for name, values in features.items()}

    @staticmethod
    def mismatch(found, expected) -> ValueError:
        """The error where prompts hold other numbers of placeholders than their features make."""
        counts = f"{found} audio placeholders and their features make {expected}"
        return ValueError(f"the prompts hold {counts}; was a prompt truncated?")

    def encode(self, model, features: dict[str, torch.Tensor]) -> torch.Tensor:
        """The embeddings (audio tokens, width) of the rows of features, one row after the other."""
        return model.model.get_audio_features(**features, return_dict=True).pooler_output

    def encoder_parameters(self, model):
        """The parameters on which `encode` depends."""
        for name in AUDIO_MODULES:
            yield from getattr(model.model, name, torch.nn.Module()).parameters()

    def positions(self, mask: torch.Tensor) -> torch.Tensor:
        """Positions (rows, tokens) in a sequence without pictures: counts of what isn't padding."""
        return (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, 1)

    def lora(self, peft_config):
        """The adapter's configuration, None without one, so that a pattern of module names, as in
        `grpo.LORA_TARGETS`, reaches the language model alone."""
        return peft_config

    def processor(self, folder):
        """The processor of a checkpoint's folder."""
        return getattr(transformers, self.processor_class).from_pretrained(folder, **NO_CODE)

    def max_seconds(self, processor) -> float:
        """The longest clip that the processor takes; it would cut anything longer silently."""
        extractor = processor.feature_extractor
        return extractor.n_samples / extractor.sampling_rate

    def inputs(self, processor, conversations: list, clips: list) -> dict[str, torch.Tensor]:
        """The model's inputs, left-padded, for conversations and all their clips in order, arrays
        at 16 kHz."""
        texts = processor.apply_chat_template(
            conversations, add_generation_prompt=True, tokenize=False
        )
        batch = processor(
            text=texts,
            audio=clips or None,
            text_kwargs={"padding": True, "padding_side": "left"},
            audio_kwargs={"sampling_rate": processor.feature_extractor.sampling_rate},
            return_tensors="pt",
        )
        names = ("input_ids", "attention_mask", *self.fields)
        return {name: batch[name] for name in names if name in batch}

    def batch(self, processor, conversations: list) -> dict[str, torch.Tensor]:
        """The same for conversations that hold their clips."""
        if self.one_by_one:
            rows = [self.inputs(processor, [one], clips_of([one])) for one in conversations]
            names = dict.fromkeys(name for row in rows for name in row)
            return {name: self._joined(name, rows, processor.tokenizer) for name in names}
        batch = self.inputs(processor, conversations, clips_of(conversations))
        return batch | (self.prepared(batch) if self.fields[0] in batch else {})

    def _joined(self, name: str, rows: list[dict], tokenizer) -> torch.Tensor:
        values = [row[name] for row in rows if name in row]
        if name in self.fields:
            return padded(values)
        fill = tokenizer.pad_token_id if name == "input_ids" else 0
        longest = max(row.shape[1] for row in values)
        return torch.cat([pad(row, (longest - row.shape[1], 0), value=fill) for row in values])


class FromAudioModel(Family):
    """A family whose audio encoder itself returns the embeddings."""

    any_length = True

    def encode(self, model, features):
        return model.model.get_audio_features(**features, return_dict=True).last_hidden_state

    def positions(self, mask):
        """Positions (3, rows, tokens): audio advances time, height and width like text."""
        return super().positions(mask).expand(3, -1, -1)


def clips_of(conversations: list) -> list:
    return [part["audio"] for part in audio_parts(conversations)]


def padded(parts: list) -> torch.Tensor:
    """Fields of several calls in one tensor; the frames of shorter ones are filled with zeros."""
    tensors = [torch.as_tensor(np.asarray(part)) for part in parts]
    shape = [max(sizes) for sizes in zip(*(values.shape[1:] for values in tensors))]
    joined = tensors[0].new_zeros(sum(map(len, tensors)), *shape)
    start = 0
    for values in tensors:
        where = (slice(start, start + len(values)), *(slice(size) for size in values.shape[1:]))
        joined[where] = values
        start += len(values)
    return joined
