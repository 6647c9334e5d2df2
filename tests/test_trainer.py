"""Every log-prob pass is conditioned on the audio: held against single forward passes, with
controls that show what plain TRL does. And the trainer takes what GRPOTrainer takes."""

import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Audio, Dataset
from trl import GRPOConfig, GRPOTrainer

from soundmind_lite import AudioGRPOTrainer, data, grpo, models, profiles
from soundmind_lite.audio import AudioError, load_audio
from soundmind_lite.models import AUDIO_FIELDS, audio_token_count
from soundmind_lite.prompts import prompt, with_audio
from soundmind_lite.rewards import TEXT_REWARDS, answer_reward
from soundmind_lite.runs import reinforce
from soundmind_lite.runs.guards import EpochSampler, GuardedTrainer

SMALL = replace(
    profiles.get("tiny"),
    num_generations=4,
    prompts_per_step=2,
    per_device_train_batch_size=2,
    max_steps=3,
    max_completion_length=24,
    learning_rate=5e-3,
    beta=0.05,
)


def single_log_probs(model, processor, clip, input_ids, attention_mask, keep, with_clip=True):
    """Log-probs of one row's completion tokens from an unpadded forward pass of its own, and which
    of the `keep` columns they belong to."""
    real = attention_mask.bool()
    ids = input_ids[real][None]
    features = {}
    if with_clip:
        options = {"return_attention_mask": True, "return_tensors": "pt"}
        found = processor.feature_extractor(clip, sampling_rate=16_000, **options)
        features = dict(zip(AUDIO_FIELDS, (found["input_features"], found["attention_mask"])))
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **features).logits
    scored = torch.log_softmax(logits[0, :-1].float(), -1).gather(1, ids[0, 1:, None])[:, 0]
    count = int(real[-keep:].sum())
    return scored[-count:] if count else scored[:0], real[-keep:]


class Witness:
    """Compares every log-prob pass with single forwards of the same model at the same moment."""

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, **kwargs
    ):
        tokens = (input_ids, attention_mask, logits_to_keep)
        result = super()._get_per_token_logps_and_entropies(model, *tokens, **kwargs)
        for with_clip, gaps in ((True, self.gaps), (False, self.gaps_without_audio)):
            for ids, mask, log_probs in zip(input_ids, attention_mask, result[0]):
                clip = self.clips[int((ids == self._audio_token).sum())]
                row = (clip, ids, mask, logits_to_keep, with_clip)
                expected, kept = single_log_probs(model, self.processing_class, *row)
                gaps.append((log_probs.detach()[kept] - expected).abs().max().item())
        self.passes.add((len(input_ids), torch.is_grad_enabled()))
        return result


class PlainWitness(Witness, AudioGRPOTrainer):
    pass


class RunWitness(Witness, GuardedTrainer):
    pass


def variety(completions, **_):
    """A reward that differs within every group, so that the weights move."""
    return [float(len(set(c[0]["content"]))) for c in completions]


def trainer_of(cls, tiny, rows, out, profile=SMALL, rewards=TEXT_REWARDS, **overrides):
    model, processor = tiny
    options = {"algorithm": overrides.pop("algorithm")} if "algorithm" in overrides else {}
    if issubclass(cls, GuardedTrainer):
        options["rollout_file"] = Path(out) / "completions.jsonl"
    return cls(
        model=model,
        processing_class=processor,
        reward_funcs=list(rewards),
        train_dataset=rows,
        peft_config=grpo.lora_config(profile),
        args=grpo.grpo_config(profile, out, save_strategy="no", **overrides),
        **options,
    )


