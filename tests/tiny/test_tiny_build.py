"""build-tiny from end to end in seconds: a few rows and two steps a stage; and its parts that must not drift."""
import json

import numpy as np
import pytest
import torch

from soundmind_lite import data, models
from soundmind_lite.tiny import build as tiny_build, model as tiny_model
from soundmind_lite.audio import load_audio
from soundmind_lite.profiles import ASSETS
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.tiny.build import BuildError
from soundmind_lite.tiny.training import Recipe

pytest.importorskip("hibari")


def test_a_short_build_gives_rows_and_a_model_that_load(tmp_path):
    recipe = Recipe(text_steps=2, ear_steps=4, joint_steps=2, habit_steps=2, batch=3)
    tiny_build.build(tmp_path / "built", recipe, splits=dict(train=4, dev=2, test=2), speak_all=False, workers=1)
    built = tmp_path / "built"
    rows = [row for split in data.SPLITS for row in data.load_alr(built / "mini_alr", split)]
    found = data.audit(rows, max_seconds=12)
    assert (found.rows, found.conflicts, found.bad_audio) == (8, [], [])
    model = tiny_model.Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(built / "tiny_omni")
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 2e6
    processor = models.load_processor(built / "tiny_omni", 12)
    shipped = models.load_processor(ASSETS / "tiny_omni", 12)
    assert processor.tokenizer.get_vocab() == shipped.tokenizer.get_vocab()
    assert processor.chat_template == shipped.chat_template
    log = [json.loads(line) for line in (built / "tiny_omni" / tiny_build.LOG).open()]
    assert [e["stage"] for e in log if "loss" in e] == ["text", "ear", "joint", "habits"]
    assert json.loads((built / "tiny_omni" / "processor_config.json").read_text())["processor_class"] == "Qwen2_5OmniProcessor"
    with pytest.raises(BuildError, match="not an empty folder"):
        tiny_build.build(built)


def test_the_shipped_rows_are_the_ones_that_the_code_makes():
    from soundmind_lite.tiny import data as tiny_data

    for split, count in tiny_data.SPLITS.items():
        made = tiny_data.problems(split, count)
        shipped = data.load_alr("mini", split)
        assert [p.question for p in made] == shipped["question"][:]
        assert [p.label for p in made] == shipped["label"][:]


def test_batched_features_equal_the_extractors(tiny, test_rows):
    _, processor = tiny
    clips = [load_audio(row["question_audio"])[: 16_000 * 3 + 37 * i] for i, row in enumerate(test_rows[:3])]
    features, mask = tiny_model.Mel(processor.feature_extractor)(clips)
    for clip, ours, kept in zip(clips, features, mask):
        theirs = processor.feature_extractor(clip, sampling_rate=16_000, return_attention_mask=True, return_tensors="pt")
        assert int(kept.sum()) == int(theirs["attention_mask"].sum())
        frames = len(clip) // 160 - 2  # the last frames look at what follows: silence here, the longer clips' padding there
        torch.testing.assert_close(ours[:, :frames], theirs["input_features"][0, :, :frames], atol=1e-4, rtol=0)


def test_the_training_prompt_is_the_processors(tiny, test_rows):
    _, processor = tiny
    clip = load_audio(test_rows[0]["question_audio"])
    texts = processor.apply_chat_template([with_audio(prompt(), clip)], add_generation_prompt=True, tokenize=False)
    expected = processor(text=texts, audio=[clip], return_tensors="np")["input_ids"][0]
    _, prompts = tiny_model.Batches(processor).sound([clip])
    assert np.array_equal(prompts[0], expected)
