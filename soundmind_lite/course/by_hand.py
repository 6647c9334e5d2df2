"""What notebook 04 needs of a trainer, under public names.

TRL keeps a step's batch, its log-prob pass and its loss in private methods; they are called here
and nowhere in the lesson.
"""

from dataclasses import dataclass

import torch
from trl import GRPOTrainer

from ..trainer import AudioGRPOTrainer

# Where the audio enters a log-prob pass: the scoring of one chunk of its rows
SCORE_ROWS = AudioGRPOTrainer._score_rows


@dataclass
class Batch:
    """The completions of a step: N = questions × G of them, padded to T tokens.

    `old_log_probs` is None if TRL keeps none: with num_iterations = 1, it takes the detached
    log-probs of the loss's own pass instead.
    """

    completion_ids: torch.Tensor  # (N, T)
    mask: torch.Tensor  # (N, T), 1 for a token, 0 for padding
    rewards: torch.Tensor  # (N,), summed over the reward functions
    advantages: torch.Tensor  # (N,), as TRL computed them
    reference_log_probs: torch.Tensor  # (N, T), nats, with the adapter switched off
    old_log_probs: torch.Tensor | None  # (N, T), nats, under the policy that sampled
    inputs: dict  # all of it, under TRL's names, with the audio of each row

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by its name here."""
        return {
            name: tuple(value.shape) for name, value in vars(self).items() if torch.is_tensor(value)
        }


@dataclass
class Logged:
    """The loss of a batch with what TRL logs beside it."""

    loss: float
    kl: float  # the logged estimator, its mean over the tokens
    clip_ratio: float  # share of tokens whose gradient the clip takes away


def sample_batch(trainer: GRPOTrainer, rows: list[dict]) -> Batch:
    """G completions of each row, sampled, scored and rewarded as in a step of `trainer.train`."""
    trainer.current_gradient_accumulation_steps = 1  # the training loop would set it
    repeated = [row for row in rows for _ in range(trainer.num_generations)]
    inputs = trainer._generate_and_score_completions(repeated)
    return Batch(
        completion_ids=inputs["completion_ids"],
        mask=inputs["completion_mask"],
        rewards=trainer._summed_rewards,
        advantages=inputs["advantages"],
        reference_log_probs=inputs["ref_per_token_logps"],
        old_log_probs=inputs.get("old_per_token_logps"),
        inputs=inputs,
    )


def log_probs(trainer: AudioGRPOTrainer, batch: Batch) -> torch.Tensor:
    """Log-probs (N, T) in nats of the batch's tokens, conditioned on the audio, under the model as
    it is now. Has a gradient, unless you switch it off."""
    trainer._audio = {name: batch.inputs[name] for name in trainer.audio_fields}
    values, *_ = trainer._get_per_token_logps_and_entropies(trainer.model, *_tokens(batch))
    return values


def without_audio(trainer: GRPOTrainer, batch: Batch) -> torch.Tensor:
    """Log-probs (N, T) in nats of the batch's tokens as plain TRL computes them: its pass hands the
    model the tokens, audio placeholders included, and no audio."""
    values, *_ = GRPOTrainer._get_per_token_logps_and_entropies(
        trainer, trainer.model, *_tokens(batch)
    )
    return values


def _tokens(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Ids and mask of prompts and completions, and the number of completion tokens."""
    inputs = batch.inputs
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    return ids, mask, inputs["completion_ids"].shape[1]


def trl_loss(trainer: GRPOTrainer, batch: Batch, *, num_iterations: int = 2) -> Logged:
    """TRL's own loss of the batch under the model as it is now, with what it logs.

    With `num_iterations=1` the old log-probs are withheld, as TRL does in such a run.
    """
    inputs = dict(batch.inputs)
    if num_iterations == 1:
        inputs.pop("old_per_token_logps", None)
    with torch.no_grad():
        loss = trainer._compute_loss(trainer.model, inputs)
    logged = trainer._metrics["train" if trainer.model.training else "eval"]
    return Logged(loss.item(), logged["kl"][-1], logged["clip_ratio/region_mean"][-1])


def nudge(model: torch.nn.Module, size: float, *, seed: int = 0) -> None:
    """Adds noise of this standard deviation to each LoRA B, in place of an update."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight += size * torch.randn(weight.shape, generator=generator).to(weight.device)
