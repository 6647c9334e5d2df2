"""The trainer of a run: AudioGRPOTrainer with a shared prefix, guards against bad numbers, a log of
every rollout, the time of each phase, and an order of rows that survives a resume."""

import math
import time
import warnings
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset, Value
from trl.trainer.utils import RepeatSampler, is_async_callable

from ..audio import named
from ..fast.decoding import check_file
from ..fast.merged_sampling import MergedSampling
from ..fast.shared_prefix import SharedPrefix
from ..rewards import completion_text
from ..trainer import AudioGRPOTrainer
from .engine import EngineRollouts
from .reinforce import mean_of_tokens
from .reward_checks import as_list, reward_name
from .rollouts import RolloutFile
from .sampling import SamplingIsThePolicy, TrainingError
from .second_thread import SecondThread
from .starting import shorten_base

PHASES = ("sample", "score", "reward", "update", "other")  # other: between them, and the optimizer
LARGEST = 1e18  # of a reward: its square, of which the std is made, is still float32
REMEDY = "Nothing of this step was saved; lower learning_rate and resume from the last checkpoint"


class EpochSampler(RepeatSampler):
    """TRL's sampler with an order of rows that depends on seed and epoch alone.

    TRL's draws one order after the other from one generator, so that a run resumed in a later
    epoch would begin with the order of the first again.
    """

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed(self.seed + epoch)


