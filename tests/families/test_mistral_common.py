"""Voxtral with mistral-common's own tokenizer, where that is installed."""

import base64
import json

import pytest
import tiny_families
import transformers
from test_families import Plain
from tiny_training import trainer_of

from soundmind_lite.course.audio_check import AudioCheck

pytest.importorskip("mistral_common")

MARKS = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
    *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    *("[TOOL_CONTENT]", "<20>", "<21>", "<22>", "<23>", "[AUDIO]", "[BEGIN_AUDIO]"),
    *("[ARGS]", "[CALL_ID]", "[TRANSCRIBE]"),
)


@pytest.fixture
def tokenizer(tmp_path):
    """Read from a file in its newest format, with bytes as the vocabulary."""
    from transformers.tokenization_mistral_common import MistralCommonBackend

    special = [dict(rank=i, token_str=mark, is_control=True) for i, mark in enumerate(MARKS)]
    bytes_ = [base64.b64encode(bytes([i])).decode() for i in range(256)]
    vocab = [dict(rank=i, token_bytes=text, token_str=None) for i, text in enumerate(bytes_)]
    size = dict(num_vocab_tokens=256, default_num_special_tokens=40, default_vocab_size=296)
    audio = dict(sampling_rate=16_000, frame_rate=12.5, chunk_length_s=tiny_families.WINDOW)
    audio["audio_encoding_config"] = dict(num_mel_bins=128, hop_length=160, window_size=400)
    file = tmp_path / "tekken.json"
    content = dict(config=dict(size, pattern=".", version="v13"), vocab=vocab)
    file.write_text(json.dumps(dict(content, special_tokens=special, audio=audio)))
    return MistralCommonBackend(file)


def test_a_step_is_scored_with_the_audio(tokenizer, tmp_path, monkeypatch):
    model, processor = tiny_families.voxtral(tokenizer)
    assert isinstance(processor, transformers.VoxtralProcessor)
    monkeypatch.setitem(tiny_families.FAMILIES, "Voxtral", lambda: (model, processor))
    trainer = trainer_of(Plain, "Voxtral", tmp_path)
    trainer.add_callback(check := AudioCheck(trainer))
    trainer.train()
    assert max(trainer.gaps) <= 1e-5
    assert min(trainer.gaps_without) > 0.1
    assert check.steps[0].fault() == ""
