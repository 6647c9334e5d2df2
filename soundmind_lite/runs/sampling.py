"""Are completions sampled from the policy that is scored? Compared in every step of training.

GRPO's loss takes them for one policy, but sampling is another code path than the log-prob pass: one
token at a time, with a KV cache, perhaps with another attention. TRL compares the two for vLLM;
this does so for `generate`, under the same names in the log.
"""

import warnings
from collections import defaultdict

import torch
from torch.nn.functional import pad

SAMPLED = "sampled_log_probs"  # of a batch: (rows, tokens); TRL doesn't know this key
METRIC = "sampling/sampling_logp_difference"
NOISE = "sampling/logit_difference"
# The largest difference of logits that rounding explains: in 16 bits, twice the largest of healthy
# steps, measured on a CPU with the shared prefix and without: the tiny model as it is and with keys
# of a large common part, and random models of 4 and 28 layers. Largest: float32 6e-5, float16 0.02,
# bfloat16 0.34 (without the shared prefix 0.051). Attention scores rounded to 16 bits gave 0.13 to
# 0.29 and 1.3 to 2.6 with the tiny model's keys changed so: seen. With the random ones they gave
# 0.014 to 0.043 and 0.11 to 0.36: mostly below the limit, so no warning is no proof. No GPU was
# measured, and no real checkpoint. float32 keeps a wider margin.
EXPLAINED = {torch.float32: 1e-3, torch.float16: 0.04, torch.bfloat16: 0.7}


class TrainingError(RuntimeError):
    """Numbers that no training can continue with; the message names step, rows and cause."""


class SamplingWarning(UserWarning):
    """Completions come from another policy than the one that is scored."""


class Drawn:
    """A forward hook that keeps the log-prob of each token that `generate` draws.

    It sees the model's own logits, before tokens are suppressed, and keeps those of one step alone:
    the next call holds the token that was drawn from them.
    """

    def __init__(self, temperature: float):
        self.temperature = temperature
        self._columns: list[torch.Tensor] = []  # a tensor (rows,) for each token
        self._next: torch.Tensor | None = None  # (rows, vocabulary), of the token to come

    def __call__(self, model, args, kwargs, output):
        if self._next is not None:
            self._keep(kwargs["input_ids"][:, -1])
        self._next = (output.logits[:, -1].float() / self.temperature).log_softmax(-1)
        if self._next.isnan().any():  # before torch refuses to draw, on a GPU without a cause
            raise FloatingPointError("logits are NaN or infinite")

    def log_probs(self, completion_ids: list[list[int]]) -> torch.Tensor | None:
        """Log-probs (rows, tokens), whose columns after a row's end mean nothing; None if nothing
        was drawn."""
        if self._next is None:
            return None
        if len(self._columns) < max(map(len, completion_ids)):  # no call has held the last token
            last = [ids[-1] for ids in completion_ids]
            self._keep(torch.tensor(last, device=self._next.device))
        return torch.stack(self._columns, 1)

    def _keep(self, tokens: torch.Tensor) -> None:
        self._columns.append(self._next.gather(1, tokens[:, None])[:, 0])


