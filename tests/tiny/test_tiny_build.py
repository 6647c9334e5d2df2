"""build-tiny from end to end in seconds, and those of its parts that must not drift."""

import json

import numpy as np
import pytest
import torch

from soundmind_lite import data, models
from soundmind_lite.audio import load_audio
from soundmind_lite.profiles import ASSETS
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.tiny import build as tiny_build
from soundmind_lite.tiny import data as tiny_data
from soundmind_lite.tiny import model as tiny_model
from soundmind_lite.tiny.build import BuildError
from soundmind_lite.tiny.curve import training_curve
from soundmind_lite.tiny.training import Recipe

pytest.importorskip("hibari")


def test_a_short_build_gives_rows_and_a_model_that_load(tmp_path):
    """A few rows, and two or four steps a stage."""
    recipe = Recipe(text_steps=2, audio_encoder_steps=4, joint_steps=2, habit_steps=2, batch=3)
    splits = {"train": 4, "dev": 2, "test": 2}
    built = tmp_path / "built"
    tiny_build.build(built, recipe, splits=splits, speak_all=False, workers=1)
    rows = [row for split in data.SPLITS for row in data.load_alr(built / "mini_alr", split)]
    found = data.audit(rows, max_seconds=12)
    assert (found.rows, found.conflicts, found.bad_audio) == (8, [], [])
    thinker_class = tiny_model.Qwen2_5OmniThinkerForConditionalGeneration
    model = thinker_class.from_pretrained(built / "tiny_omni")
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 2e6
    processor = models.load_processor(built / "tiny_omni", 12)
    shipped = models.load_processor(ASSETS / "tiny_omni", 12)
    assert processor.tokenizer.get_vocab() == shipped.tokenizer.get_vocab()
    assert processor.chat_template == shipped.chat_template
    log = [json.loads(line) for line in (built / "tiny_omni" / tiny_build.LOG).open()]
    assert [e["stage"] for e in log if "loss" in e] == ["text", "ear", "joint", "habits"]
    settings = json.loads((built / "tiny_omni" / "processor_config.json").read_text())
    assert settings["processor_class"] == "Qwen2_5OmniProcessor"
    assert (built / "tiny_omni" / "training_curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(BuildError, match="not an empty folder"):
        tiny_build.build(built)


def test_the_shipped_rows_are_the_ones_that_the_code_makes():
    for split, count in tiny_data.SPLITS.items():
        made = tiny_data.problems(split, count)
        shipped = data.load_alr("mini", split)
        assert [p.question for p in made] == shipped["question"][:]
        assert [p.label for p in made] == shipped["label"][:]
        records = [tiny_data.row(f"{i:04}", problem) for i, problem in enumerate(made, 1)]
        lines = [json.dumps(record) + "\n" for record in records]
        file = ASSETS / "mini_alr" / f"{split}.jsonl"
        assert "".join(lines) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("split", tiny_data.SPLITS)
def test_a_shipped_clip_is_the_one_that_the_code_speaks(split, tmp_path):
    """Sample by sample, up to the rounding of another processor; an Ogg file's serial is random."""
    problem = tiny_data.problems(split, tiny_data.SPLITS[split])[0]
    made = tmp_path / "question.ogg"
    made.write_bytes(tiny_data._spoken_question((problem, tiny_data.VOICE_SEEDS[split])))
    shipped = ASSETS / "mini_alr" / split / "0001" / "question.ogg"
    np.testing.assert_allclose(load_audio(made), load_audio(shipped), atol=0.01)


def test_the_shipped_log_is_drawn_with_the_names_of_its_stages(tmp_path):
    """As SVG, whose text can be read: the log's "ear" is shown as the audio encoder."""
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none"}):
        training_curve(ASSETS / "tiny_omni" / tiny_build.LOG, tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text(encoding="utf-8")
    for words in ("audio encoder", "after joint:", "97% right,", "14% premises exact"):
        assert f">{words}<" in drawn
    assert ">ear<" not in drawn


def test_batched_features_equal_the_extractors(tiny, test_rows):
    _, processor = tiny
    clips = []
    for i, row in enumerate(test_rows[:3]):
        clips.append(load_audio(row["question_audio"])[: 16_000 * 3 + 37 * i])
    features, mask = tiny_model.Mel(processor.feature_extractor)(clips)
    for clip, ours, kept in zip(clips, features, mask):
        theirs = processor.feature_extractor(
            clip, sampling_rate=16_000, return_attention_mask=True, return_tensors="pt"
        )
        assert int(kept.sum()) == int(theirs["attention_mask"].sum())
        # The windows of the last frames reach into the padding, which differs.
        frames = len(clip) // 160 - 2
        expected = theirs["input_features"][0, :, :frames]
        torch.testing.assert_close(ours[:, :frames], expected, atol=1e-4, rtol=0)


def test_the_training_prompt_is_the_processors(tiny, test_rows):
    _, processor = tiny
    clip = load_audio(test_rows[0]["question_audio"])
    conversation = with_audio(prompt(), clip)
    texts = processor.apply_chat_template(
        [conversation], add_generation_prompt=True, tokenize=False
    )
    expected = processor(text=texts, audio=[clip], return_tensors="np")["input_ids"][0]
    _, prompts = tiny_model.Batches(processor).sound([clip])
    assert np.array_equal(prompts[0], expected)
