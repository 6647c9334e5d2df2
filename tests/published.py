"""A checkpoint in the layout in which Qwen/Qwen2.5-Omni-7B is published, with narrow layers.

Files, names of weights, shards, precision and the keys of config.json are those of 2025; the sizes
and token ids are tiny_omni's, whose weights are the thinker's. Talker and token2wav are random.
"""

import json
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from transformers import AutoConfig, Qwen2_5OmniForConditionalGeneration, Qwen2Tokenizer

# what transformers calls a part today, and what the published files call it
OLD_NAMES = {
    "thinker.model.language_model.": "thinker.model.",
    "thinker.model.audio_tower.": "thinker.audio_tower.",
    "thinker.model.visual.": "thinker.visual.",
}
# a system turn where a conversation has none; whatever has the key "audio" is audio
TEMPLATE = (
    "{% for m in messages %}"
    "{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif part['type'] == 'audio' or 'audio' in part %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_bos|><|VIDEO|><|vision_eos|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PREPROCESSOR = {  # audio and pictures in one file; 300 s is the longest clip
    "chunk_length": 300,
    "dither": 0.0,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 128,
    "hop_length": 160,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "Qwen2VLImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "max_pixels": 12_845_056,
    "merge_size": 2,
    "min_pixels": 3136,
    "n_fft": 400,
    "n_samples": 4_800_000,
    "nb_max_frames": 30_000,
    "padding_side": "right",
    "padding_value": 0.0,
    "patch_size": 14,
    "processor_class": "Qwen2_5OmniProcessor",
    "return_attention_mask": True,
    "sampling_rate": 16_000,
    "temporal_patch_size": 2,
}
# what the parts' configs of 2025 hold of PretrainedConfig: dead keys that must do no harm
LEFTOVERS = {
    "_attn_implementation_autoset": True,
    "_name_or_path": "",
    "architectures": None,
    "do_sample": False,
    "eos_token_id": None,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "max_length": 20,
    "num_beams": 1,
    "pad_token_id": None,
    "return_dict": True,
    "temperature": 1.0,
    "tie_word_embeddings": True,  # of an audio encoder, which has nothing to tie
    "top_k": 50,
    "top_p": 1.0,
    "torch_dtype": None,
}
CODES = 64  # of the talker: 60 that sound, and four marks
WIDTH = 64  # of talker and token2wav
VOICES = {"Ethan": 490, "Chelsie": 491}  # each with a token of its own, beyond the text's
SHARD = "1200KB"  # so that the weights lie in five files, as those of the 7B do


def write(folder: Path, thinker, processor, *, head: str = "stored") -> Path:
    """Writes the checkpoint around a thinker and the tokenizer of a processor.

    `head`: "stored" as in the 7B, "tied" (config.json says so and no file has it), or "lacking".
    """
    folder.mkdir(parents=True)
    config = published_config(thinker.config, processor.tokenizer)
    text = config["thinker_config"]["text_config"]
    if head == "tied":
        text["tie_word_embeddings"] = True
    if head == "lacking":
        del text["tie_word_embeddings"]
    dump(config, folder / "config.json")
    weights = published_weights(folder, thinker)
    if head != "stored":
        del weights["thinker.lm_head.weight"]
    save_torch_state_dict(weights, folder, max_shard_size=SHARD, metadata={"format": "pt"})
    generation = {"_from_model_config": True, "transformers_version": "4.50.0.dev0"}
    dump(generation, folder / "generation_config.json")  # names no end of a turn
    dump(PREPROCESSOR, folder / "preprocessor_config.json")
    dump({"chat_template": TEMPLATE}, folder / "chat_template.json")
    write_tokenizer(folder, processor.tokenizer)
    voice = {"cond": torch.zeros(1, 16), "ref_mel": torch.zeros(1, 300, 80)}
    voices = {name: {"bos_token": token, **voice} for name, token in VOICES.items()}
    torch.save(voices, folder / "spk_dict.pt")
    return folder


