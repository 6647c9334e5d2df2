"""Gemma 4, the sizes that take audio: a conformer, with its own mel features, up to 30 seconds."""

from transformers import Gemma4Processor, ProcessorMixin

from ..models import NO_CODE
from .family import Family


class Gemma4(Family):
    name = "Gemma 4"
    model_types = ("gemma4",)
    model_class = "Gemma4ForConditionalGeneration"
    processor_class = "Gemma4Processor"
    fields = ("input_features", "input_features_mask")  # (clips, frames, 128), (clips, frames)
    one_by_one = True  # it pads
    not_shared = "layers read sliding windows of the cache, and embeddings that follow the tokens"

    def tokens(self, features):
        return features[self.fields[1]][:, ::2][:, ::2].sum(-1)

    def processor(self, folder):
        return Gemma4AudioProcessor.from_pretrained(folder, **NO_CODE)

    def max_seconds(self, processor) -> float:
        return processor.audio_seq_length * processor.audio_ms_per_token / 1000


class Gemma4AudioProcessor(Gemma4Processor):
    """`Gemma4Processor` for text and audio alone; pictures would need torchvision."""

    audio_seq_length, audio_ms_per_token = 750, 40  # audio tokens at most, of so long each

    def __init__(self, feature_extractor=None, tokenizer=None, chat_template=None):
        ProcessorMixin.__init__(self, feature_extractor, tokenizer, chat_template=chat_template)
        self.boa_token, self.eoa_token = tokenizer.boa_token, tokenizer.eoa_token
        self.audio_token, self.audio_token_id = tokenizer.audio_token, tokenizer.audio_token_id
