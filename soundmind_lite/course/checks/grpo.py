"""Checks of notebook 04: GRPO by hand."""

import torch

from ..checking import Wrong, call, expect, numbers, refuses

REWARDS = [4.0, 1.0, 0.0, 3.0, 2.0, 2.0, 2.0, 2.0]  # two groups of four; the second has std 0


def _centred(rewards, num_generations):
    groups = rewards.view(-1, num_generations)
    return groups - groups.mean(1, keepdim=True)


def _without_std(rewards, num_generations):
    return _centred(rewards, num_generations).flatten()


def _without_epsilon(rewards, num_generations):
    std = rewards.view(-1, num_generations).std(1, keepdim=True)
    return (_centred(rewards, num_generations) / std).flatten()


@refuses(_without_std, "did not divide")
@refuses(_without_epsilon, "not a number")
@refuses(lambda r, num_generations: (r - r.mean()) / (r.std() + 1e-4), "that is REINFORCE++")
@refuses(lambda rewards, num_generations: rewards.view(-1, num_generations), "of one dimension")
def check_04_1(group_advantages):
    rewards = torch.tensor(REWARDS)
    groups = rewards.view(2, 4)
    centred = groups - groups.mean(1, keepdim=True)

    def scaled(spread):
        return (centred / (spread + 1e-4)).flatten().tolist()

    of_the_batch = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
    mistakes = {
        "You subtracted the group's mean but did not divide by the group's std.": (
            centred.flatten().tolist()
        ),
        "Your std divides by G. TRL's (torch.std) divides by G - 1.": scaled(
            groups.std(1, keepdim=True, unbiased=False)
        ),
        "Mean and std are those of the batch: that is REINFORCE++. Use each group's own.": (
            of_the_batch.tolist()
        ),
        "The std is that of the batch; use each group's own.": scaled(rewards.std()),
        "You divided by the variance, not by its square root.": scaled(groups.var(1, keepdim=True)),
    }
    found = numbers(call(group_advantages, rewards, 4))
    if any(value != value for value in found):
        raise Wrong(
            "The second group has a std of 0, and 0/0 is not a number. Add 1e-4 to the std, "
            "as TRL does."
        )
    expected = scaled(groups.std(1, keepdim=True))
    expect(found, expected, mistakes=mistakes, otherwise=f"For rewards {REWARDS}, groups of 4:")
    return "The second group, a zero-std group, gets exactly 0: it teaches nothing."


def _larger_of_both(ratio, advantage, epsilon):
    return torch.max(ratio * advantage, ratio.clamp(1 - epsilon, 1 + epsilon) * advantage)


def _epsilon_of_its_own(ratio, advantage, epsilon):
    return torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


@refuses(_larger_of_both, "Take the smaller")
@refuses(_epsilon_of_its_own, "take it from the argument")
@refuses(lambda ratio, a, epsilon: ratio.clamp(1 - epsilon, 1 + epsilon) * a, "You always clip")
def check_04_2(clipped_objective):
    ratio = torch.tensor([0.5, 1.0, 1.5, 0.5, 1.5])
    advantage = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])
    plain = ratio * advantage
    clipped = ratio.clamp(0.8, 1.2) * advantage
    objective = torch.min(plain, clipped)
    mistakes = {
        "That is the loss, its negative. Return what is maximised.": (-objective).tolist(),
        "Take the smaller of the two, not the larger: the clipped objective is a lower bound of "
        "the unclipped one.": torch.max(plain, clipped).tolist(),
        "You always clip. Where the ratio moved the wrong way (0.5 with a positive advantage) "
        "the gradient must stay.": clipped.tolist(),
        "You never clip.": plain.tolist(),
    }
    expect(
        call(clipped_objective, ratio, advantage, 0.2),
        objective.tolist(),
        mistakes=mistakes,
        otherwise="For ratios 0.5, 1, 1.5 (advantage 1) and 0.5, 1.5 (advantage -1):",
    )
    wider = torch.min(plain, ratio.clamp(0.6, 1.4) * advantage)
    fixed = {"Right for ε = 0.2 and no other ε: take it from the argument.": objective.tolist()}
    found = call(clipped_objective, ratio, advantage, 0.4)
    expect(found, wider.tolist(), mistakes=fixed, otherwise="With ε = 0.4:")


@refuses(lambda policy, reference: policy - reference, "can be negative")
def check_04_3(low_variance_kl):
    policy, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5])
    gap = reference - policy
    mistakes = {
        "That is log π - log π_ref, unbiased but noisy, and it can be negative. Add the terms "
        "that keep it from being negative.": (-gap).tolist(),
        "The gap has the wrong sign: it is log π_ref - log π here.": (
            (torch.exp(-gap) + gap - 1).tolist()
        ),
        "The - 1 is missing, so the estimate is not 0 for equal models.": (
            (torch.exp(gap) - gap).tolist()
        ),
        "That is half the squared gap, another estimator; it is biased.": (gap**2 / 2).tolist(),
    }
    found = call(low_variance_kl, policy, reference)
    expected = (torch.exp(gap) - gap - 1).tolist()
    expect(found, expected, mistakes=mistakes, otherwise="For three tokens:")
    return "Never negative, and 0 where both models agree."


@refuses(lambda losses, mask: losses.mean(), "Padding is counted")
@refuses(
    lambda losses, mask: ((losses * mask).sum(1) / mask.sum(1)).mean(),
    "mean of the completions' means",
)
def check_04_4(token_mean):
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 99.0, 99.0, 99.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    mistakes = {
        "Padding is counted. Multiply by the mask, and divide by the mask's sum.": (
            losses.mean().item()
        ),
        "You mask the sum but divide by all positions, padding included.": 20 / 8,
        "That is the mean of the completions' means (TRL's loss_type='grpo'). Here each token "
        "counts the same.": (2.5 + 10) / 2,
    }
    found = call(token_mean, losses, mask)
    expect(found, 4.0, mistakes=mistakes, otherwise="For four tokens of 1, 2, 3, 4 and one of 10:")
    return "A long completion counts more than a short one: that is loss_type='dapo'."
