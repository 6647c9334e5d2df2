"""Voxtral: a Whisper encoder over windows of 30 seconds, the last one padded with silence, so that
a clip has a row of features for each window. Its tokenizer is mistral-common's."""

import base64
import io
import math

import soundfile
import torch
from transformers.utils import is_mistral_common_available

from .family import Family, FamilyError


class Voxtral(Family):
    name = "Voxtral"
    model_types = ("voxtral",)
    model_class = "VoxtralForConditionalGeneration"
    processor_class = "VoxtralProcessor"
    fields = ("input_features",)
    one_by_one = True  # it pads

    def tokens(self, features):
        audio = self.config.audio_config
        each = audio.max_source_positions * audio.hidden_size // audio.intermediate_size
        return torch.full((len(features["input_features"]),), each)

    def tokenized(self, tokenize, prompts):
        return super().tokenized(tokenize, [with_files(prompt) for prompt in prompts])

    def processor(self, folder):
        if not is_mistral_common_available():
            remedy = "pip install 'mistral-common[audio]'"
            raise FamilyError(f"{self.name}'s prompts are made by mistral-common; {remedy}")
        return super().processor(folder)

    def max_seconds(self, processor) -> float:
        return math.inf

    def inputs(self, processor, conversations, clips):
        clips = iter(clips)
        asked = [with_files(conversation, clips) for conversation in conversations]
        return dict(processor.apply_chat_template(asked))


def with_files(prompt: list[dict] | str, clips=()) -> list[dict] | str:
    """A conversation whose audio, or the next of `clips` in its place, is as mistral-common reads
    it: WAV files in base64, not arrays at 16 kHz."""
    clips = iter(clips)

    def as_file(part: dict) -> dict:
        if part["type"] != "audio":
            return part
        file = io.BytesIO()
        audio = next(clips, part["audio"])
        soundfile.write(file, audio, 16_000, subtype="FLOAT", format="WAV")
        return {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}

    if isinstance(prompt, str):
        return prompt
    return [
        {**turn, "content": [as_file(part) for part in turn["content"]]}
        if isinstance(turn["content"], list)
        else turn
        for turn in prompt
    ]
