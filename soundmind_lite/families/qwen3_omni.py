"""Qwen3-Omni: the thinker, a mixture of experts."""

from copy import copy

from transformers import Qwen3OmniMoeProcessor

from ..models import NO_CODE, AudioProcessor
from .family import FromAudioModel

NOT_TRAINED = r".*(audio_tower|visual|experts).*"


class Qwen3Omni(FromAudioModel):
    name = "Qwen3-Omni"
    model_types = ("qwen3_omni_moe_thinker",)
    model_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
    processor_class = "Qwen3OmniMoeProcessor"

    def tokens(self, features):
        """13 for each complete second, and 1 for every 8 frames, or part of them, after that."""
        frames = features[self.fields[1]].sum(-1)
        left = frames % (2 * self.config.audio_config.n_window)
        complete = frames // (2 * self.config.audio_config.n_window)
        return ((((left - 1) // 2 + 1) - 1) // 2 + 1 - 1) // 2 + 1 + 13 * complete

    def lora(self, peft_config):
        """A pattern of names reaches the attention of the language model alone.

        PEFT cuts the pattern down to the last parts of the names that it matches, which the
        encoders have, too; and it would compute the update of all experts in each pass.
        """
        targets = getattr(peft_config, "target_modules", None)
        if isinstance(targets, str) and targets != "all-linear":
            peft_config = copy(peft_config)
            peft_config.exclude_modules = peft_config.exclude_modules or NOT_TRAINED
        return peft_config

    def processor(self, folder):
        return Qwen3AudioProcessor.from_pretrained(folder, **NO_CODE)


class Qwen3AudioProcessor(Qwen3OmniMoeProcessor):
    """`Qwen3OmniMoeProcessor` for text and audio alone; pictures would need torchvision."""

    __init__ = AudioProcessor.__init__
    model_input_names = AudioProcessor.model_input_names

    def apply_chat_template(self, conversation, chat_template=None, **options):
        """Its parent calls the first argument `conversations`, and TRL names it."""
        return super().apply_chat_template(conversation, chat_template, **options)
