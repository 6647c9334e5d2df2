"""Checks of notebook 05: training with GRPO."""

from ...rewards import completion_text
from ..checking import Wrong, call, entries, expect, near, number, numbers, refuses


@refuses({"completions a step": 32}, "an answer is missing")
@refuses(
    {
        "completions a step": 32,
        "questions a step": 4,
        "micro-batches a step": 16,
        "completions in 40 steps": 1280,
    },
    "micro-batches a step",
)
def check_05_1(sizes):
    truth = {
        "completions a step": 32,
        "questions a step": 4,
        "micro-batches a step": 2,
        "completions in 40 steps": 1280,
    }
    entries(sizes, truth)
    for name, value in truth.items():
        if not near(number(sizes[name]), value, tolerance=0):
            raise Wrong(
                f"{name}: {sizes[name]} is wrong for prompts_per_step = 4, num_generations = 8, "
                "per_device_train_batch_size = 16."
            )


@refuses(lambda completions: [1.0 for _ in completions], "every column by name")
@refuses(
    lambda completions, **_: [1.0 / (1 + len(completion_text(c))) for c in completions],
    "An empty completion",
)
@refuses(
    lambda completions, **_: [-len(completion_text(c)) for c in completions],
    "An empty completion earns",
)
def check_05_2(concise_reward):
    texts = [
        "<think>" + "word " * 10 + "</think>\nAnswer: entailed",
        "<think>" + "word " * 60 + "</think>\nAnswer: entailed",
        "",
        "Answer: entailed",
    ]
    messages = [[{"role": "assistant", "content": content}] for content in texts]
    try:
        found = numbers(call(concise_reward, messages, label=[1] * 4, trainer_state=None))
    except (AttributeError, TypeError) as error:
        raise Wrong(
            "TRL passes completions as one-message lists, and every column by name. "
            f"Use rewards.completion_text and **_. ({error})"
        ) from error
    if len(found) != 4:
        raise Wrong(f"Four completions need four rewards, got {len(found)}.")
    short, long, empty, bare = found
    if not short > long:
        raise Wrong(
            f"Ten words of thought should earn more than sixty; got {short:.2f} and {long:.2f}."
        )
    for reward, what in ((empty, "An empty completion"), (bare, "An answer without a thought")):
        if reward > 0 or reward >= short:
            raise Wrong(
                f"{what} earns {reward:.2f}, ten words of thought {short:.2f}: no thought at all "
                "should earn nothing. A policy finds that loophole within a few steps."
            )
    if not near(numbers(call(concise_reward, texts))[:2], [short, long]):
        raise Wrong(
            "The same completions as plain strings earn something else; "
            "rewards.completion_text reads both forms."
        )
    return "It has TRL's form. Would you train with it?"


def _rollout(step: int, identifier: str, answer: float, form: float = 1.0) -> dict:
    return {
        "step": step,
        "id": identifier,
        "completion": "",
        "answer_reward": answer,
        "text_format_reward": form,
        "advantage": 0.0,
    }


@refuses(lambda rollouts: 0.4, "That is the share of groups with a spread")
@refuses(lambda rollouts: 0.8, "You looked at one reward only")
def check_05_3(share_of_zero_std_groups):
    rollouts = [
        _rollout(1, "a", 2.0),
        _rollout(1, "a", 2.0),
        _rollout(1, "b", 0.0),
        _rollout(1, "b", 2.0),
        _rollout(2, "a", 0.0),
        _rollout(2, "a", 0.0),
        _rollout(2, "c", 2.0),
        _rollout(2, "c", 2.0),
        _rollout(3, "d", 2.0),
        _rollout(3, "d", 2.0, form=0.0),
    ]
    mistakes = {
        "The same question in two steps makes two groups. Group by step and id.": 0.25,
        "That is the share of groups with a spread; the zero-std groups are asked for.": 0.4,
        "You looked at one reward only. The advantage comes from the sum of all rewards.": 0.8,
    }
    found = call(share_of_zero_std_groups, rollouts)
    otherwise = "Five groups, in two of which the sums differ:"
    expect(found, 0.6, mistakes=mistakes, otherwise=otherwise)


@refuses({"A": "cut off", "B": "cut off", "C": "cut off"}, "A: 'cut off' doesn't fit")
@refuses({"A": "no-variance", "B": "cut off", "C": "cut off"}, "A: choose one of")
def check_05_4(causes):
    truth = {"A": "no variance", "B": "wrong reference length", "C": "cut off"}
    hints = {
        "A": "look at the spread inside each group, not at the rewards.",
        "B": "which term pays nothing, although the completions look fine?",
        "C": "do the completions come to an end?",
    }
    entries(causes, truth, choices=truth.values())
    for run, cause in truth.items():
        if causes[run] != cause:
            raise Wrong(f"{run}: {causes[run]!r} doesn't fit; {hints[run]}")
