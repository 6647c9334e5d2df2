"""Loading: a tiny full checkpoint in the hub's layout goes through every profile's code, and
its thinker comes out bit by bit."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from soundmind_lite import data, grpo, models, profiles, prompts, train
from soundmind_lite.audio import load_audio
from soundmind_lite.evaluation import Answer
from soundmind_lite.scale import doctor
from soundmind_lite.speech import evaluation as spoken_evaluation
from soundmind_lite.speech import talker


def test_the_talker_speaks(full_checkpoint, test_rows):
    """Thinker, talker and token2wav on the CPU with random weights: a finite waveform of as many
    samples as there are codes."""
    model, processor = talker.load_full(replace(profiles.get("tiny"), model=str(full_checkpoint)))
    conversation = prompts.with_audio(prompts.prompt(), load_audio(test_rows[2]["question_audio"]))
    torch.manual_seed(0)
    text, waveform, rate = talker.answer_in_speech(
        model, conversation, processing_class=processor, max_new_tokens=20, max_codes=30
    )
    assert rate == 24_000
    assert waveform.dtype == "float32"
    assert np.isfinite(waveform).all()
    assert 0 < len(waveform) <= 30 * talker.SAMPLES_PER_CODE
    assert len(waveform) % talker.SAMPLES_PER_CODE == 0
    # the thinker's own greedy words, the same as without a talker
    assert text == "Answer: not-entailed"
    options = dict(processing_class=processor, speaker="Nobody")
    with pytest.raises(ValueError, match="no voice 'Nobody'; choose one of Chelsie"):
        talker.answer_in_speech(model, conversation, **options)


@pytest.fixture(scope="module")
def short_talker():
    """A talker whose random codes end soon: most of its 64 codes count as the last one."""

    class ShortTalker(talker.Talker):
        def __init__(self, model, processor):
            super().__init__(model, processor, max_codes=200)
            model.generate = partial(model.generate, talker_eos_token_id=list(range(20, 60)))

    return ShortTalker


def test_the_talker_is_a_voice(full_checkpoint, short_talker, test_rows):
    """It speaks what was written before; what it can't speak, or not to the end, is None."""
    thinker, processor, voice = talker.load_with_voice(
        replace(profiles.get("tiny"), model=str(full_checkpoint))
    )
    asked = prompts.with_audio(prompts.prompt(), test_rows[2]["question_audio"])
    conversation = prompts.with_audio(prompts.prompt(), np.zeros(16_000, np.float32))
    for written in (
        "<think>So it is.</think>\nAnswer: entailed",
        "Answer: not-entailed",
        "<|audio_bos|> a",
    ):
        options = dict(processing_class=processor, max_codes=30, written=written)
        said, *_ = talker.answer_in_speech(voice.model, conversation, **options)
        assert said == written
    texts, state = ["Answer: entailed", "", "</think>"], torch.get_rng_state()
    endless = talker.Talker(voice.model, processor, max_codes=30)
    assert endless(texts[:1], prompts=[asked]) == [None]
    thinker.train()
    voice = short_talker(voice.model, processor)
    speech, *nothing = voice(texts, "whole", prompts=[asked] * 3)
    assert nothing == [None, None]
    assert (speech.said, speech.seconds) == ("Answer: entailed", 0.0)  # noise of random weights
    assert isinstance(speech.transcript, str)
    assert thinker.training
    assert torch.equal(state, torch.get_rng_state())
    answers = [Answer("a", "Answer: entailed", True, True, True)]
    spoken = spoken_evaluation.listen(test_rows[:1], answers, voice=voice)
    name = spoken_evaluation.summary(spoken, voice)["voice"]
    assert name == "Qwen2.5-Omni's talker, voice Chelsie"


def test_training_with_the_talker(full_checkpoint, short_talker, eight_rows, tmp_path, monkeypatch):
    """A full checkpoint speaks for itself in training and evaluation, and the run says so."""
    monkeypatch.setattr(talker, "Talker", short_talker)
    small = dict(
        data=str(eight_rows),
        num_generations=2,
        prompts_per_step=1,
        per_device_train_batch_size=2,
        max_steps=1,
        max_completion_length=20,
        gradient_checkpointing=True,
    )
    profile = replace(profiles.get("tiny"), model=str(full_checkpoint), **small)
    result = train.train(profile, tmp_path / "run", setting="audio-audio")
    assert "talker" in json.loads((tmp_path / "run" / "run.json").read_text())["voice"]
    assert "talker" in result["after"]["spoken"]["voice"]


def test_a_thinker_alone_cannot_speak():
    words = "is no full checkpoint: it holds a thinker alone"
    with pytest.raises(models.CheckpointError, match=words):
        talker.load_full(profiles.get("tiny"))