def dump(value: dict, file: Path) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_tokenizer(folder: Path, tokenizer) -> None:
    """The tokenizer's vocabulary as a Qwen2Tokenizer, in the files of transformers 4.50."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    added = [token for _, token in sorted(tokenizer.added_tokens_decoder.items())]
    published = Qwen2Tokenizer(vocab=model["vocab"], merges=merges)
    published.add_tokens(added)
    published.backend_tokenizer.save(str(folder / "tokenizer.json"))
    published.backend_tokenizer.model.save(str(folder))  # vocab.json, merges.txt
    names = ("audio", "image", "video", "audio_bos", "audio_eos", "vision_bos", "vision_eos")
    extra = {f"{name}_token": getattr(tokenizer, f"{name}_token") for name in names}
    ids = {token.content: tokenizer.convert_tokens_to_ids(token.content) for token in added}
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    decoder = {str(i): {"content": token, **flags, "special": True} for token, i in ids.items()}
    ends = {"eos_token": tokenizer.eos_token, "pad_token": tokenizer.pad_token}
    special = {"additional_special_tokens": list(ids), **extra, **ends}
    settings = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": decoder,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "extra_special_tokens": extra,
        "model_max_length": 32_768,
        "processor_class": "Qwen2_5OmniProcessor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    dump(ids, folder / "added_tokens.json")
    dump(special, folder / "special_tokens_map.json")
    dump(settings | special, folder / "tokenizer_config.json")


def old_name(name: str) -> str:
    for new, old in OLD_NAMES.items():
        if name.startswith(new):
            return name.replace(new, old, 1)
    return name


def published_weights(folder: Path, thinker) -> dict[str, torch.Tensor]:
    """All weights by their published names: bfloat16, but for token2wav's float32."""
    config = AutoConfig.from_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2_5OmniForConditionalGeneration(config)
    model.thinker.load_state_dict(thinker.state_dict())
    weights = {}
    for name, value in model.state_dict().items():
        dtype = torch.float32 if name.startswith("token2wav") else torch.bfloat16
        weights[old_name(name)] = value.to(dtype).clone()
    return weights


def published_config(inner, tokenizer) -> dict:
    """config.json with the published keys and the sizes of a thinker's config."""
    audio_ids = {
        "audio_end_token_id": inner.audio_end_token_id,
        "audio_start_token_id": inner.audio_start_token_id,
        "audio_token_index": inner.audio_token_index,
        "image_token_index": inner.image_token_index,
        "video_token_index": inner.video_token_index,
        "vision_end_token_id": tokenizer.convert_tokens_to_ids("<|vision_eos|>"),
        "vision_start_token_id": tokenizer.convert_tokens_to_ids("<|vision_bos|>"),
        "position_id_per_seconds": 25,
        "seconds_per_chunk": 2,
        "torch_dtype": "bfloat16",
    }
    thinker = {
        **audio_ids,
        "_attn_implementation_autoset": True,
        "_name_or_path": "Qwen2.5-Omni-7B/thinker",
        "architectures": ["Qwen2OmniNaViTThinkerForConditionalGeneration"],
        "audio_config": audio_config(inner.audio_config),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "ignore_index": -100,
        "init_std": 0.02,
        "model_type": "qwen2_5_omni_thinker",
        "pad_token_id": tokenizer.pad_token_id,
        "text_config": text_config(inner.text_config),
        "user_token_id": 872,
        "vision_config": vision_config(inner.vision_config),
    }
    return {
        "architectures": ["Qwen2_5OmniModel"],
        "enable_audio_output": True,
        "enable_talker": True,
        "model_type": "qwen2_5_omni",
        "talker_config": talker_config(audio_ids, inner.text_config.hidden_size),
        "thinker_config": thinker,
        "token2wav_config": token2wav_config(),
        "torch_dtype": "bfloat16",
        "transformers_version": "4.50.0.dev0",
    }


def rope(theta: float, sections: list[int]) -> dict:
    """Two keys, each with the old and the new name of a kind of rope inside."""
    scaling = {"mrope_section": sections, "rope_type": "default", "type": "default"}
    return {"rope_scaling": scaling, "rope_theta": theta}


def text_config(inner) -> dict:
    parameters = inner.rope_parameters
    return {
        "model_type": "qwen2_5_omni_text",
        "hidden_act": "silu",
        "hidden_size": inner.hidden_size,
        "init_std": 0.02,
        "intermediate_size": inner.intermediate_size,
        "vocab_size": inner.vocab_size,
        "num_attention_heads": inner.num_attention_heads,
        "num_hidden_layers": inner.num_hidden_layers,
        "num_key_value_heads": inner.num_key_value_heads,
        "max_position_embeddings": 32_768,
        "max_window_layers": 28,
        "rms_norm_eps": 1e-6,
        **rope(parameters["rope_theta"], parameters["mrope_section"]),
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": 32_768,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
    }


