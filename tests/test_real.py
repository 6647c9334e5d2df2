"""What only the published files of Qwen2.5-Omni show, held by a checkpoint in their layout."""

import json
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from soundmind_lite import data, evaluation, grpo, models, profiles, prompts, train
from soundmind_lite.runs import adapter
from soundmind_lite.runs.evaluating import evaluate
from soundmind_lite.scale import merging
from soundmind_lite.speech import talker

# an answer, the end of the turn, and what a model babbles if nothing ends it there
ANSWER = "<think>a</think>\nAnswer: entailed<|im_end|>"
AFTER_THE_END = "\n<|im_start|>user\nAnd then? " * 8
SIZES = dict(
    dtype="float32",
    card="",
    num_generations=2,
    per_device_train_batch_size=2,
    prompts_per_step=1,
    max_completion_length=40,
    max_audio_seconds=12,
    max_steps=1,
    gradient_checkpointing=False,
    per_device_eval_batch_size=4,
)


@pytest.fixture
def published(published_checkpoint, eight_rows):
    """A profile with the published layout, on eight rows."""
    sizes = SIZES | {"model": str(published_checkpoint), "data": str(eight_rows)}
    return replace(profiles.get("80gb"), name="published", **sizes)


class Script:
    """A language model's head that says the same words whatever it is asked, while it is on."""

    def __init__(self, monkeypatch, model, tokenizer):
        self.ids = tokenizer(ANSWER + AFTER_THE_END).input_ids
        vocabulary = model.lm_head.out_features
        self.on = True
        self.said = 0
        forward = torch.nn.Linear.forward

        def scripted(module, states):
            out = forward(module, states)
            if out.ndim == 3 and out.shape[1] > 1:  # a prefill begins a new answer
                self.said = 0
            if not self.on or module.out_features != vocabulary:
                return out
            logits = torch.full_like(out, -1e4)
            logits[:, -1, self.ids[min(self.said, len(self.ids) - 1)]] = 0.0
            self.said += 1
            return logits

        monkeypatch.setattr(torch.nn.Linear, "forward", scripted)


def test_the_layout_is_the_published_one(published_checkpoint):
    """What the loading code must cope with: if the fixture loses it, no other test would notice."""
    shards = [f"model-{i:05}-of-00005.safetensors" for i in range(1, 6)]
    index = "model.safetensors.index.json"
    settings = {"config", "generation_config", "preprocessor_config", "chat_template"}
    tokenizer = {"tokenizer", "tokenizer_config", "special_tokens_map", "added_tokens", "vocab"}
    texts = {f"{name}.json" for name in settings | tokenizer}
    there = {path.name for path in published_checkpoint.iterdir()}
    assert there == {*shards, index, *texts, "merges.txt", "spk_dict.pt"}

    generation = json.loads((published_checkpoint / "generation_config.json").read_text())
    assert set(generation) == {"_from_model_config", "transformers_version"}  # no end of a turn

    stored = {}
    for shard in shards:
        stored |= load_file(published_checkpoint / shard)
    weights = json.loads((published_checkpoint / index).read_text())["weight_map"]
    assert set(weights) == set(stored)
    parts = {".".join(name.split(".")[:2]) for name in stored}
    thinker = {"thinker.audio_tower", "thinker.lm_head", "thinker.model", "thinker.visual"}
    talks = {"talker.codec_head", "talker.model", "talker.thinker_to_talker_proj"}
    sounds = {"token2wav.code2wav_bigvgan_model", "token2wav.code2wav_dit_model"}
    assert parts == thinker | talks | sounds
    assert not any(".language_model." in name for name in stored)
    for name, value in stored.items():
        is_wave = name.startswith("token2wav")
        assert value.dtype == (torch.float32 if is_wave else torch.bfloat16)
    # one file holds parts of all three, so that none can be left out
    mixed = [name.partition(".")[0] for name, shard in weights.items() if shard == shards[2]]
    assert set(mixed) == {"thinker", "talker", "token2wav"}


def test_the_published_template_adds_a_system_turn_and_reads_any_audio_key(published_checkpoint):
    processor = models.load_processor(published_checkpoint)
    options = dict(tokenize=False, add_generation_prompt=True)
    plain = processor.apply_chat_template(prompts.prompt("Is it so?"), **options)
    assert plain.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")
    # as Arrow hands back a text beside an audio part: with all keys
    filled = [{"role": "user", "content": [{"type": "text", "text": "a", "audio": None}]}]
    assert "<|AUDIO|>" in processor.apply_chat_template(filled, **options)


