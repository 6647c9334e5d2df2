"""Checks of the exercises in notebooks 04 to 06: GRPO by hand, training, evaluation. Each raises Wrong with a diagnosis."""
import torch

from .checking import Wrong, call, entries, expect, near, number, numbers

REWARDS = [4.0, 1.0, 0.0, 3.0, 2.0, 2.0, 2.0, 2.0]  # two groups of four; the second has no variance


def check_04_1(group_advantages):
    groups = torch.tensor(REWARDS).view(2, 4)
    centred = groups - groups.mean(1, keepdim=True)
    scaled = lambda std: (centred / (std + 1e-4)).flatten().tolist()
    flat = groups.flatten()
    mistakes = {
        "You subtracted the group's mean but did not divide by the group's std.": centred.flatten().tolist(),
        "Your std divides by G. TRL's (torch.std) divides by G - 1.": scaled(groups.std(1, keepdim=True, unbiased=False)),
        "Mean and std are of the whole batch: that is REINFORCE++. Use each group's own.": ((flat - flat.mean()) / (flat.std() + 1e-4)).tolist(),
        "The std is of the whole batch; use each group's own.": scaled(flat.std()),
        "You divided by the variance, not by its root.": scaled(groups.var(1, keepdim=True)),
    }
    found = numbers(call(group_advantages, torch.tensor(REWARDS), 4))
    if any(value != value for value in found):
        raise Wrong("The second group has no variance, and 0/0 is not a number. Add 1e-4 to the std, as TRL does.")
    expect(found, scaled(groups.std(1, keepdim=True)), mistakes, f"For rewards {REWARDS} in groups of 4:")
    return "The second group gets exactly 0: nothing to learn from."


def check_04_2(clipped_objective):
    ratio, advantage = torch.tensor([0.5, 1.0, 1.5, 0.5, 1.5]), torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])
    clipped = ratio.clamp(0.8, 1.2)
    pairs = torch.stack([ratio * advantage, clipped * advantage])
    mistakes = {
        "That is the loss, its negative. Return what is maximised.": (-pairs.min(0).values).tolist(),
        "Take the smaller of the two, not the larger: the objective must never promise more than the unclipped one.": pairs.max(0).values.tolist(),
        "You always clip. Where the ratio moved the wrong way (0.5 with a positive advantage) the gradient must stay.": pairs[1].tolist(),
        "You never clip.": pairs[0].tolist(),
    }
    found = call(clipped_objective, ratio, advantage, 0.2)
    expect(found, pairs.min(0).values.tolist(), mistakes, "For ratios 0.5, 1, 1.5 (advantage 1) and 0.5, 1.5 (advantage -1):")
    wider = torch.min(ratio * advantage, ratio.clamp(0.6, 1.4) * advantage).tolist()
    stuck = {"Right for ε = 0.2 and for no other: take it from the argument.": pairs.min(0).values.tolist()}
    expect(call(clipped_objective, ratio, advantage, 0.4), wider, stuck, "With ε = 0.4:")


def check_04_3(low_variance_kl):
    policy, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5])
    gap = reference - policy
    mistakes = {
        "That is log π - log π_ref, unbiased but noisy, and it can be negative. Add what makes it never negative.": (-gap).tolist(),
        "The sign of the gap is turned round: it is log π_ref - log π here.": (torch.exp(-gap) + gap - 1).tolist(),
        "The - 1 is missing, so equal models would not have a distance of 0.": (torch.exp(gap) - gap).tolist(),
        "That is half the squared gap, another estimator; it is biased.": (gap**2 / 2).tolist(),
    }
    expect(call(low_variance_kl, policy, reference), (torch.exp(gap) - gap - 1).tolist(), mistakes, "For three tokens:")
    return "Never negative, and 0 where both models agree."


def check_04_4(token_mean):
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 99.0, 99.0, 99.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    mistakes = {
        "Padding is counted. Multiply by the mask, and divide by the mask's sum.": losses.mean().item(),
        "You mask the sum but divide by all places, padding included.": 20 / 8,
        "That is the mean of the completions' means (TRL's loss_type='grpo'). Here each token weighs the same.": (2.5 + 10) / 2,
    }
    expect(call(token_mean, losses, mask), 4.0, mistakes, "Four tokens of 1, 2, 3, 4 and one of 10:")
    return "A long completion has more say than a short one: that is what loss_type='dapo' means."


def check_05_1(sizes):
    truth = {"completions a step": 32, "questions a step": 4, "micro-batches a step": 2, "completions in 40 steps": 1280}
    entries(sizes, dict.fromkeys(truth))
    for name, value in truth.items():
        if not near(number(sizes[name]), value, 0):
            raise Wrong(f"{name}: prompts_per_step = 4, group_size = 8, micro_batch = 16. {sizes[name]} is not it.")