def audio_config(inner) -> dict:
    return {
        **LEFTOVERS,
        "activation_function": "gelu",
        "d_model": inner.d_model,
        "dropout": 0.0,
        "encoder_attention_heads": inner.encoder_attention_heads,
        "encoder_ffn_dim": inner.encoder_ffn_dim,
        "encoder_layerdrop": 0.0,
        "encoder_layers": inner.encoder_layers,
        "max_source_positions": 1500,
        "model_type": "qwen2_5_omni_audio_encoder",
        "n_window": 100,
        "num_hidden_layers": inner.encoder_layers,
        "num_mel_bins": 128,
        "output_dim": inner.output_dim,
        "scale_embedding": False,
    }


def vision_config(inner) -> dict:
    return {
        **LEFTOVERS,
        "depth": inner.depth,
        "embed_dim": inner.hidden_size,
        "fullatt_block_indexes": list(inner.fullatt_block_indexes),
        "hidden_act": "silu",
        "hidden_size": inner.hidden_size,
        "in_channels": 3,
        "in_chans": 3,
        "intermediate_size": inner.intermediate_size,
        "model_type": "qwen2_5_omni_vision_encoder",
        "num_heads": inner.num_heads,
        "out_hidden_size": inner.out_hidden_size,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "temporal_patch_size": 2,
        "tokens_per_second": 25,
        "window_size": 112,
    }


def talker_config(token_ids: dict, embedding_size: int) -> dict:
    return {
        **token_ids,
        **rope(1_000_000.0, [2, 3, 3]),
        "_attn_implementation_autoset": True,
        "_name_or_path": "Qwen2.5-Omni-7B/talker",
        "architectures": ["Qwen2OmniTalkerForConditionalGeneration"],
        "embedding_size": embedding_size,
        "head_dim": 16,  # × 6 heads is more than the width, as in the 7B
        "hidden_act": "silu",
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 32_768,
        "model_type": "qwen2_5_omni_talker",
        "num_attention_heads": 6,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "sliding_window": 32_768,
        "spatial_merge_size": 2,
        "tts_codec_end_token_id": CODES - 2,
        "tts_codec_mask_token_id": CODES - 1,
        "tts_codec_pad_token_id": CODES - 4,
        "tts_codec_start_token_id": CODES - 3,
        "tts_text_end_token_id": 494,  # spare ids of the thinker's vocabulary
        "tts_text_pad_token_id": 492,
        "tts_text_start_token_id": 493,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": CODES,
    }


def token2wav_config() -> dict:
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": WIDTH}
    old = {"depth": 2, "heads": 2, "dim": WIDTH}  # the published names, which aren't read any more
    dit = {
        **LEFTOVERS,
        **sizes,
        **old,
        "dropout": 0.1,
        "emb_dim": 32,
        "enc_attention_channels": 16,
        "enc_channels": [32, 32, 32, 32, 96],
        "enc_dilations": [1, 2, 3, 4, 1],
        "enc_dim": 32,
        "enc_emb_dim": 16,
        "enc_kernel_sizes": [5, 3, 3, 3, 1],
        "enc_res2net_scale": 2,
        "enc_se_channels": 64,
        "ff_mult": 2,
        "head_dim": 32,
        "mel_dim": 80,
        "model_type": "qwen2_5_omni_dit",
        "num_embeds": CODES,
        "repeats": 2,
        "torch_dtype": "float32",
    }
    bigvgan = {
        **LEFTOVERS,
        "mel_dim": 80,
        "model_type": "qwen2_5_omni_bigvgan",
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
        "resblock_kernel_sizes": [3, 7, 11],
        "upsample_initial_channel": WIDTH,
        "upsample_kernel_sizes": [11, 7, 4, 4, 4, 4],
        "upsample_rates": [5, 3, 2, 2, 2, 2],
        "use_bias_at_final": False,
    }
    return {
        "_attn_implementation_autoset": True,
        "bigvgan_config": bigvgan,
        "dit_config": dit,
        "model_type": "qwen2_5_omni_token2wav",
    }