@pytest.fixture
def two_lengths(tiny):
    """Four rows with clips of two lengths, and the clip for each number of audio tokens."""
    rows = list(data.load_alr("mini", "train"))
    rows.sort(key=lambda row: len(load_audio(row["question_audio"])))
    chosen = [rows[0], rows[-1], rows[0], rows[-1]]
    clips = [load_audio(row["question_audio"]) for row in chosen[:2]]
    by_tokens = {int(audio_token_count(-(-len(clip) // 160))): clip for clip in clips}
    assert len(by_tokens) == 2
    return data.training_rows(Dataset.from_list(chosen)), by_tokens


@pytest.mark.parametrize("cls", [PlainWitness, RunWitness])
def test_log_probs_equal_single_forwards(cls, fresh_tiny, two_lengths, tmp_path):
    """Policy, old and reference passes, of the trainer that the notebooks show and of the one that
    runs; micro-batches of 2 in groups of 4; two clip lengths; accumulation; two iterations."""
    rows, clips = two_lengths
    batches = dict(num_iterations=2, gradient_accumulation_steps=2, generation_batch_size=8)
    witness = trainer_of(cls, fresh_tiny, rows, tmp_path, rewards=[variety], **batches)
    witness.clips, witness.passes = clips, set()
    witness.gaps, witness.gaps_without_audio = [], []
    witness.train()
    # old and reference: a whole generation batch in chunks; policy: micro-batches
    assert witness.passes == {(8, False), (2, True)}
    assert max(witness.gaps) <= 1e-5
    assert sorted(witness.gaps_without_audio)[len(witness.gaps_without_audio) // 2] > 0.1
    moved = [p.abs().max().item() for n, p in witness.model.named_parameters() if "lora_B" in n]
    assert min(moved) > 0
    assert witness.state.log_history[-2]["kl"] > 0  # the reference stayed where it was


def test_lora_is_on_the_language_model_only(fresh_tiny, tmp_path):
    trainer = trainer_of(
        AudioGRPOTrainer, fresh_tiny, data.training_rows(data.load_alr("mini", "dev")), tmp_path
    )
    trainable = [n for n, p in trainer.model.named_parameters() if p.requires_grad]
    assert len(trainable) == 2 * 7 * 4  # A and B of seven projections in four layers
    assert all("language_model" in n and "lora_" in n for n in trainable)


def test_placeholders_are_never_sampled(fresh_tiny, two_lengths, tmp_path):
    """The head is bent so that the audio placeholder would win every draw; it still never comes."""
    model, _ = fresh_tiny
    trainer = trainer_of(AudioGRPOTrainer, fresh_tiny, two_lengths[0], tmp_path, max_steps=1)
    inner = trainer.accelerator.unwrap_model(trainer.model).get_base_model()
    inner.lm_head.register_forward_hook(
        lambda _m, _i, out: out.index_fill(-1, torch.tensor([model.config.audio_token_id]), 50.0)
    )
    output = trainer._generate_and_score_completions([two_lengths[0][i] for i in (0, 0, 0, 0)])
    assert not (output["completion_ids"] == model.config.audio_token_id).any()


def test_a_cut_prompt_is_refused(fresh_tiny, two_lengths, tmp_path):
    trainer = trainer_of(AudioGRPOTrainer, fresh_tiny, two_lengths[0], tmp_path)
    out = trainer._generate_and_score_completions([two_lengths[0][i] for i in (0, 0, 0, 0)])
    ids = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)
    mask = torch.cat([out["prompt_mask"], out["completion_mask"]], 1)
    keep = out["completion_ids"].shape[1]
    with pytest.raises(ValueError, match="audio placeholders and their features make"):
        trainer._get_per_token_logps_and_entropies(trainer.model, ids[:, 20:], mask[:, 20:], keep)


def test_vllm_with_audio_fails_early(fresh_tiny, two_lengths, tmp_path):
    model, processor = fresh_tiny
    arguments = grpo.grpo_config(SMALL, tmp_path)
    arguments.use_vllm = True
    with pytest.raises(NotImplementedError, match="with use_vllm or a rollout_func"):
        AudioGRPOTrainer(model, list(TEXT_REWARDS), arguments, two_lengths[0], None, processor)


def test_a_rollout_function_with_audio_is_refused_never_scored_without_it(
    fresh_tiny, two_lengths, tmp_path
):
    """Before the first step where the columns tell, at the first batch where they don't."""
    model, processor = fresh_tiny
    rows, _ = two_lengths
    options = dict(processing_class=processor, rollout_func=lambda prompts, trainer: {})
    arguments = grpo.grpo_config(SMALL, tmp_path)
    with pytest.raises(NotImplementedError, match="with use_vllm or a rollout_func"):
        AudioGRPOTrainer(model, answer_reward, arguments, rows, **options)
    trainer = AudioGRPOTrainer(
        model, answer_reward, arguments, rows.remove_columns("audio"), **options
    )
    with pytest.raises(NotImplementedError, match="with use_vllm or a rollout_func"):
        trainer._generate_and_score_completions([rows[i] for i in (0, 0, 0, 0)])


def test_the_signature_is_trl_s_with_an_algorithm():
    ours = inspect.signature(AudioGRPOTrainer).parameters
    theirs = inspect.signature(GRPOTrainer).parameters
    assert list(ours) == [*theirs, "algorithm"]
    for name, parameter in theirs.items():
        assert (ours[name].kind, ours[name].default) == (parameter.kind, parameter.default)


@pytest.mark.parametrize("kind", ["function", "list", "tuple"])
def test_arguments_may_be_positional_and_rewards_one_or_several(kind, tiny, two_lengths, tmp_path):
    """In TRL's order, with the processor of the model's own checkpoint as the default."""
    model, _ = models.load("tiny")
    rewards = {"function": answer_reward, "list": [answer_reward], "tuple": (answer_reward,)}[kind]
    arguments = grpo.grpo_config(SMALL, tmp_path, save_strategy="no", max_steps=1)
    trainer = AudioGRPOTrainer(model, rewards, arguments, two_lengths[0])
    assert type(trainer.processing_class) is models.AudioProcessor
    assert trainer.reward_func_names == ["answer_reward"]
    trainer.train()
    assert "rewards/answer_reward/mean" in trainer.state.log_history[0]


def test_a_model_may_be_a_path(two_lengths, tmp_path):
    arguments = grpo.grpo_config(SMALL, tmp_path, save_strategy="no", max_steps=1)
    rows, _ = two_lengths
    trainer = AudioGRPOTrainer(profiles.get("tiny").model, answer_reward, arguments, rows)
    trainer.train()
    assert trainer.state.global_step == 1


@pytest.mark.parametrize("cls", [AudioGRPOTrainer, GuardedTrainer])
@pytest.mark.parametrize("kind", ["bytes", "array", "Audio", "mixed"])
def test_audio_in_every_form_gives_the_same_batch(kind, cls, two_lengths, tmp_path):
    """A path, {"path", "bytes"}, an array at 16 kHz, a datasets.Audio column: the same samples,
    features and reference log-probs."""
    rows, _ = two_lengths
    paths = rows["audio"]
    contents = [{"path": None, "bytes": Path(path).read_bytes()} for path in paths]
    arrays = [load_audio(path) for path in paths]
    batches = []
    for form in ("path", kind):
        torch.manual_seed(0)
        trainer = trainer_of(cls, models.load("tiny"), rows, tmp_path)
        batch = [dict(rows[i]) for i in (0, 0, 0, 0, 1, 1, 1, 1)]
        for i, row in enumerate(batch):
            clip = {"bytes": contents, "array": arrays, "path": paths, "Audio": contents}
            clip = clip | {"mixed": (paths, contents, arrays)[i % 3]}
            row["audio"] = clip[form][i // 4]
        if form == "Audio":
            stored = rows.remove_columns("audio").add_column("audio", paths)
            stored = stored.cast_column("audio", Audio(sampling_rate=16_000))
            stored = trainer_of(cls, models.load("tiny"), stored, tmp_path).train_dataset
            batch = [dict(stored[i]) for i in (0, 0, 0, 0, 1, 1, 1, 1)]
            torch.manual_seed(0)
            trainer.model.load_state_dict(
                trainer_of(cls, models.load("tiny"), rows, tmp_path).model.state_dict()
            )
        torch.manual_seed(1)
        batches.append(trainer._generate_and_score_completions(batch))
    expected, found = batches
    assert torch.equal(expected["completion_ids"], found["completion_ids"])
    assert torch.equal(expected["ref_per_token_logps"], found["ref_per_token_logps"])
    for name in trainer.audio_fields:
        assert all(torch.equal(a, b) for a, b in zip(expected[name], found[name]))


@pytest.mark.parametrize("prompts", ["strings", "messages"])
def test_rows_without_audio_train_as_in_trl(prompts, fresh_tiny, tmp_path):
    rows = data.training_rows(data.load_alr("mini", "dev"), "text-text").remove_columns("audio")
    if prompts == "strings":
        rows = rows.map(
            lambda row: {"prompt": row["prompt"][0]["content"]}, remove_columns="prompt"
        )
    trainer = trainer_of(GuardedTrainer, fresh_tiny, rows, tmp_path, max_steps=1)
    trainer.train()
    assert len((tmp_path / "completions.jsonl").read_text().splitlines()) == 8


def test_evaluation_rows_and_own_adapter_go_through_trainer_for(tiny, two_lengths, tmp_path):
    rows, _ = two_lengths
    model, processor = models.load("tiny")
    lora = grpo.lora_config(replace(SMALL, lora_r=4))
    trainer = grpo.trainer_for(
        SMALL,
        model,
        processing_class=processor,
        train_dataset=rows,
        eval_dataset=rows.select(range(2)),
        output_dir=tmp_path,
        reward_funcs=answer_reward,
        peft_config=lora,
        max_steps=1,
        save_strategy="no",
        eval_strategy="steps",
        eval_steps=1,
        per_device_eval_batch_size=4,
    )
    trainer.train()
    assert trainer.model.peft_config["default"].r == 4
    evaluated = [entry for entry in trainer.state.log_history if "eval_reward" in entry]
    assert 0 <= evaluated[0]["eval_reward"] <= 2


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (13, "13.0 s long, the profile's limit is 12.0 s"),
        (0.01, "0.010 s long"),
        (None, "No such file"),
    ],
)
def test_training_names_the_row_of_a_bad_clip(fresh_tiny, tone, tmp_path, seconds, message):
    clip = tmp_path / "none.wav" if seconds is None else tone(seconds=seconds)
    rows = Dataset.from_list(
        [dict(id="0042", prompt=prompt(), audio=str(clip), label=1, reference_length=10)] * 4
    )
    with pytest.raises(AudioError, match=f"row 0042: .*{message}"):
        trainer_of(AudioGRPOTrainer, fresh_tiny, rows, tmp_path).train()


def test_text_rows_train_too(fresh_tiny, tmp_path):
    rows = data.training_rows(data.load_alr("mini", "dev"), "text-text")
    trainer = trainer_of(GuardedTrainer, fresh_tiny, rows, tmp_path, max_steps=1)
    trainer.train()
    assert trainer._audio == {}
    assert len((tmp_path / "completions.jsonl").read_text().splitlines()) == 8


def test_reinforce_pp_takes_the_kl_to_come_from_the_reward_and_the_batch_as_baseline():
    """By hand: returns 3.9, 3.8 and 1.0, 1.0, 0.5; their mean is 2.04, their std 1.6652."""
    rewards = torch.tensor([4.0, 1.0, torch.nan])
    kl = torch.tensor([[-0.1, 0.2, 9.0], [0.0, -0.5, 0.5], [1.0, 1.0, 1.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 1]])
    found = reinforce.token_advantages(rewards, kl, mask, beta=1.0)
    expected = torch.tensor([[1.1169, 1.0568, 0.0], [-0.6245, -0.6245, -0.9247], [0, 0, 0]])
    assert torch.allclose(found, expected, atol=2e-4)
    counted = found[:2][mask[:2] == 1]
    assert counted.mean().abs() < 1e-5
    assert abs(counted.std() - 1) < 1e-3


def test_reinforce_pp_has_no_kl_in_the_loss(fresh_tiny, tmp_path):
    """Its gradient with a large beta is that of the advantages alone, and TRL's log has the KL."""
    rows = data.training_rows(data.load_alr("mini", "dev"))
    how = {"algorithm": "reinforce++", "beta": 0.7, "max_steps": 2, "warmup_steps": 0}
    trainer = trainer_of(GuardedTrainer, fresh_tiny, rows, tmp_path, learning_rate=1e-3, **how)
    seen = []
    plain = GRPOTrainer._compute_loss
    compute = trainer._compute_loss

    def watched(model, inputs):
        loss = compute(model, inputs)
        with reinforce.kl_in_the_reward(trainer):
            alone = plain(trainer, model, inputs)
        seen.append((loss.item(), alone.item(), inputs["advantages"].shape))
        return loss

    trainer._compute_loss = watched
    trainer.train()
    assert trainer.beta == 0.7
    for loss, alone, shape in seen:
        assert loss == pytest.approx(alone, abs=1e-6)
        assert len(shape) == 2
    assert trainer.state.log_history[1]["kl"] != 0


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone(fresh_tiny, two_lengths, tmp_path):
    rows = Dataset.from_list([two_lengths[0][0]] * 40)
    trainer = trainer_of(GuardedTrainer, fresh_tiny, rows, tmp_path)
    sampler = trainer._get_train_sampler()
    assert type(sampler) is EpochSampler
    plain = list(GRPOTrainer._get_train_sampler(trainer))
    orders = []
    for epoch in (0, 1, 0, 1):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert orders[0] == orders[2] == plain  # the first epoch is TRL's own
    assert orders[1] == orders[3] != orders[0]


def test_an_unknown_algorithm_is_named(fresh_tiny):
    with pytest.raises(ValueError, match="no algorithm 'ppo'"):
        AudioGRPOTrainer(
            model=fresh_tiny[0],
            algorithm="ppo",
            reward_funcs=[],
            args=GRPOConfig(use_cpu=True, bf16=False),
        )


def test_a_micro_batch_that_does_not_divide_is_named(tmp_path):
    words = r"per_device_train_batch_size 3 × 1 process\(es\) does not divide the 8 completions"
    with pytest.raises(ValueError, match=words):
        grpo.grpo_config(replace(SMALL, per_device_train_batch_size=3), tmp_path)


def test_plain_trl_scores_without_the_audio(fresh_tiny, tmp_path):
    """The same rows, seed and steps in TRL's own trainer: it drifts away from the reference and
    earns less; ours stays close and earns more."""
    sizes = {"max_steps": 8, "prompts_per_step": 2, "max_completion_length": 64}
    profile = replace(profiles.get("tiny"), per_device_train_batch_size=16, **sizes)
    rows = data.training_rows(data.load_alr("mini", "train"))
    parts = [{**row, "prompt": with_audio(row["prompt"], row["audio"])} for row in rows]
    rows_of_trl = Dataset.from_list(parts).remove_columns("audio")

    def log_of(cls, tiny, rows):
        trainer = trainer_of(cls, tiny, rows, tmp_path, profile)
        trainer.train()
        return [entry for entry in trainer.state.log_history if "reward" in entry]

    plain = log_of(GRPOTrainer, fresh_tiny, rows_of_trl)
    ours = log_of(AudioGRPOTrainer, models.load("tiny"), rows)
    # both sample conditioned on the audio, so the first completions are the same
    assert plain[0]["reward"] == ours[0]["reward"]

    def last(log, name):
        return sum(entry[name] for entry in log[-4:]) / 4

    assert last(ours, "reward") > last(plain, "reward") + 0.3
    assert last(plain, "kl") > 10 * last(ours, "kl")