def check_05_2(concise_reward):
    message = lambda text: [{"role": "assistant", "content": text}]
    texts = ["<think>" + "word " * 10 + "</think>\nAnswer: entailed", "<think>" + "word " * 60 + "</think>\nAnswer: entailed", "", "Answer: entailed"]
    try:
        found = numbers(call(concise_reward, [message(t) for t in texts], label=[1] * 4, trainer_state=None))
    except (AttributeError, TypeError) as error:
        raise Wrong(f"TRL hands over completions as one-message lists, and every column by name. Use rewards.completion_text and **_. ({error})") from error
    if len(found) != 4:
        raise Wrong(f"Four completions need four rewards, got {len(found)}.")
    if not found[0] > found[1]:
        raise Wrong(f"Ten words of thought should earn more than sixty; got {found[0]:.2f} and {found[1]:.2f}.")
    for place, what in ((2, "An empty completion"), (3, "An answer without a thought")):
        if found[place] > 0 or found[place] >= found[0]:
            raise Wrong(f"{what} earns {found[place]:.2f}, ten words of thought {found[0]:.2f}: the shortest thought of all wins. That hole is found within a few steps.")
    if not near(numbers(call(concise_reward, texts))[:2], found[:2]):
        raise Wrong("The same completions as plain strings earn something else; rewards.completion_text reads both forms.")
    return "It has TRL's form. Would you train with it?"


def check_05_3(share_without_variance):
    roll = lambda step, name, points, form=1.0: dict(step=step, id=name, completion="", answer_reward=points, text_format_reward=form, advantage=0.0)
    rollouts = [roll(1, "a", 2.0), roll(1, "a", 2.0), roll(1, "b", 0.0), roll(1, "b", 2.0), roll(2, "a", 0.0), roll(2, "a", 0.0), roll(2, "c", 2.0), roll(2, "c", 2.0),
                roll(3, "d", 2.0), roll(3, "d", 2.0, 0.0)]
    mistakes = {
        "The same question in two steps makes two groups. Group by step and id.": 0.25, "That is the share with variance.": 0.4,
        "You looked at one reward only. The sum of all of them makes the advantage.": 0.8,
    }
    expect(call(share_without_variance, rollouts), 0.6, mistakes, "Five groups, two of them with different sums:")


def check_05_4(causes):
    truth = {"A": "no variance", "B": "wrong reference length", "C": "cut off"}
    hints = {
        "A": "look at the spread inside each group, not at the points.", "B": "which term is at 0, although the answers are fine to the eye?",
        "C": "do the completions come to an end?",
    }
    entries(causes, dict.fromkeys(truth, tuple(truth.values())))
    for run, cause in truth.items():
        if causes[run] != cause:
            raise Wrong(f"{run}: {causes[run]!r} doesn't fit; {hints[run]}")


def check_06_1(changed):
    before, after = [True, True, False, False, False], [True, False, True, True, False]
    mistakes = {"Gained and lost are the wrong way round.": [1.0, 2.0], "Count the rows that changed, not all right ones.": [3.0, 2.0]}
    found = call(changed, before, after)
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise Wrong(f"A pair is wanted, (gained, lost), got {found!r:.60}.")
    expect(found, [2.0, 1.0], mistakes, "Two rows went from wrong to right, one from right to wrong:")
    return "The exact McNemar test looks at these two numbers alone."


def check_06_2(is_illicit_conversion):
    statement = lambda text: tuple(text)
    cases = (
        (("AMP", "ASM", "APS"), True, "all M are P, all S are M; concluded: all P are S (what follows is: all S are P)"),
        (("AMP", "ASM", "ASP"), False, "the conclusion itself follows"),
        (("AMP", "AMS", "ASP"), False, "nothing follows in either order"),
        (("EMP", "ASM", "EPS"), False, "'no' may be turned round, so the conclusion follows"),
    )
    for form, expected, what in cases:
        if bool(call(is_illicit_conversion, tuple(map(statement, form)))) != expected:
            raise Wrong(f"{form}: {what}. Your function says {not expected}.")


def check_06_3(z):
    a, b, n = 534 / 656, 509 / 656, 656
    pooled = (a + b) / 2
    truth = (a - b) / (2 * pooled * (1 - pooled) / n) ** 0.5
    mistakes = {
        "One standard error of a single share is too small: both figures have one. Their variances add.": (a - b) / (pooled * (1 - pooled) / n) ** 0.5,
        "Shares, not per cent, under the root.": 100 * truth, "The sign says that the base model is better.": -truth,
    }
    expect(z, truth, mistakes, "z = (a - b) / sqrt(2 p (1 - p) / n), with p the mean of both shares.", tolerance=0.02)
    return "1.71 is short of 1.96: an unpaired test can't tell 81.40 from 77.59. A paired test might, but the answers are not published."


