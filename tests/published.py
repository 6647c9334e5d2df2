"""A checkpoint as the hub publishes Qwen2.5-Omni: names of weights, files and template of 2025."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

# what transformers calls a part today, and what the published files call it
OLD_NAMES = {
    "thinker.model.language_model.": "thinker.model.",
    "thinker.model.audio_tower.": "thinker.audio_tower.",
    "thinker.model.visual.": "thinker.visual.",
}
# a system turn where a conversation has none, and one placeholder between two marks for audio
TEMPLATE = (
    "{% for m in messages %}"
    "{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'audio' %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


PREPROCESSOR = {  # audio and pictures in one file; 300 s is the longest clip
    "chunk_length": 300,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 128,
    "hop_length": 160,
    "image_processor_type": "Qwen2VLImageProcessor",
    "n_fft": 400,
    "n_samples": 4_800_000,
    "nb_max_frames": 30_000,
    "padding_side": "right",
    "padding_value": 0.0,
    "processor_class": "Qwen2_5OmniProcessor",
    "return_attention_mask": True,
    "sampling_rate": 16_000,
}


def old_name(name: str) -> str:
    for new, old in OLD_NAMES.items():
        if name.startswith(new):
            return name.replace(new, old, 1)
    return name


def as_published(checkpoint: Path, folder: Path) -> Path:
    """A copy of a full checkpoint that transformers wrote, in the published layout.

    Its generation_config.json names no end of a turn, as on the hub.
    """
    shutil.copytree(checkpoint, folder)
    index_file = folder / "model.safetensors.index.json"
    index = json.loads(index_file.read_text())
    for shard in sorted(set(index["weight_map"].values())):
        weights = {old_name(name): value for name, value in load_file(folder / shard).items()}
        save_file(weights, folder / shard, metadata={"format": "pt"})
    index["weight_map"] = {old_name(name): shard for name, shard in index["weight_map"].items()}
    index_file.write_text(json.dumps(index))
    config = {"_from_model_config": True, "transformers_version": "4.50.0.dev0"}
    (folder / "generation_config.json").write_text(json.dumps(config))
    for name in ("chat_template.jinja", "processor_config.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    return folder
