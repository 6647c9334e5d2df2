"""Audio Flamingo 3: a Whisper encoder over windows of 30 seconds, up to ten minutes; a clip has a
row of features for each window, and a prompt has at most one clip."""

import torch

from .family import Family


class AudioFlamingo3(Family):
    name = "Audio Flamingo 3"
    model_types = ("audioflamingo3",)
    model_class = "AudioFlamingo3ForConditionalGeneration"
    processor_class = "AudioFlamingo3Processor"
    fields = ("input_features", "input_features_mask")
    one_by_one = True  # it pads, and refuses prompts without audio among prompts with it

    def prepared(self, fields, dtype=torch.float32):
        """The encoder takes features of its own dtype alone."""
        found = super().prepared(fields, dtype)
        return found | {"input_features": found["input_features"].to(dtype)}

    def max_seconds(self, processor) -> float:
        return processor.max_audio_len