def check_06_4(possible):
    truth = {81.40: True, 77.59: True, 70.82: False, 48.84: False, 60.24: False, 54.88: True}
    for figure, expected in truth.items():
        if bool(call(possible, figure, 656)) != expected:
            nearest = round(figure / 100 * 656)
            raise Wrong(f"{figure} %: the nearest count is {nearest} of 656 = {nearest / 6.56:.2f} %. Your function says {not expected}.")
    return "The three ablation figures are no share of 656 rows, so they were not measured on exactly these rows, or not in this way."


def check_08_1(sizes):
    truth = {"bf16": 17.9, "4-bit": 8.3}
    entries(sizes, dict.fromkeys(truth))
    bf16, four = number(sizes["bf16"]), number(sizes["4-bit"])
    if near(bf16, 8.93, 0.1):
        raise Wrong("That is the number of weights in billions. In bf16 each takes two bytes.")
    if near(bf16, 35.7, 0.3):
        raise Wrong("That is fp32. In bf16 a weight takes two bytes.")
    if not near(bf16, truth["bf16"], 0.3):
        raise Wrong(f"bf16: {bf16:g} GB is not it; two bytes for each of 8.93 billion weights.")
    if near(four, 4.7, 0.3):
        raise Wrong("4-bit: that puts every weight at 0.53 bytes. Only the linear layers of the language model (6.5 of the 8.9) are quantised, the rest stays bf16.")
    if not near(four, truth["4-bit"], 0.3):
        raise Wrong(f"4-bit: {four:g} GB is not it; 6.5 billion weights at 0.53 bytes, the other 2.4 at 2 bytes.")


def check_08_2(kv_cache_gb):
    truth = 2 * 28 * 4 * 128 * 1560 * 8 * 2 / 1e9
    mistakes = {
        "Keys and values: two of everything.": truth / 2, "Two bytes a number in bf16.": truth / 2, "Each of the rollouts keeps its own.": truth / 8,
        "In GB: divide by 1e9.": truth * 1e9, "That is GiB; divide by 1e9.": truth * 1e9 / 2**30, "All 28 heads were counted. Keys and values have 4: that is what grouped-query attention saves.": truth * 7,
    }
    expect(call(kv_cache_gb, layers=28, kv_heads=4, head_dim=128, tokens=1560, rollouts=8), truth, mistakes, "For the 7B, 1,560 tokens and 8 rollouts:", 0.01)
    return "For 32 rollouts of 3,600 tokens it is 6.6 GB: more than the adapter, less than the weights."


def check_08_3(choices):
    truth = {"Colab, T4": "t4", "workstation, 24 GB": "l4", "one H100": "80gb", "8 × H100": "multi"}
    entries(choices, dict.fromkeys(truth, (*truth.values(), "tiny")))
    for machine, profile in truth.items():
        if choices[machine] != profile:
            raise Wrong(f"{machine}: {choices[machine]!r} {'would waste most of it' if choices[machine] == 'tiny' else 'is not the largest that fits'}. Look at the memory, and at the number of cards.")


def check_08_4(run_cost):
    mistakes = {"That is the cost of a step.": 2 * 72 / 3600, "Seconds to hours: divide by 3,600.": 2 * 72 * 500.0, "All the cards are paid for, not one.": 20.0}
    expect(call(run_cost, step_seconds=72, steps=500, price=2.0, cards=8), 160.0, mistakes, "500 steps of 72 s on 8 cards at 2.00 an hour each:", 0.01)


def check_08_5(positions):
    mistakes = {
        "That is the plain way in both cases: with sharing the prompt counts once a pass.": [3 * 8 * 1600] * 2, "Three passes, not one: sampling, reference, policy.": [8 * 1600, 1500 + 800],
        "The two cases are the wrong way round.": [3 * (1500 + 800), 3 * 8 * 1600], "Each of the G completions is its own; only the prompt is shared.": [3 * 8 * 1600, 3 * 1600],
    }
    found = [number(call(positions, prompt=1500, completion=100, group=8, shared=shared)) for shared in (False, True)]
    expect(found, [38_400, 6_900], mistakes, "For 1,500 tokens of prompt, 100 of completion and G = 8, plain and shared:")
    return "5.6 times fewer; and the ear runs once and not 24 times."
