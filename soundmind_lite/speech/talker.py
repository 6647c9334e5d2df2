"""Qwen2.5-Omni's own talker: text and speech from the full model.

Only full checkpoints have a talker. tiny_omni has none, and hibari-tts reads its answers.

The talker speaks from the thinker's hidden states, so before a sampled completion is spoken the
thinker generates it again, token by token. Tested on a CPU with a tiny full model of random
weights, which passes through thinker, talker and token2wav and speaks noise. Not run on the
published checkpoints.
"""

from pickle import UnpicklingError

import numpy as np
import torch
from transformers import Qwen2_5OmniForConditionalGeneration

from .. import models
from ..alr import checkpoint
from ..audio import load_audio
from ..models import AudioProcessor, CheckpointError
from ..profiles import Profile
from ..prompts import with_audio
from .spoken import CASCADE, Speech, Voice, measured, spoken_text

RATE = 24_000  # Hz of token2wav's waveform
SAMPLES_PER_CODE = 480  # each code of the talker is 20 ms of audio
MAX_CODES = 240 * RATE // SAMPLES_PER_CODE  # four minutes, the limit of the cascade
# A talker that doesn't find its end would speak on for as long; nobody takes so long for a text
SECONDS_BESIDE, SECONDS_A_WORD = 5.0, 1.5
# the README of Qwen2.5-Omni asks for it wherever speech is generated
SYSTEM_PROMPT = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of "
    "perceiving auditory and visual inputs, as well as generating text and speech."
)


class TooShort(ValueError):
    """A text of fewer than two tokens; the talker starts with the second."""


def has_talker(profile: Profile) -> bool:
    """True if the profile's checkpoint is a full one."""
    config = checkpoint.read_config(checkpoint.fetched(profile.model))
    return hasattr(config, "talker_config")


def quantization_config(profile: Profile):
    """That of the thinker, for a checkpoint loaded with the parts that speak, which stay as they
    are."""
    config = models.quantization_config(profile)
    if config is not None:
        thinker = [f"thinker.{name}" for name in models.KEPT_MODULES]
        config.llm_int8_skip_modules = [*thinker, "talker", "token2wav"]
    return config


def load_full(profile: Profile) -> tuple[Qwen2_5OmniForConditionalGeneration, AudioProcessor]:
    """`(model, processor)` of a full checkpoint, talker included.

    Raises CheckpointError if the checkpoint is a thinker alone, isn't complete, has no voices
    (`spk_dict.pt`), or voices that hold more than tensors.
    """
    name, folder = profile.model, checkpoint.fetched(profile.model)
    config = checkpoint.read_config(folder)
    # Transformers would create a talker of full size with random weights.
    if not hasattr(config, "talker_config"):
        raise CheckpointError(f"{name} is no full checkpoint: it holds a thinker alone")
    voices = folder / "spk_dict.pt"
    if not voices.is_file():
        raise CheckpointError(f"{name} has no voice: spk_dict.pt must lie beside its weights")
    # The parent's: Qwen2.5-Omni's own one loads the voices, and can't report what is missing.
    full = Qwen2_5OmniForConditionalGeneration
    model, report = super(full, full).from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, profile.dtype),
        quantization_config=quantization_config(profile),
        output_loading_info=True,
        **models.WEIGHTS_ONLY,
    )
    checkpoint.check(model, report, name=name)
    checkpoint.keep_trainable(model)
    try:
        model.load_speakers(voices)
    except UnpicklingError as error:
        # spk_dict.pt is the one pickle that is read, and torch accepts only tensors in it.
        raise CheckpointError(
            f"{name}: spk_dict.pt holds more than tensors, which can be code; "
            "get the checkpoint from its publisher"
        ) from error
    if not profile.load_in_4bit:
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    model.thinker.name_or_path = name
    processor = models.load_processor(folder, profile.max_audio_seconds)
    models.set_stop_tokens(model.thinker, processor.tokenizer)
    return model.eval(), processor