class SamplingIsThePolicy:
    """Mixin for AudioGRPOTrainer, with the shared prefix or without it.

    Logs the mean and the largest difference between the log-probs of a step's tokens as they were
    sampled and as they are scored, and what difference of logits they amount to. Where that is more
    than the precision explains, warns once, and counts and logs such steps from then on.
    Raises TrainingError if the model would sample from NaN.
    """

    remedy = "try shared_prefix=False, float32, or a LoRA without dropout"  # for a difference

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steps_beyond = 0
        self.precision = coarsest(self._thinker(self.model), self.accelerator.mixed_precision)
        self._sampled: torch.Tensor | None = None  # of the rows that were sampled last
        self._unscored: tuple | None = None  # log-probs and mask of the rows in the loss
        self._differences = defaultdict(list)  # "train" or "eval" → a tensor (4,) for each pass

    def _generate_single_turn(self, *args, **kwargs):
        drawn = Drawn(self.temperature)
        hook = self._thinker(self.model).register_forward_hook(drawn, with_kwargs=True)
        try:
            completion_ids, log_probs = super()._generate_single_turn(*args, **kwargs)
        except FloatingPointError as error:
            step = f"step {self.state.global_step + 1}"
            remedy = "lower learning_rate and resume from the last checkpoint"
            if self.precision == torch.float16:
                remedy = "choose a profile in bfloat16 or float32"
            where = f"sampling in {name_of(self.precision)}"
            raise TrainingError(f"{step}: {where}, {error}; {remedy}") from error
        finally:
            hook.remove()
        self._sampled = drawn.log_probs(completion_ids)
        return completion_ids, log_probs

    def _generate_and_score_completions(self, inputs):
        self._sampled = None
        output = super()._generate_and_score_completions(inputs)
        if self._sampled is None:
            return output
        mask = output["completion_mask"]
        sampled = pad(self._sampled, (0, mask.shape[1] - self._sampled.shape[1]))
        old = output.get("old_per_token_logps")
        if old is None:  # the loss scores these rows before an optimizer step changes the policy
            output[SAMPLED] = sampled
        else:
            self._compare(sampled, old, mask)
        return output

    def _compute_loss(self, model, inputs):
        sampled = inputs.get(SAMPLED)
        self._unscored = None if sampled is None else (sampled, inputs["completion_mask"])
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        scored = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if self._unscored is not None:
            sampled, mask = self._unscored
            self._unscored = None
            self._compare(sampled, scored[0].detach(), mask)
        return scored

    def _compare(self, sampled, scored, mask) -> None:
        mode = "train" if self.model.training else "eval"
        self._differences[mode].append(difference(sampled, scored, mask))

    def log(self, logs, start_time=None):
        mode = "train" if self.model.training else "eval"
        found = self._differences.pop(mode, None)
        if found:
            self._judge(mode, self.accelerator.gather(torch.stack(found)))
        super().log(logs, start_time)

    def _judge(self, mode: str, differences: torch.Tensor) -> None:
        total, doubt, tokens, _ = differences.sum(0).tolist()
        mean, largest = total / max(tokens, 1), differences[:, 3].max().item()
        noise = total / max(doubt, 0.01 * tokens, 1e-9)
        if noise > EXPLAINED[self.precision]:
            self.steps_beyond += 1
            if self.steps_beyond == 1 and self.accelerator.is_main_process:
                self._warn(mean, largest, noise)
        found = {f"{METRIC}/mean": mean, f"{METRIC}/max": largest, NOISE: noise}
        if self.steps_beyond:
            found["sampling/steps_beyond_precision"] = self.steps_beyond
        for name, value in found.items():
            self._metrics[mode][name].append(value)

    def _warn(self, mean: float, largest: float, noise: float) -> None:
        what = f"log-probs as sampled and as scored differ by {mean:.2g} on average"
        why = f"{name_of(self.precision)} explains {EXPLAINED[self.precision]:g}"
        warnings.warn(
            f"step {self.state.global_step}: {what}, {largest:.2g} at most, as if logits differed "
            f"by {noise:.2g}, and {why}: another policy samples than the one that is trained; "
            f"{self.remedy}. Later steps are counted, not warned of",
            SamplingWarning,
            stacklevel=2,
        )


def difference(sampled, scored, mask) -> torch.Tensor:
    """Of log-probs (rows, tokens), where the mask is 1: the sum of their differences, the sum of
    1 - p, the number of tokens, and the largest difference.

    Logits that differ by d change the log-prob of a token by about d * (1 - p), so the first by the
    second is d, however sure the model is of its tokens.
    """
    outside = mask == 0
    off = (sampled - scored.float()).abs().masked_fill(outside, 0.0)
    doubt = (1 - sampled.exp()).masked_fill(outside, 0.0)
    return torch.stack([off.sum(), doubt.sum(), mask.sum().float(), off.max()])


def coarsest(model, mixed_precision: str = "no") -> torch.dtype:
    """The dtype with the fewest digits, of the parameters or of autocast."""
    dtypes = {values.dtype for values in model.parameters()} & EXPLAINED.keys()
    autocast = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed_precision, torch.float32)
    return max(dtypes | {autocast}, key=lambda dtype: torch.finfo(dtype).eps)


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
