"""Checks of notebook 04: GRPO by hand."""

import torch

from ..checking import Wrong, call, entries, expect, numbers, refuses

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


UNSAMPLED = {  # what one step of gradient ascent does to action C, which was not sampled
    "1": "falls",
    "2": "falls",
    "3": "rises",
    "4": "rises",
}
WHY = {
    "1": "One sample, pushed up: its logit rises by more than any other, and the softmax shares "
    "one unit of probability among all, so each of the others falls.",
    "2": "The advantages sum to 0, so only the logits of A and B move, by +η and -η. But A was the "
    "larger one: the sum under the softmax grows, and C's share of it shrinks.",
    "3": "Only the logits of A and B move, by +η and -η. B was the larger one, so the sum under "
    "the softmax shrinks, and C's share of it grows.",
    "4": "One sample, pushed down: what it loses goes to all the others, sampled or not.",
}


def _case(number, said):
    return dict(UNSAMPLED, **{number: said})


@refuses(dict.fromkeys("1234", "stays"), "unless no logit moves")
@refuses(dict.fromkeys("1234", "falls"), "Case 3")
@refuses(_case("2", "stays"), "Case 2")
@refuses(_case("4", "falls"), "Case 4")
def check_04_2(predictions):
    entries(predictions, UNSAMPLED, choices=("rises", "falls", "stays"))
    if set(predictions.values()) == {"stays"}:
        raise Wrong(
            "You said that an action which wasn't sampled stays where it is. Its logit may, but "
            "its probability does not: all share one softmax. It stays unless no logit moves, or "
            "the sum under the softmax happens not to change. Go through the cases again."
        )
    for number, truth in UNSAMPLED.items():
        if predictions[number] != truth:
            raise Wrong(f"Case {number}: C {truth}. {WHY[number]}")
    return "So a group moves probability to and from completions that nobody sampled, too."


def _larger_of_both(ratio, advantage, epsilon):
    return torch.max(ratio * advantage, ratio.clamp(1 - epsilon, 1 + epsilon) * advantage)


def _epsilon_of_its_own(ratio, advantage, epsilon):
    return torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage)


@refuses(_larger_of_both, "Take the smaller")
@refuses(_epsilon_of_its_own, "take it from the argument")
@refuses(lambda ratio, a, epsilon: ratio.clamp(1 - epsilon, 1 + epsilon) * a, "You always clip")
def check_04_3(clipped_objective):
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


def _gap_reversed(policy, reference):
    return torch.exp(policy - reference) - (policy - reference) - 1


@refuses(lambda policy, reference: policy - reference, "can be negative")
@refuses(_gap_reversed, "wrong sign")
@refuses(lambda policy, reference: (reference - policy) ** 2 / 2, "biased")
@refuses(lambda p, r: torch.exp(r - p) - (r - p), "The - 1 is missing")
def check_04_4(low_variance_kl):
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
@refuses(lambda losses, mask: (losses * mask).mean(), "divide by all positions")
def check_04_5(token_mean):
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


FAULTS = {
    "A": "the std is that of the batch",
    "B": "padding is counted",
    "C": "the KL penalty has the wrong sign",
    "D": "never clips",
}
TOOLS = {
    "A": "With num_generations = 8 the batch is one group, and A is right.",
    "B": "With a mask of ones, B is right.",
    "C": "With beta = 0, C is right, so its fault is in the KL term; a larger beta makes its loss "
    "smaller where the right one grows.",
    "D": "With old_log_probs = log_probs every ratio is 1, and D is right. So it is with epsilon "
    "= 10, which changes nothing but the clip.",
}


def _swapped(one, other):
    return dict(FAULTS, **{one: FAULTS[other], other: FAULTS[one]})


@refuses(dict.fromkeys("ABCD", "padding is counted"), "A: look again")
@refuses(_swapped("A", "B"), "A: look again")
@refuses(_swapped("C", "D"), "C: look again")
@refuses(dict(FAULTS, D="the group's mean is not subtracted"), "D: look again")
def check_04_6(faults):
    choices = (*FAULTS.values(), "the group's mean is not subtracted", "KL without the ratio")
    entries(faults, FAULTS, choices=choices)
    for letter, truth in FAULTS.items():
        if faults[letter] != truth:
            raise Wrong(f"{letter}: look again. {TOOLS[letter]}")
    return "Each of the four trains without an error; only a comparison on one batch shows it."


GROUP_SIZES = {
    2: "With G = 2 at 78 % right, 66 % of the groups agree and teach nothing, and where two "
    "siblings differ, their advantages are about ±0.7, however small the gap.",
    32: "No group is wasted, but each step learns from one question alone. A baseline that is "
    "good enough needs fewer siblings: its noise shrinks like 1/G.",
}
REASONS = {
    "more questions": "More questions per step are welcome, but a question whose siblings all "
    "agree adds nothing: count the groups that teach.",
    "best baseline": "The variance of the baseline is 1/G of the variance of a reward: beyond 8 "
    "little is left to gain, and the step would learn from one question alone.",
    "clip": "With num_iterations = 1 nothing is clipped, whatever G is.",
}
TEACH = "groups that teach"


@refuses({"group size": 2, "reason": "more questions"}, "about ±0.7")
@refuses({"group size": 32, "reason": "best baseline"}, "one question alone")
@refuses({"group size": 8, "reason": "clip"}, "nothing is clipped")
@refuses({"group size": 8, "reason": "more questions"}, "count the groups")
def check_04_7(decision):
    entries(decision, ("group size", "reason"))
    size, reason = decision["group size"], decision["reason"]
    if size not in (2, 8, 32):
        raise Wrong(f"group size: choose 2, 8 or 32, not {size!r:.20}.")
    if reason not in ("groups that teach", *REASONS):
        raise Wrong(
            f"reason: choose one of {', '.join(map(repr, ('groups that teach', *REASONS)))}."
        )
    if size in GROUP_SIZES:
        raise Wrong(GROUP_SIZES[size])
    if reason in REASONS:
        raise Wrong(f"8 is a good choice, for another reason. {REASONS[reason]}")
    return (
        "At 78 % right, 86 % of the groups of 8 have a spread, against 34 % of the pairs, and four "
        "questions still share a step."
    )
