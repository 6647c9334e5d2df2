"""GRPO's loss in four parts: the model answers of notebook 04, and a lesson's choice among answers.

The parts are as TRL 1.16 computes them for `loss_type="dapo"` (`trl/trainer/grpo_trainer.py`,
`_compute_loss`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from .checking import outcome
from .checks import grpo as checks


def group_advantages(scores: torch.Tensor, num_generations: int) -> torch.Tensor:
    """Advantages (N,) of summed rewards (N,), group after group, as GRPO computes them.

    >>> [f"{a:.2f}" for a in group_advantages(torch.tensor([4.0, 0.0, 1.0, 1.0]), 2)]
    ['0.71', '-0.71', '0.00', '0.00']
    """
    groups = scores.view(-1, num_generations)
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-4)).flatten()


def clipped_objective(ratio: torch.Tensor, advantage: torch.Tensor, epsilon: float) -> torch.Tensor:
    """PPO's clipped objective for each token, to be maximised (Schulman et al. 2017, equation 7).

    >>> [f"{value:.1f}" for value in clipped_objective(torch.tensor([1.5, 0.5]), 1.0, 0.2)]
    ['1.2', '0.5']
    """
    return torch.min(ratio * advantage, ratio.clamp(1 - epsilon, 1 + epsilon) * advantage)


def low_variance_kl(log_probs: torch.Tensor, reference_log_probs: torch.Tensor) -> torch.Tensor:
    """The low-variance estimate of KL(π, π_ref) for each token, from log-probs in nats."""
    gap = reference_log_probs - log_probs
    return torch.exp(gap) - gap - 1


def token_mean(losses: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of losses (N, T) over the tokens whose mask (N, T) is 1: loss_type="dapo"."""
    return (losses * mask).sum() / mask.sum()


@dataclass
class Parts:
    """The four parts of GRPO's loss, yours or the model answers."""

    group_advantages: Callable = group_advantages
    clipped_objective: Callable = clipped_objective
    low_variance_kl: Callable = low_variance_kl
    token_mean: Callable = token_mean


EXERCISES = {
    "group_advantages": ("04.1", checks.check_04_1),
    "clipped_objective": ("04.3", checks.check_04_3),
    "low_variance_kl": ("04.4", checks.check_04_4),
    "token_mean": ("04.5", checks.check_04_5),
}


def chosen(**answers: Callable) -> Parts:
    """The parts of the loss: each answer that passes its check, and the model answer for any other.

    Prints which is which. `answers` are named like the fields of `Parts`.
    """
    used = {}
    for name, (number, check) in EXERCISES.items():
        right, _ = outcome(number, check, answers.get(name))
        if right:
            used[name] = answers[name]
        whose = "yours" if right else "not right yet, so the model answer of the course"
        print(f"{number} {name}: {whose}")
    return Parts(**used)


def grpo_loss(
    *,
    rewards: torch.Tensor,
    log_probs: torch.Tensor,
    old_log_probs: torch.Tensor,
    reference_log_probs: torch.Tensor,
    mask: torch.Tensor,
    num_generations: int,
    beta: float,
    epsilon: float = 0.2,
) -> torch.Tensor:
    """GRPO's loss from rewards (N,) and log-probs (N, T): the four parts, put together."""
    advantages = group_advantages(rewards, num_generations)[:, None]
    ratio = torch.exp(log_probs - old_log_probs)
    objective = clipped_objective(ratio, advantages, epsilon)
    kl = low_variance_kl(log_probs, reference_log_probs) * ratio
    return token_mean(-objective + beta * kl, mask)


def toy_batch() -> Mapping[str, object]:
    """Arguments of `grpo_loss`: two questions, G = 4, up to six tokens, with padding."""
    generator = torch.Generator().manual_seed(4)
    old = -torch.rand(8, 6, generator=generator)
    lengths = torch.tensor([6, 4, 2, 5, 3, 6, 2, 4])
    return {
        "rewards": torch.tensor([4.0, 2.0, 1.0, 3.0, 1.0, 0.0, 0.5, 1.5]),
        "log_probs": old + 0.3 * torch.randn(8, 6, generator=generator),
        "old_log_probs": old,
        "reference_log_probs": old + 0.3 * torch.randn(8, 6, generator=generator),
        "mask": (torch.arange(6) < lengths[:, None]).float(),
        "num_generations": 4,
        "beta": 1.0,
    }
