"""A policy that chooses one thing, how long to think, for notebook 03: does the length rule?

It is no language model: a row of 11 numbers, one for each length, under a softmax. Everything that
matters here is as in a real run: groups, the paper's rewards, TRL's advantages, Adam.
"""

from dataclasses import dataclass

import torch

LENGTHS = torch.arange(140.0, 241.0, 10.0)  # words of a thought
REFERENCE = 697  # words; the median of ALR's dev answers
QUESTIONS, GROUP = 4, 8  # of a step, as in the profile `tiny`


@dataclass
class Step:
    """What the policy would do on average after a step, and the length's share in that step."""

    step: int
    words: float
    accuracy: float  # 0 to 1
    reward: float
    length_share: float  # of the variance of the advantages; NaN if they are all 0


def chance_right(words: torch.Tensor) -> torch.Tensor:
    """The chance of a right answer after a thought of so many words: from 98 % down to 80 %."""
    return 0.98 - 0.18 * (words - 140) / 100


def mean_reward(words: torch.Tensor) -> torch.Tensor:
    """The mean reward of a thought of so many words: answer, format and length."""
    return 2 * chance_right(words) + 1 + words / REFERENCE


def train(
    scale_rewards: str, *, steps: int = 300, seed: int = 0, learning_rate: float = 0.02
) -> list[Step]:
    """The log of a training from equal probabilities. `scale_rewards` is TRL's: "group" divides by
    the std of the group, "none" doesn't (`GRPOTrainer._generate_and_score_completions`)."""
    if scale_rewards not in ("group", "none"):
        raise ValueError(f'scale_rewards must be "group" or "none", got {scale_rewards!r}')
    random = torch.Generator().manual_seed(seed)
    logits = torch.zeros(len(LENGTHS), requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=learning_rate)
    log = []
    for step in range(1, steps + 1):
        # 1. Sample groups and compute the rewards, (questions, G)
        log_probs = logits.log_softmax(0)
        policy = log_probs.exp().detach()
        chosen = torch.multinomial(policy, QUESTIONS * GROUP, replacement=True, generator=random)
        words = LENGTHS[chosen].view(QUESTIONS, GROUP)
        right = torch.rand(words.shape, generator=random) < chance_right(words)
        length_term = words / REFERENCE
        rewards = 2.0 * right + 1.0 + length_term
        # 2. Advantages
        factor = torch.ones(QUESTIONS, 1)
        if scale_rewards == "group":
            factor = 1 / (rewards.std(1, keepdim=True) + 1e-4)
        advantages = factor * (rewards - rewards.mean(1, keepdim=True))
        of_length = factor * (length_term - length_term.mean(1, keepdim=True))
        # 3. Update
        loss = -(advantages.flatten() * log_probs[chosen]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        policy = logits.detach().softmax(0)
        share = (advantages * of_length).sum() / (advantages**2).sum()
        log.append(
            Step(
                step=step,
                words=(policy * LENGTHS).sum().item(),
                accuracy=(policy * chance_right(LENGTHS)).sum().item(),
                reward=(policy * mean_reward(LENGTHS)).sum().item(),
                length_share=share.item(),
            )
        )
    return log
