"""Loading: a tiny full checkpoint in the hub's layout goes through every profile's code, and
its thinker comes out bit by bit."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import published
import pytest
import torch
from safetensors.torch import load_file, save_file

from soundmind_lite import data, evaluation, grpo, models, profiles, prompts, train
from soundmind_lite.audio import load_audio
from soundmind_lite.evaluation import Answer
from soundmind_lite.scale import merging
from soundmind_lite.speech import evaluation as spoken_evaluation
from soundmind_lite.speech import talker


def test_the_talker_speaks(published_checkpoint, test_rows):
    """Thinker, talker and token2wav on the CPU with random weights: a finite waveform of as many
    samples as there are codes."""
    model, processor = talker.load_full(of_profile("tiny", published_checkpoint))
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
    # the thinker's own greedy words, as it writes them under the same system prompt
    spoken = talker.to_be_spoken(conversation)
    options = dict(processing_class=processor, max_new_tokens=20)
    assert [text] == evaluation.complete(model.thinker, [spoken], **options)
    options = dict(processing_class=processor, speaker="Nobody")
    with pytest.raises(ValueError, match="no voice 'Nobody'; choose one of Ethan, Chelsie"):
        talker.answer_in_speech(model, conversation, **options)


def test_the_talker_speaks_under_its_system_prompt(published_checkpoint, monkeypatch):
    """What is generated with speech is asked with it; a conversation's own system turn stays."""
    model, processor = talker.load_full(of_profile("tiny", published_checkpoint))
    generate, asked = model.generate, []

    def seen(input_ids, **options):
        asked.append(processor.tokenizer.decode(input_ids[0]))
        return generate(input_ids=input_ids, **options)

    monkeypatch.setattr(model, "generate", seen)
    conversation = prompts.with_audio(prompts.prompt(), np.zeros(16_000, np.float32))
    options = dict(processing_class=processor, max_codes=4, written="Answer: entailed")
    talker.answer_in_speech(model, conversation, **options)
    system = f"<|im_start|>system\n{talker.SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n"
    assert asked[0].startswith(system)
    assert asked[0].count("<|im_start|>system") == 1
    own = [{"role": "system", "content": "Speak slowly."}, *conversation]
    talker.answer_in_speech(model, own, **options)
    assert asked[1] == asked[0].replace(talker.SYSTEM_PROMPT, "Speak slowly.")
    # what the thinker is trained and evaluated on stays as it is
    assert [message["role"] for message in conversation] == ["user"]
    plain = models.encoded(processor, [conversation], device="cpu")["input_ids"][0]
    assert talker.SYSTEM_PROMPT not in processor.tokenizer.decode(plain)


def test_the_talker_speaks_answers_to_written_questions(published_checkpoint, short_talker):
    _, processor, voice = talker.load_with_voice(of_profile("tiny", published_checkpoint))
    voice = short_talker(voice.model, processor)
    asked = [prompts.prompt("Is every robin a bird?")]
    (speech,) = voice(["Answer: entailed"], "whole", prompts=asked)
    assert speech.said == "Answer: entailed"
    assert asked == [prompts.prompt("Is every robin a bird?")]


@pytest.fixture(scope="module")
def short_talker():
    """A talker whose random codes end soon: most of its 64 codes count as the last one."""

    class ShortTalker(talker.Talker):
        def __init__(self, model, processor):
            super().__init__(model, processor, max_codes=200)
            model.generate = partial(model.generate, talker_eos_token_id=list(range(20, 60)))

    return ShortTalker


def test_the_talker_is_a_voice(published_checkpoint, short_talker, test_rows):
    """It speaks what was written before; what it can't speak, or not to the end, is None."""
    thinker, processor, voice = talker.load_with_voice(of_profile("tiny", published_checkpoint))
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
    assert name == "Qwen2.5-Omni's talker, voice Ethan"


def test_training_with_the_talker(
    published_checkpoint, short_talker, eight_rows, tmp_path, monkeypatch
):
    """A full checkpoint speaks for itself in training and evaluation, and the run says so."""
    monkeypatch.setattr(talker, "Talker", short_talker)
    small = dict(
        data=str(eight_rows),
        num_generations=2,
        prompts_per_step=1,
        per_device_train_batch_size=2,
        max_steps=1,
        test_rows=4,
        max_completion_length=20,
        gradient_checkpointing=True,
    )
    profile = replace(profiles.get("tiny"), model=str(published_checkpoint), **small)
    result = train.train(profile, tmp_path / "run", setting="audio-audio")
    assert "talker" in json.loads((tmp_path / "run" / "run.json").read_text())["voice"]
    assert "talker" in result["after"]["spoken"]["voice"]


def test_a_thinker_alone_cannot_speak():
    words = "is no full checkpoint: it holds a thinker alone"
    with pytest.raises(models.CheckpointError, match=words):
        talker.load_full(profiles.get("tiny"))


