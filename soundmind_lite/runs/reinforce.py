"""REINFORCE++ (Hu et al. 2025, arXiv 2501.03262): the KL penalty inside the reward, and one
baseline for the whole batch.

    A_t = r - beta * (KL_t + KL_t+1 + ... + KL_T),   KL_t = log pi(token t) - log pi_ref(token t)

normalised to mean 0 and standard deviation 1 over all tokens of the batch, of all processes. GRPO
compares a completion with its siblings instead, and has its KL penalty in the loss. Ratio and clip
stay those of TRL. The SoundMind paper names this algorithm; its published script runs GRPO.
"""

from contextlib import contextmanager

import torch
from trl.models.utils import disable_gradient_checkpointing


def token_advantages(
    rewards: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, beta: float
) -> torch.Tensor:
    """Advantages (N, T) of the tokens of a batch.

    `rewards` (N,) are NaN for completions without a reward: their advantages are 0, and they don't
    count in the mean. `kl` (N, T) holds log pi - log pi_ref of each token, `mask` (N, T) is 1 for
    the tokens of the completions.
    """
    kl_to_come = (kl * mask).flip(1).cumsum(1).flip(1)
    returns = rewards[:, None] - beta * kl_to_come
    counted = mask.bool() & ~rewards.isnan()[:, None]
    scored = returns[counted]
    normalised = (returns - scored.mean()) / (scored.std() + 1e-4)
    return normalised.masked_fill(~counted, 0.0)


def mean_of_tokens(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Of values (N, T) the mean (N,) over the tokens of each completion."""
    return (values * mask).sum(1) / mask.sum(1).clamp(min=1)


def replace_advantages(trainer, output: dict) -> None:
    """Gives a generation of an AudioGRPOTrainer, just scored by TRL, the advantages (N, T) of this
    algorithm. Without `old_per_token_logps` in it the policy scores the rows once more."""
    mask, accelerator = output["completion_mask"], trainer.accelerator
    kl = torch.zeros(mask.shape, device=mask.device)
    if trainer.beta != 0.0:
        kl = policy_log_probs(trainer, output) - output["ref_per_token_logps"]
    whole = [accelerator.pad_across_processes(values, dim=1) for values in (kl, mask)]
    kl, mask = accelerator.gather(whole)
    advantages = token_advantages(trainer._summed_rewards, kl, mask, trainer.beta)
    rows, tokens = output["completion_mask"].shape
    start = accelerator.process_index * rows
    output["advantages"] = advantages[start : start + rows, :tokens].contiguous()
    if trainer.beta != 0.0:
        mode = "train" if trainer.model.training else "eval"
        trainer._metrics[mode]["kl"].append(((kl * mask).sum() / mask.sum()).item())
    logged = trainer._logs["advantages"]  # for TRL's tables; the last are those of groups
    kept = list(logged)[: -len(advantages)]
    own = mean_of_tokens(advantages, mask).tolist()
    trainer._logs["advantages"] = type(logged)([*kept, *own], logged.maxlen)


def policy_log_probs(trainer, output: dict) -> torch.Tensor:
    """Log-probs (N, T) of a generation's completions under the policy that sampled them."""
    if "old_per_token_logps" in output:
        return output["old_per_token_logps"]
    names = ("prompt_ids", "completion_ids"), ("prompt_mask", "completion_mask")
    ids, mask = (torch.cat([output[name] for name in pair], dim=1) for pair in names)
    args, training = trainer.args, trainer.model.training
    size = args.per_device_train_batch_size if training else args.per_device_eval_batch_size
    checkpointing = args.gradient_checkpointing_kwargs
    with torch.no_grad(), disable_gradient_checkpointing(trainer.model, checkpointing):
        log_probs, *_ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, output["completion_ids"].shape[1], batch_size=size
        )
    return log_probs


@contextmanager
def kl_in_the_reward(trainer):
    """TRL's loss without its KL penalty, which is in the advantages already."""
    beta, trainer.beta = trainer.beta, 0.0
    try:
        yield
    finally:
        trainer.beta = beta
