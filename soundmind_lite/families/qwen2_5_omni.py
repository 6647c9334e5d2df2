"""Qwen2.5-Omni: the thinker of a full checkpoint, or a thinker alone."""

from ..models import NO_CODE, AudioProcessor  # of text and audio alone
from .family import FromAudioModel


class Qwen2_5Omni(FromAudioModel):
    name = "Qwen2.5-Omni"
    model_types = ("qwen2_5_omni_thinker",)
    model_class = "Qwen2_5OmniThinkerForConditionalGeneration"
    processor_class = "Qwen2_5OmniProcessor"

    def processor(self, folder):
        return AudioProcessor.from_pretrained(folder, **NO_CODE)