def test_the_end_of_a_turn_is_set_where_a_model_is_loaded(published, published_checkpoint):
    model, processor = models.load(published)
    end = processor.tokenizer.eos_token_id
    assert model.generation_config.eos_token_id == [end]
    assert model.generation_config.pad_token_id == processor.tokenizer.pad_token_id
    full, _ = talker.load_full(published)
    assert full.thinker.generation_config.eos_token_id == [end]


def test_the_same_words_have_the_same_score_before_and_after(published, tmp_path, monkeypatch):
    """Measured before, after, by `evaluate`, loaded back, and merged; the trainer stops alike."""
    model, processor = models.load(published)
    script = Script(monkeypatch, model, processor.tokenizer)
    truth = grpo.trainer_for
    stops = []

    def trainer_for(*args, **options):
        trainer = truth(*args, **options)
        stops.append(set(trainer.eos_token_ids))
        learn = trainer.train

        def unscripted(**how):
            script.on = False
            learn(**how)
            script.on = True

        trainer.train = unscripted
        return trainer

    monkeypatch.setattr(grpo, "trainer_for", trainer_for)
    result = train.train(published, tmp_path / "run")
    assert stops == [{processor.tokenizer.eos_token_id}]
    before, after = result["before"], result["after"]
    assert before["format_rate"] == after["format_rate"] == 1.0
    assert before["accuracy"] == after["accuracy"] > 0
    evaluated = evaluate(run=tmp_path / "run")
    assert evaluated["accuracy"] == after["accuracy"]
    merged = merging.merge(tmp_path / "run", tmp_path / "merged")
    model, processor = models.load(replace(published, model=str(merged)))
    rows = data.load_alr(published.data, "test")
    answers = evaluation.answer_rows(model, rows, processing_class=processor, profile=published)
    assert evaluation.summary(answers)["accuracy"] == after["accuracy"]


@pytest.mark.parametrize("name", ["t4", "l4", "80gb"])
def test_small_updates_move_the_adapter(name, published, eight_rows, tmp_path):
    """At the profile's own learning rate, more than 99 % of its values move in four steps."""
    large = profiles.get(name)
    precision = dict(dtype=large.dtype, load_in_4bit=large.load_in_4bit)
    profile = replace(published, learning_rate=large.learning_rate, **precision)
    model, processor = models.load(profile)

    def position(completions, **_):
        return [float(i) for i in range(len(completions))]

    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=data.training_rows(data.load_alr(eight_rows)),
        output_dir=tmp_path,
        reward_funcs=position,
        max_steps=4,
        save_strategy="no",
        warmup_steps=0,
    )
    trained = {n: p for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    trainer.train()
    still = sum(int((before[name] == value).sum()) for name, value in trained.items())
    assert still < 0.01 * sum(value.numel() for value in trained.values())


@pytest.mark.parametrize("name", ["l4", "80gb"])
def test_what_is_evaluated_is_the_adapter_as_trained(name, published, eight_rows, tmp_path):
    """In 16 or 4 bits it stays beside the weights, and loads back to the same function."""
    large = profiles.get(name)
    precision = dict(dtype=large.dtype, load_in_4bit=large.load_in_4bit)
    profile = replace(published, **precision)
    model, processor = models.load(profile)
    trainer = grpo.trainer_for(
        profile,
        model,
        processing_class=processor,
        train_dataset=data.training_rows(data.load_alr(eight_rows)),
        output_dir=tmp_path,
        save_strategy="no",
    )
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01 * torch.randn_like(parameter))
    asked = torch.arange(40, 80)[None]
    with torch.no_grad():
        expected = trainer.model.eval()(input_ids=asked).logits
        with trainer.model.disable_adapter():
            base = trainer.model(input_ids=asked).logits
    evaluated = adapter.save_adapter(trainer, tmp_path)
    assert isinstance(evaluated, PeftModel)
    again = adapter.with_adapter(models.load(profile)[0], tmp_path)
    for model in (evaluated, again):
        with torch.no_grad():
            off = model(input_ids=asked).logits - expected
        assert off.norm() < 1e-3 * (expected - base).norm()