@torch.no_grad()
def answer_in_speech(
    model: Qwen2_5OmniForConditionalGeneration,
    conversation: list[dict],
    *,
    processing_class: AudioProcessor,
    max_new_tokens: int = 100,
    max_codes: int = MAX_CODES,
    speaker: str | None = None,
    written: str | None = None,
) -> tuple[str, np.ndarray, int]:
    """The answer to one conversation: its text, a float32 waveform, and the waveform's rate in Hz.

    The text is greedy, of at most `max_new_tokens`, or `written` if given. It is generated, and
    `written` generated again, under `SYSTEM_PROMPT`: the talker speaks from the thinker's hidden
    states, which that prompt prepares. The thinker that wrote `written` was asked without it, as it
    is trained and evaluated; its log-probs are computed elsewhere and don't change.

    `speaker` is a voice of the checkpoint (default: its first). Raises ValueError for a voice that
    the checkpoint lacks, and TooShort for a text of one token.
    """
    voices = list(model.speaker_map)
    if speaker is not None and speaker not in voices:
        raise ValueError(f"there is no voice {speaker!r}; choose one of {', '.join(voices)}")
    tokenizer = processing_class.tokenizer
    asked = to_be_spoken(conversation)
    batch = models.encoded(processing_class, [asked], device=model.device)
    prompt_length = batch["input_ids"].shape[1]
    forced = {}
    if written is not None:
        ids = [*tokenizer(written, split_special_tokens=True).input_ids, tokenizer.eos_token_id]
        if len(ids) < 3:
            raise TooShort(f"the talker can't speak {written!r}: it needs two tokens or more")

        def next_token(_row, sequence):
            return [ids[len(sequence) - prompt_length]]

        forced["thinker_prefix_allowed_tokens_fn"] = next_token
        max_new_tokens = len(ids)
    sequence, waveform = model.generate(
        **batch,
        generation_mode="audio",
        speaker=speaker or voices[0],
        thinker_max_new_tokens=max_new_tokens,
        thinker_do_sample=False,
        talker_max_new_tokens=max_codes,
        talker_min_new_tokens=2,  # without any code token2wav fails
        **forced,
    )
    text = tokenizer.batch_decode(sequence[:, prompt_length:], skip_special_tokens=True)[0]
    return text, waveform.reshape(-1).float().cpu().numpy(), RATE


def to_be_spoken(conversation: list[dict]) -> list[dict]:
    """The conversation under `SYSTEM_PROMPT`, unless it has a system message of its own."""
    if conversation[0]["role"] == "system":
        return conversation
    return [{"role": "system", "content": SYSTEM_PROMPT}, *conversation]


class Talker:
    """The voice of a full model (a `spoken.Voice`).

    The thinker inside may be in training: the current policy speaks.
    """

    def __init__(self, model, processor, *, speaker: str | None = None, max_codes: int = MAX_CODES):
        self.model = model
        self.processor = processor
        self.max_codes = max_codes
        self.speaker = speaker or next(iter(model.speaker_map))
        self.name = f"Qwen2.5-Omni's talker, voice {self.speaker}"

    def __call__(
        self,
        completions: list[str],
        transcribe: str | None = None,
        *,
        prompts: list[list[dict]],
        audio: list | None = None,
        **columns,
    ) -> list[Speech | None]:
        """`prompts` are conversations, whose audio is a path or a 16 kHz array: in them, or beside
        them in the trainer's column `audio`."""
        if audio is not None:
            prompts = [with_audio(prompt, clip) for prompt, clip in zip(prompts, audio)]
        thinker = self.model.thinker
        was_training = thinker.training
        thinker.eval()  # in training mode, gradient checkpointing would turn the KV cache off
        try:
            # The talker samples; the random state of the training around it must not change.
            with torch.random.fork_rng():
                torch.manual_seed(0)
                pairs = zip(prompts, completions, strict=True)
                return [self._spoken(prompt, text, transcribe) for prompt, text in pairs]
        finally:
            thinker.train(was_training)

    def _codes(self, text: str) -> int:
        """The codes that the text may take."""
        seconds = SECONDS_BESIDE + SECONDS_A_WORD * len(text.split())
        return min(self.max_codes, int(seconds * RATE / SAMPLES_PER_CODE))

    def aloud(self, completion: str, conversation: list[dict]) -> tuple[np.ndarray, int]:
        """The samples of a completion, float32, and their rate in Hz; TooShort (a ValueError) if
        it has fewer than two tokens."""
        _, waveform, rate = answer_in_speech(
            self.model,
            _loaded(conversation),
            processing_class=self.processor,
            max_codes=self._codes(completion),
            speaker=self.speaker,
            written=completion,
        )
        return waveform, rate

    def _spoken(self, conversation: list[dict], text: str, transcribe: str | None) -> Speech | None:
        said = spoken_text(text)
        if not said:
            return None
        try:
            waveform, rate = self.aloud(text, conversation)
        except TooShort:
            return None
        if len(waveform) >= self._codes(text) * SAMPLES_PER_CODE:  # cut off before its end
            return None
        return measured(said, waveform, sample_rate=rate, transcribe=transcribe)


def _loaded(conversation: list[dict]) -> list[dict]:
    """A copy of the conversation in which audio is an array."""
    messages = [dict(message) for message in conversation]
    for message in messages:
        if not isinstance(message["content"], str):
            message["content"] = [_with_array(part) for part in message["content"]]
    return messages


def _with_array(part: dict) -> dict:
    if part["type"] == "audio" and not isinstance(part["audio"], np.ndarray):
        return {**part, "audio": load_audio(part["audio"])}
    return part


def load_with_voice(
    profile: Profile, speaks: bool = True
) -> tuple[torch.nn.Module, AudioProcessor, Voice | None]:
    """`(model, processor, voice)`: the thinker of a profile and the voice of its answers.

    The voice is the checkpoint's own talker, else `spoken.CASCADE`; None unless `speaks`.
    """
    if speaks and has_talker(profile):
        full, processor = load_full(profile)
        return full.thinker, processor, Talker(full, processor)
    model, processor = models.load(profile)
    return model, processor, CASCADE if speaks else None