class Guards:
    """Mixin for AudioGRPOTrainer.

    `rollout_file` gets a JSON line for each completion: step, id, completion, each reward, and the
    advantage; see `rollouts.RolloutFile`. `seconds` holds the time of each of `PHASES` since the
    last log. A reward function that is slow may have an attribute `begin(completions)`: it is
    called as soon as the texts are sampled, so that its work can start elsewhere while they are
    scored.

    Raises TrainingError for rewards, losses, gradients or parameters that are NaN or infinite.
    """

    __signature__ = None  # of AudioGRPOTrainer; these take keywords alone

    def __init__(self, *, reward_funcs, rollout_file: Path | None = None, **kwargs):
        check_clips(kwargs.get("train_dataset"))
        guarded = [finite(reward) for reward in as_list(reward_funcs)]
        super().__init__(reward_funcs=guarded, **kwargs)
        if hasattr(self.model, "peft_config"):
            shorten_base(self.model)
        self.rollouts = RolloutFile(Path(rollout_file)) if rollout_file else None
        if self.rollouts:
            self.add_callback(self.rollouts)
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.second_thread = SecondThread()
        self._row_ids: list[str] = []  # of the step's rows, for errors
        self._told = False  # of completions without a reward
        # completions of this process, rewards (N, functions) of all
        self._scored: tuple[list, torch.Tensor] | None = None

    @contextmanager
    def _timed(self, phase: str):
        """Adds the time inside to a phase, less what phases within it took."""
        before = sum(self.seconds.values())
        start = time.perf_counter()
        yield
        within = sum(self.seconds.values()) - before
        self.seconds[phase] += time.perf_counter() - start - within

    def _get_train_sampler(self, dataset=None):
        sampler = super()._get_train_sampler(dataset)
        names = "data_source mini_repeat_count batch_size repeat_count shuffle seed"
        return EpochSampler(**{name: getattr(sampler, name) for name in names.split()})

    def _prepare_inputs(self, generation_batch):
        with self._timed("other"):
            return super()._prepare_inputs(generation_batch)

    def _generate_and_score_completions(self, inputs):
        self._row_ids = sorted({str(row.get("id", "without id")) for row in inputs})
        output = super()._generate_and_score_completions(inputs)
        if self.rollouts and self.model.training:
            advantages, mask = output["advantages"], output["completion_mask"]
            if advantages.dim() == 2:
                advantages = mean_of_tokens(advantages, mask)
            self._write_rollouts(inputs, advantages)
        return output

    def _generate(self, prompts):
        with self._timed("sample"):
            sampled = super()._generate(prompts)
        completions = sampled[3]  # TRL returns a tuple of eight
        begins = {reward.begin for reward in self.reward_funcs if hasattr(reward, "begin")}
        for begin in begins:
            begin([completion_text(completion) for completion in completions])
        return sampled

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        with self._timed("update" if torch.is_grad_enabled() else "score"):
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        with self._timed("reward"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        for name, reward, values in zip(self.reward_func_names, self.reward_funcs, rewards.T):
            if isinstance(reward, torch.nn.Module) and not values.isfinite().all():
                got = values[~values.isfinite()][0].item()
                raise TrainingError(f"{self._step_name()}: the reward model {name} returned {got}")
        without = rewards.isnan().all(dim=1)
        if without.any() and not self._told and self.accelerator.is_main_process:
            self._told = True
            count = f"{int(without.sum())} of {len(without)} completions"
            what = f"{self._step_name()}: no reward function returned a reward for {count}"
            warnings.warn(
                f"{what}; their advantage is 0, so nothing is learned from them; "
                "later ones aren't warned of",
                UserWarning,
                stacklevel=2,
            )
        self._scored = (completions, rewards)
        return rewards

    def training_step(self, *args, **kwargs):
        with self._timed("update"), self.second_thread.while_free():
            loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            rows = ", ".join(self._row_ids)
            what = f"the loss is {loss.item()}; rows of this step: {rows}"
            raise TrainingError(f"{self._step_name()}: {what}. {REMEDY}")
        return loss

    def log(self, logs, start_time=None):
        step = f"step {self.state.global_step}"
        norm = logs.get("grad_norm", 0.0)
        if not self.args.fp16 and not math.isfinite(norm):  # in fp16 the scaler skips such a step
            raise TrainingError(f"{step}: the norm of the gradient is {norm}. {REMEDY}")
        trained = (values for values in self.model.parameters() if values.requires_grad)
        if not all(values.isfinite().all() for values in trained):
            raise TrainingError(f"{step}: the step made parameters NaN or infinite. {REMEDY}")
        seconds = {f"seconds/{phase}": value for phase, value in self.seconds.items()}
        self.seconds = dict.fromkeys(PHASES, 0.0)
        super().log(logs | seconds, start_time)

    def _step_name(self) -> str:
        return f"step {self.state.global_step + 1}"

    def _write_rollouts(self, inputs, advantages):
        completions, rewards = self._scored
        start = self.accelerator.process_index * len(inputs)
        records = []
        for i, (row, completion) in enumerate(zip(inputs, completions)):
            record = {"step": self.state.global_step + 1, "id": row.get("id")}
            record["completion"] = completion_text(completion)
            earned = rewards[start + i].tolist()
            earned = [None if math.isnan(reward) else reward for reward in earned]  # as JSON has it
            record.update(zip(self.reward_func_names, earned))
            record["advantage"] = advantages[i].item()
            records.append(record)
        records = gather_object(records)
        if self.accelerator.is_main_process:
            self.rollouts.write(records, self.num_generations)


class GuardedTrainer(
    Guards, EngineRollouts, SamplingIsThePolicy, MergedSampling, SharedPrefix, AudioGRPOTrainer
):
    """The trainer of a run."""


def check_clips(rows) -> None:
    """AudioError, naming the row, if a clip that is given by its path isn't there: before the first
    step, not when its row comes up."""
    features = getattr(rows, "features", None) or {}
    if not isinstance(rows, Dataset) or features.get("audio") != Value("string"):
        return
    ids = rows["id"] if "id" in features else ["without id"] * len(rows)
    for row, clip in zip(ids, rows["audio"]):
        if clip is not None:
            with named(f"row {row}"):
                check_file(clip)


def finite(reward):
    """The reward function, with TrainingError for rewards that nothing can be learned from: NaN,
    infinite, beyond `LARGEST`, or no numbers. None stays allowed: the reward doesn't apply."""
    if isinstance(reward, (str, torch.nn.Module)):
        return reward
    name = reward_name(reward)

    def check(rewards, columns):
        if isinstance(rewards, (dict, set, str)) or not isinstance(rewards, Iterable):
            got = f"{rewards!r:.100}"
            raise TrainingError(
                f"{name} must return a list with a reward for each completion, got {got}"
            )
        return [number(value, index, columns) for index, value in enumerate(rewards)]

    def number(value, index, columns):
        if value is None:
            return None
        with suppress(TypeError, ValueError, OverflowError):
            if abs(float(value)) <= LARGEST:
                return float(value)
        row = item(columns, "id", index)
        text = completion_text(item(columns, "completions", index))
        what = f"{name} returned {value!r:.50} for row {row}"
        raise TrainingError(f"{what}; the completion was {text!r:.200}")

    if is_async_callable(reward):

        async def checked(*args, **columns):
            return check(await reward(*args, **columns), columns)

    else:

        def checked(*args, **columns):
            return check(reward(*args, **columns), columns)

    checked = wraps(reward)(checked)
    checked.__name__ = name
    checked.unguarded = reward
    return checked


def item(columns: dict, name: str, index: int):
    """The value of a column for one completion, "unknown" if there is none."""
    values = columns.get(name, ())
    return values[index] if index < len(values) else "unknown"