def test_a_checkpoint_without_voices_says_so(published_checkpoint, tmp_path):
    folder = shutil.copytree(
        published_checkpoint, tmp_path / "mute", ignore=shutil.ignore_patterns("spk_dict.pt")
    )
    with pytest.raises(models.CheckpointError, match=r"has no voice: spk_dict\.pt"):
        talker.load_full(of_profile("tiny", folder))


def of_profile(name, folder):
    return replace(profiles.get(name), model=str(folder))


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_profile_loads_the_thinker_alone(name, published_checkpoint, tiny):
    profile = of_profile(name, published_checkpoint)
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
    stored = {n: p.to(torch.bfloat16) for n, p in tiny[0].named_parameters()}
    assert all(torch.equal(stored[n].to(dtype), found[n].cpu()) for n in kept)


@pytest.mark.parametrize("name", ["t4", "l4"])
def test_four_bit_is_for_the_language_model_alone(name, published_checkpoint):
    import bitsandbytes

    model, _ = models.load(of_profile(name, published_checkpoint))
    quantised = [n for n, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(quantised) == 7 * model.config.text_config.num_hidden_layers
    assert all("language_model" in n for n in quantised)
    assert type(model.lm_head) is torch.nn.Linear


def test_what_speaks_is_not_quantised(published_checkpoint):
    import bitsandbytes

    model, _ = talker.load_full(of_profile("l4", published_checkpoint))
    quantised = [n for n, m in model.named_modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(quantised) == 7 * model.config.thinker_config.text_config.num_hidden_layers
    assert all(n.startswith("thinker.model.language_model") for n in quantised)


@pytest.mark.parametrize("name", ["l4", "80gb"])
def test_a_step_of_training_at_a_large_profile_s_precision(
    name, published_checkpoint, eight_rows, tmp_path
):
    """bf16 and 4 bit, LoRA, gradient checkpointing: the code of the large profiles on the CPU, with
    the tiny weights."""
    profile = replace(
        of_profile(name, published_checkpoint),
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


@pytest.fixture(scope="module")
def headless(tiny, tmp_path_factory):
    """The published layout without a stored head, tied by its config or not."""
    folder = tmp_path_factory.mktemp("headless")
    return {head: published.write(folder / head, *tiny, head=head) for head in ("tied", "lacking")}


@pytest.mark.parametrize("name", ["tiny", "80gb", "l4"])
def test_a_tied_head_need_not_be_stored(name, headless, tmp_path):
    """The text config says that it is tied, as a smaller Qwen2.5-Omni's may."""
    profile = of_profile(name, headless["tied"])
    model, _ = models.load(profile)
    full, _ = talker.load_full(profile)
    for thinker in (model, full.thinker):
        assert thinker.lm_head.weight is thinker.get_input_embeddings().weight
    if not profile.load_in_4bit:
        model.save_pretrained(tmp_path)
        models.load_processor(headless["tied"]).save_pretrained(tmp_path)
        again, _ = models.load(replace(profile, model=str(tmp_path)))
        assert torch.equal(again.lm_head.weight, model.lm_head.weight)


def test_a_tied_head_stays_tied_in_training_and_merging(headless, eight_rows, tmp_path):
    sizes = dict(
        data=str(eight_rows),
        num_generations=2,
        prompts_per_step=1,
        per_device_train_batch_size=2,
        max_steps=1,
        max_completion_length=10,
    )
    train.train(replace(of_profile("tiny", headless["tied"]), **sizes), tmp_path / "run")
    merged = merging.merge(tmp_path / "run", tmp_path / "merged")
    model, _ = models.load(of_profile("tiny", merged))
    assert model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("load", [models.load, talker.load_full])
def test_a_head_that_is_nowhere_is_an_error(load, headless):
    """Transformers would answer with a random one."""
    with pytest.raises(models.CheckpointError, match=r"lacks 1 parameters.*lm_head\.weight"):
        load(of_profile("tiny", headless["lacking"]))


def test_a_checkpoint_that_lacks_a_part_says_which(published_checkpoint, tmp_path):
    folder = shutil.copytree(published_checkpoint, tmp_path / "cut")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for shard in set(index["weight_map"].values()):
        weights = load_file(folder / shard)
        kept = {name: w for name, w in weights.items() if "audio_tower" not in name}
        kept = kept or {"none": torch.zeros(1)}
        save_file(kept, folder / shard, metadata={"format": "pt"})
    index["weight_map"] = {n: s for n, s in index["weight_map"].items() if "audio_tower" not in n}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    words = r"lacks \d+ parameters, in model\.audio_tower"
    with pytest.raises(models.CheckpointError, match=words):
        models.load(of_profile("80gb", folder))