def test_a_checkpoint_without_voices_says_so(full_checkpoint, tmp_path):
    folder = shutil.copytree(
        full_checkpoint, tmp_path / "mute", ignore=shutil.ignore_patterns("spk_dict.pt")
    )
    with pytest.raises((models.CheckpointError, OSError), match=r"spk_dict\.pt"):
        talker.load_full(replace(profiles.get("tiny"), model=str(folder)))


def of_profile(name, folder):
    return replace(profiles.get(name), model=str(folder))


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_profile_loads_the_thinker_alone(name, full_checkpoint, tiny):
    profile = of_profile(name, full_checkpoint)
    model, processor = models.load(profile)
    assert type(model).__name__ == "Qwen2_5OmniThinkerForConditionalGeneration"
    assert not any("talker" in n or "token2wav" in n for n, _ in model.named_parameters())
    assert models.max_audio_seconds(processor) == profile.max_audio_seconds
    dtype, found = getattr(torch, profile.dtype), dict(model.named_parameters())
    kept = [
        n
        for n, p in tiny[0].named_parameters()
        if not (profile.load_in_4bit and "language_model" in n)
    ]
    assert len(kept) > 20
    assert all(
        torch.equal(dict(tiny[0].named_parameters())[n].to(dtype), found[n].cpu()) for n in kept
    )


@pytest.mark.parametrize("name", ["t4", "l4"])
def test_four_bit_is_for_the_language_model_alone(name, full_checkpoint):
    import bitsandbytes

    model, _ = models.load(of_profile(name, full_checkpoint))
    quantised = [n for n, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(quantised) == 7 * model.config.text_config.num_hidden_layers
    assert all("language_model" in n for n in quantised)
    assert type(model.lm_head) is torch.nn.Linear


def test_what_speaks_is_not_quantised(full_checkpoint):
    import bitsandbytes

    model, _ = talker.load_full(of_profile("l4", full_checkpoint))
    quantised = [n for n, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(quantised) == 7 * model.config.thinker_config.text_config.num_hidden_layers
    assert all(n.startswith("thinker.model.language_model") for n in quantised)


@pytest.mark.parametrize("name", ["l4", "80gb"])
def test_a_step_of_training_at_a_large_profile_s_precision(
    name, full_checkpoint, eight_rows, tmp_path
):
    """bf16 and 4 bit, LoRA, gradient checkpointing: the code of the large profiles on the CPU, with
    the tiny weights."""
    profile = replace(
        of_profile(name, full_checkpoint),
        num_generations=2,
        prompts_per_step=1,
        max_completion_length=16,
        max_audio_seconds=12,
    )
    model, processor = models.load(profile)
    rows = data.training_rows(data.load_alr(eight_rows, "train"))

    def position(completions, **_):
        return [float(i) for i in range(len(completions))]

    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=rows,
        output_dir=tmp_path,
        reward_funcs=[position],
        max_steps=1,
        save_strategy="no",
        warmup_steps=0,
    )
    trainer.train()
    moved = [p.abs().max().item() for n, p in trainer.model.named_parameters() if "lora_B" in n]
    assert len(moved) == 28
    assert min(moved) > 0


def test_a_checkpoint_that_lacks_a_part_says_which(full_checkpoint, tmp_path):
    folder = shutil.copytree(full_checkpoint, tmp_path / "cut")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for shard in set(index["weight_map"].values()):
        weights = load_file(folder / shard)
        kept = {name: w for name, w in weights.items() if "audio_tower" not in name}
        kept = kept or {"none": torch.zeros(1)}
        save_file(kept, folder / shard, metadata={"format": "pt"})
    index["weight_map"] = {n: s for n, s in index["weight_map"].items() if "audio_tower" not in n}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    words = r"lacks \d+ parameters of the thinker, in model\.audio_tower"
    with pytest.raises(models.CheckpointError, match=words):
        models.load(of_profile("80gb", folder))


def test_a_profile_without_its_gpu_says_what_runs_here(monkeypatch):
    monkeypatch.setattr(doctor, "gpus", list)
    words = r"profile l4 .*: wants a GPU of 22 GB, there is none here; what runs here: tiny$"
    with pytest.raises(doctor.MachineError, match=words):
        doctor.require(profiles.get("l4"))
    monkeypatch.setattr(doctor, "gpus", lambda: [("card", 23.0)])
    doctor.require(profiles.get("l4"))
    words = "the largest here has 23 GB; what runs here: tiny, t4, l4"
    with pytest.raises(doctor.MachineError, match=words):
        doctor.require(profiles.get("80gb"))
