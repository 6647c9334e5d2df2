"""tiny_omni for the pages: its weights, sizes, tokens and prompt, as the site's scripts read them.

Everything comes from the checkpoint and the objects that the library itself answers with. The
weights are float32 in base64, which a page that is opened from a folder can load.
"""

import base64
import io
import json
from functools import partial
from pathlib import Path

import numpy as np

from .. import profiles
from ..audio import SAMPLE_RATE, load_audio
from ..tiny import syllogisms
from .web_run import RUN, rows_of

# Test questions of the lab `ask`: five that training fixed, two that were right before as well,
# of which one was guessed, one that stays wrong and one that training broke
ASKED = ("0003", "0009", "0007", "0017", "0055", "0044", "0001", "0019", "0015")
REMARKS = {  # on answers that are wrong after training
    "0019": "From “all mountains are soldiers” it accepts “all soldiers are mountains”: an illicit "
    "conversion, as in most of its wrong answers.",
    "0015": "It repeats every word and then puts “it” in place of the wrong noun; before training "
    "it guessed, and was lucky.",
}
UNUSED = ("visual.", "audio_tower.audio_bos_eos_token")  # parameters that no forward pass reads
LANGUAGE_MODEL = "base_model.model.model.language_model."  # as PEFT names it, here "model."


def model(folder: Path) -> dict:
    """The sizes, prompt, tokens and weights of tiny_omni before training."""
    from safetensors.numpy import load_file

    from .. import models

    profile = profiles.get("tiny")
    processor = models.load_processor(profile.model, profile.max_audio_seconds)
    config = _config(profile)
    extractor = processor.feature_extractor
    weights = load_file(Path(profile.model) / "model.safetensors")
    weights = {name: array for name, array in weights.items() if not name.startswith(UNUSED)}
    for name in ("audio_tower.conv1.weight", "audio_tower.conv2.weight"):
        weights[name] = weights[name].transpose(0, 2, 1)  # (outputs, time, channels)
    weights["mel_filters"] = extractor.mel_filters.T  # (bands, frequencies)
    audio, text = config.audio_config, config.text_config
    return {
        "mel": {"n_fft": extractor.n_fft, "hop_length": extractor.hop_length},
        "sample_rate": extractor.sampling_rate,
        "max_audio_seconds": models.max_audio_seconds(processor),
        "max_completion_length": profile.max_completion_length,
        "audio": {
            "layers": audio.encoder_layers,
            "heads": audio.encoder_attention_heads,
            "bands": audio.num_mel_bins,
            "width": audio.output_dim,
            "chunk": 2 * audio.n_window,  # frames
        },
        "text": {
            "layers": text.num_hidden_layers,
            "heads": text.num_attention_heads,
            "kvHeads": text.num_key_value_heads,
            "epsilon": text.rms_norm_eps,
            "theta": text.rope_parameters["rope_theta"],
        },
        "prompt": prompt_ids(processor),
        "tokens": tokens(processor.tokenizer),
        "stop": [processor.tokenizer.eos_token_id],
        "suppressed": models.placeholder_ids(config),
        "weights": packed(weights),
    }


def adapter(folder: Path) -> dict:
    """What training added: the LoRA adapter of the run `all_seed0`."""
    from safetensors.numpy import load_file

    files = RUN / "adapter"
    config = json.loads((files / "adapter_config.json").read_text(encoding="utf-8"))
    weights = load_file(files / "adapter_model.safetensors")
    weights = {
        "model." + name.removeprefix(LANGUAGE_MODEL): array for name, array in weights.items()
    }
    scale = config["lora_alpha"] / config["r"]
    return {"rank": config["r"], "scale": scale, "weights": packed(weights)}


def packed(arrays: dict[str, np.ndarray]) -> dict:
    """The arrays as one string: float32, little-endian, one behind the other, in base64."""
    data = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays.values())
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    return {"shapes": shapes, "base64": base64.b64encode(data).decode()}


def _config(profile):
    from transformers.models.qwen2_5_omni import Qwen2_5OmniThinkerConfig

    return Qwen2_5OmniThinkerConfig.from_pretrained(profile.model)


def prompt_ids(processor) -> dict[str, list[int]]:
    """The tokens before and after the audio of a question, whose place the sound takes."""
    from .. import models
    from ..prompts import prompt, with_audio

    asked = with_audio(prompt(), np.zeros(SAMPLE_RATE, np.float32))
    ids = models.encoded(processor, [asked], device="cpu")["input_ids"][0].tolist()
    first = ids.index(processor.audio_token_id)
    count = ids.count(processor.audio_token_id)
    return {"before": ids[:first], "after": ids[first + count :]}


def tokens(tokenizer) -> list[str]:
    """Each token's bytes, one character a byte; special tokens are empty, as in an answer's text.

    Byte-level BPE writes a byte as a printable character; `ByteLevel` maps them back.
    """
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: chr(byte) for byte, character in bytes_to_unicode().items()}
    special = set(tokenizer.all_special_ids)
    found = []
    for i in range(len(tokenizer)):
        token = "" if i in special else tokenizer.convert_ids_to_tokens(i)
        found.append("".join(byte_of[character] for character in token))
    return found


def ask(folder: Path) -> dict:
    """The questions of the lab `ask`, and the words that the model knows."""
    rows = [rows_of("test")[name] for name in ASKED]
    facts = ("id", "question", "label")
    return {
        "questions": [{name: row[name] for name in facts} for row in rows],
        "remarks": REMARKS,
        "nouns": sorted(syllogisms.NOUNS),
        "quantifiers": list(syllogisms.QUANTIFIERS.values()),
        "example": " ".join(syllogisms.problem_of(rows[0]).spoken),
    }


def clip(name: str, folder: Path) -> str:
    """The question of a test row as base64 of a FLAC, which decodes to the same samples in every
    browser."""
    audio = load_audio(rows_of("test")[name]["question_audio"])
    return base64.b64encode(flac_bytes(audio)).decode()


def flac_bytes(audio: np.ndarray) -> bytes:
    """A 16 kHz clip as FLAC of 16 bits a sample."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


DATA = {"tiny_omni": model, "tiny_omni_adapter": adapter, "ask": ask}
DATA |= {f"ask_{name}": partial(clip, name) for name in ASKED}
