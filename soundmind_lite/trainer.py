"""The audio seam: TRL's GRPOTrainer with sound.

Plain GRPOTrainer samples with the sound and scores without it: the processor's features reach `generate` and are dropped before every
log-prob pass, with no error. `AudioGRPOTrainer` hands them on. It overrides some of its methods and copies none of TRL's code; the test
`test_trl` names the signatures that it relies on.
"""
import json
import math
import time
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from functools import partial, wraps
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler, is_async_callable

from .audio import Sealed
from .models import AUDIO_FIELDS, audio_token_count, max_audio_seconds, placeholder_ids, samples_from_numbers, used_frames
from .prompts import audio_parts, with_audio
from .rewards import completion_text

ALGORITHMS = ("grpo", "reinforce++")
LARGEST = 1e18  # of points: their squares, of which the spread is made, are still float32
REMEDY = "Nothing was saved of this step; lower learning_rate and go on from the last checkpoint"
PHASES = ("sample", "score", "reward", "update", "other")  # of a step: other is what lies between them, and the optimizer


class TrainingError(RuntimeError):
    """Numbers that no training can go on with; the message names step, rows and cause."""


def check_algorithm(algorithm: str) -> None:
    """ValueError with those there are, if it is none of them."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"there is no algorithm {algorithm!r}; choose one of {', '.join(ALGORITHMS)}")


def reward_name(reward) -> str:
    """What a reward function is called, also where it is an object or a partial one."""
    return getattr(reward, "__name__", None) or getattr(getattr(reward, "func", None), "__name__", type(reward).__name__)


def finite(reward):
    """The reward function, with TrainingError for points that nothing can be learned from: NaN, infinite, beyond `LARGEST`, or no numbers.

    None stays allowed: TRL takes it as "this reward doesn't apply".
    """
    if isinstance(reward, (str, torch.nn.Module)):
        return reward
    name = reward_name(reward)

    def check(points, columns):
        if isinstance(points, (dict, set, str)) or not isinstance(points, Iterable):
            raise TrainingError(f"{name} must return a list with the points of each completion, got {points!r:.100}")
        return [value if value is None else number(value, place, columns) for place, value in enumerate(points)]

    def number(value, place, columns):
        with suppress(TypeError, ValueError, OverflowError):
            if abs(float(value)) <= LARGEST:
                return float(value)
        row, text = (columns[key][place] if place < len(columns.get(key, ())) else "unknown" for key in ("id", "completions"))
        raise TrainingError(f"{name} gave {value!r:.50} points for row {row}; the completion was {completion_text(text)!r:.200}")

    if is_async_callable(reward):
        async def checked(*args, **columns):
            return check(await reward(*args, **columns), columns)
    else:
        def checked(*args, **columns):
            return check(reward(*args, **columns), columns)

    checked = wraps(reward)(checked)
    checked.__name__ = name
    return checked


def batch_advantages(rewards: torch.Tensor) -> torch.Tensor:
    """REINFORCE++ advantages: rewards (N,) against the mean and standard deviation of the whole batch, without a group baseline."""
    return (rewards - rewards.mean()) / (rewards.std() + 1e-4)


class EpochSampler(RepeatSampler):
    """TRL's sampler with an order of rows that depends on seed and epoch alone. TRL's own draws one order after the other from one generator, so a run
    that goes on in a later epoch would begin again with the order of the first."""

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed(self.seed + epoch)


class AudioGRPOTrainer(GRPOTrainer):
    """A GRPOTrainer whose rows may carry `audio`, the path of a clip, beside a conversational `prompt` with plain string content.

    `algorithm` "reinforce++" replaces the group-relative advantages by `batch_advantages`; all else is the same.
    `rollout_file` gets one JSON line a completion: step, id, completion, each reward, advantage.
    `clips` are those that may not change, if that was noted before; else they are noted now.
    A slow reward function may carry `begin(completions)`: it is called as soon as the texts are sampled, to start work elsewhere while they are scored.
    Raises NotImplementedError for sound with `use_vllm`, AudioError for a clip that isn't there, can't be used whole or was changed since the trainer was
    made, and TrainingError for rewards, losses or gradients that are NaN or infinite.
    """

    def __init__(
        self, model, reward_funcs, args=None, train_dataset=None, *, algorithm: str = "grpo", rollout_file: Path | None = None, clips: Sealed | None = None,
        **kwargs,
    ):
        check_algorithm(algorithm)
        if args is not None and args.use_vllm and "audio" in (getattr(train_dataset, "column_names", None) or ()):
            raise NotImplementedError("TRL hands only images to vLLM, so its samples would never hear the sound; set use_vllm=False")
        reward_funcs = [finite(f) for f in (reward_funcs if isinstance(reward_funcs, list) else [reward_funcs])]
        super().__init__(model=model, reward_funcs=reward_funcs, args=args, train_dataset=train_dataset, **kwargs)
        self.algorithm, self.rollout_file = algorithm, rollout_file
        self._sound, self._sound_fields, self._scored, self._row_ids, self._ids = None, AUDIO_FIELDS, None, {}, []
        self._clips = clips or Sealed()
        if isinstance(train_dataset, Dataset) and "audio" in train_dataset.column_names:
            self._note_clips(train_dataset)
        self.seconds = dict.fromkeys(PHASES, 0.0)  # where the time went since the last log
        config = self.accelerator.unwrap_model(self.model).config
        self._audio_token, self._audio_start = config.audio_token_id, config.audio_start_token_id
        # TRL suppresses the image placeholder alone. Both places matter: generate reads the one, evaluation steps the other.
        suppressed = sorted({*(self.generation_config.suppress_tokens or []), *placeholder_ids(config)})
        self.generation_config.suppress_tokens = self.generation_kwargs["suppress_tokens"] = suppressed

    def _note_clips(self, rows):
        """Notes every clip as it is now, or holds it to what was noted. What is missing is told before the first step."""
        names = rows["id"] if "id" in rows.column_names else ["without id"] * len(rows)
        for name, path in zip(names, rows["audio"]):
            if path is not None:
                self._clips.check(name, path)

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if "audio" not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, "audio"]

    def _get_train_sampler(self, dataset=None):
        theirs = super()._get_train_sampler(dataset)
        return EpochSampler(theirs.data_source, theirs.mini_repeat_count, theirs.batch_size, theirs.repeat_count, theirs.shuffle, theirs.seed)

    def _generate_and_score_completions(self, inputs):
        self._sound, self._ids = None, sorted({str(row.get("id", "without id")) for row in inputs})
        if any(row.get("audio") is not None for row in inputs):
            self._row_ids = {row["audio"]: row.get("id", "without id") for row in inputs}
            inputs = [{**row, "prompt": with_audio(row["prompt"], row["audio"])} for row in inputs]
        output = super()._generate_and_score_completions(inputs)
        if self.algorithm == "reinforce++":
            start = self.accelerator.process_index * len(inputs)
            output["advantages"] = batch_advantages(self._scored[1])[start : start + len(inputs)]
        self._write_rollouts(inputs, output["advantages"])
        if self._sound is not None:  # a list per row, which TRL shuffles and splits with everything else
            output.update(self._sound)
        return output

    @contextmanager
    def _timed(self, phase: str):
        """Adds the time inside to a phase, less what phases within it took."""
        before, start = sum(self.seconds.values()), time.perf_counter()
        yield
        within = sum(self.seconds.values()) - before
        self.seconds[phase] += time.perf_counter() - start - within

    def training_step(self, *args, **kwargs):
        with self._timed("update"):
            loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise TrainingError(f"step {self.state.global_step + 1}: the loss is {loss.item()}; rows of this step: {', '.join(self._ids)}. {REMEDY}")
        return loss

    def _prepare_inputs(self, generation_batch):
        with self._timed("other"):
            return super()._prepare_inputs(generation_batch)

    def log(self, logs, start_time=None):
        if not (self.args.fp16 or math.isfinite(logs.get("grad_norm", 0.0))):  # in fp16 the scaler skips such a step by itself
            raise TrainingError(f"step {self.state.global_step}: the norm of the gradient is {logs['grad_norm']}. {REMEDY}")
        if not all(weights.isfinite().all() for weights in self.model.parameters() if weights.requires_grad):
            raise TrainingError(f"step {self.state.global_step}: the step made weights NaN or infinite. {REMEDY}")
        super().log(logs | {f"seconds/{phase}": seconds for phase, seconds in self.seconds.items()}, start_time)
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def _generate(self, prompts):
        with self._timed("sample"), samples_from_numbers(f"step {self.state.global_step + 1}, rows {', '.join(self._ids)}"):
            sampled = super()._generate(prompts)
        for begin in {function.begin for function in self.reward_funcs if hasattr(function, "begin")}:
            begin([completion_text(completion) for completion in sampled[3]])
        return sampled

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        with self._timed("reward"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if (unpaid := rewards.isnan().all(dim=1)).any():
            raise TrainingError(f"step {self.state.global_step + 1}: no reward function gave points for {int(unpaid.sum())} of {len(unpaid)} completions")
        weights = self.reward_weights.to(rewards.device)
        self._scored = completions, (rewards * weights).nansum(dim=1), rewards
        return rewards

    def _write_rollouts(self, inputs, advantages):
        if self.rollout_file is None or not self.model.training:
            return
        completions, _, rewards = self._scored  # completions of this process, rewards of all
        start, records = self.accelerator.process_index * len(inputs), []
        for i, (row, completion) in enumerate(zip(inputs, completions)):
            values = dict(zip(self.reward_func_names, rewards[start + i].tolist()))
            text = completion[0]["content"] if isinstance(completion, list) else completion
            records.append({"step": self.state.global_step + 1, "id": row.get("id"), "completion": text, **values, "advantage": advantages[i].item()})
        records = gather_object(records)
        if self.accelerator.is_main_process:
            with self.rollout_file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)

    def _tokenize_prompts(self, prompts):
        limit, clips = max_audio_seconds(self.processing_class), {}
        for part in audio_parts(prompts):
            path = part["audio"]
            if path not in clips:  # a group repeats its clip
                clips[path] = self._clips.load(self._row_ids.get(path, "without id"), path, limit)
        if not clips:
            return super()._tokenize_prompts(prompts)
        heard = [[{**m, "content": [_with_clip(part, clips) for part in m["content"]]} for m in prompt] for prompt in prompts]
        prompt_ids, images, fields = super()._tokenize_prompts(heard)
        features, mask = (t.to(self.accelerator.device) for t in used_frames(*(fields[name] for name in AUDIO_FIELDS)))
        counts = [list(ids).count(self._audio_start) for ids in prompt_ids]
        self._sound = {"input_features": list(features.split(counts)), "feature_attention_mask": list(mask.split(counts))}
        return prompt_ids, images, {**fields, "input_features": features, "feature_attention_mask": mask}

    def _compute_loss(self, model, inputs):
        self._sound = {name: inputs[name] for name in self._sound_fields} if self._sound_fields[0] in inputs else None
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, model, *args, **kwargs):
        with self._timed("update" if torch.is_grad_enabled() else "score"):
            return self._log_probs(model, *args, **kwargs)

    def _log_probs(self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs):
        parent = super()._get_per_token_logps_and_entropies
        if self._sound is None:
            return parent(model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **kwargs)
        if kwargs.get("pixel_values") is not None:
            raise NotImplementedError("sound and images in one batch")
        size, results = batch_size or len(input_ids), []
        for start in range(0, len(input_ids), size):  # the chunks that the parent would make, each with its own sound
            rows = slice(start, start + size)
            sound = {name: torch.cat(self._sound[name][rows]) for name in AUDIO_FIELDS}
            self._check_alignment(input_ids[rows], sound["feature_attention_mask"])
            # the parent uses `model` as a callable only, so the sound can be bound to it
            heard = partial(model, **sound) if len(sound["input_features"]) else model
            results.append(parent(heard, input_ids[rows], attention_mask[rows], logits_to_keep, batch_size=size, **kwargs))
        return joined(results)

    def _check_alignment(self, input_ids, mask):
        """Transformers ignores a surplus of features without a word, so every later clip would be heard in the wrong place."""
        expected, found = int(audio_token_count(mask.sum(-1)).sum()), int((input_ids == self._audio_token).sum())
        if expected != found:
            raise ValueError(f"the prompts hold {found} audio placeholders and the features make {expected}; was a prompt cut?")


def joined(results: list[tuple]) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Log-probs, entropies and auxiliary losses of chunks of rows, put together as TRL returns them."""
    log_probs, entropies, auxiliary = zip(*results)
    rows = [torch.cat(parts) if parts[0] is not None else None for parts in (log_probs, entropies)]
    return *rows, torch.stack(auxiliary).mean() if auxiliary[0] is not None else None


def _with_clip(part: dict, clips: dict) -> dict:
    return {**part, "audio": clips[part["audio"]]} if part["type"] == "audio" else part
