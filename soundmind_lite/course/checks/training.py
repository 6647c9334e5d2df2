"""Checks of notebook 05: training with GRPO."""

from ...rewards import completion_text
from ..checking import Wrong, call, decided, entries, expect, near, numbers, refuses

EFFECTS = {
    "num_generations=12": "error before the first step",
    'target_modules="all-linear"': "the encoders get adapters, too",
    "remove_unused_columns=True": "error at the first reward",
    "beta=0.0": "no KL in the log",
    "gradient_accumulation_steps=1": "half the completions a step",
}
EFFECT_HINTS = {
    "num_generations=12": "a step has 16 × 2 = 32 completions. How many groups of 12 is that?",
    'target_modules="all-linear"': "which linear layers are there outside of the language model?",
    "remove_unused_columns=True": "whose arguments are `label` and `reference_length`? They are "
    "looked up when completions are there to be paid.",
    "beta=0.0": "what is the reference model needed for, if its distance costs nothing?",
    "gradient_accumulation_steps=1": "how many micro-batches of 16 does a step have now?",
}


def _effects(**changed) -> dict:
    """All five answers right, but for those given by position: a=…, b=… for the first, second."""
    wrong = dict(zip(EFFECTS, [changed.get(letter) for letter in "abcde"]))
    return {name: wrong[name] or effect for name, effect in EFFECTS.items()}


@refuses(_effects(c="error before the first step"), "looked up when completions are there")
@refuses(_effects(b="no KL in the log"), "outside of the language model")
@refuses(_effects(d="half the completions a step"), "what is the reference model needed for")
@refuses(_effects(e="a longer run"), "choose one of")
def check_05_1(effects):
    entries(effects, EFFECTS, choices=EFFECTS.values())
    for name, effect in EFFECTS.items():
        if effects[name] != effect:
            raise Wrong(f"{name}: not {effects[name]!r}; {EFFECT_HINTS[name]}")
    return "Only two of the five raise an error. The other three train something that wasn't meant."


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
    return "It has TRL's form. The lesson trains with it next."


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
@refuses(lambda rollouts: 0.25, "The same question in two steps")
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
@refuses({"A": "samples-alike", "B": "cut off", "C": "cut off"}, "A: choose one of")
@refuses({"A": "samples all alike", "B": "cut off", "C": "cut off"}, "B: 'cut off' doesn't fit")
def check_05_4(causes):
    truth = {"A": "samples all alike", "B": "wrong reference length", "C": "cut off"}
    hints = {
        "A": "look at the spread inside each group, not at the rewards.",
        "B": "which term pays nothing, although the completions look fine?",
        "C": "do the completions come to an end?",
    }
    entries(causes, truth, choices=truth.values())
    for run, cause in truth.items():
        if causes[run] != cause:
            raise Wrong(f"{run}: {causes[run]!r} doesn't fit; {hints[run]}")


CURVES = {
    "temperature=1.5, step 1": "A",
    "temperature=0.5, step 8": "B",
    "beta=1, steps 12 to 19": "C",
    "beta=0, all steps": "D",
}
CURVE_HINTS = {
    "temperature=1.5, step 1": "nothing has been trained at step 1, so what differs?",
    "temperature=0.5, step 8": "how much do eight completions differ at half the temperature? "
    "Look at the lower panel.",
    "beta=1, steps 12 to 19": "the reward falls and the KL falls with it. What gains by that?",
    "beta=0, all steps": "in the usual run a token that has become three times as probable is "
    "pulled back with 0.001 × log 3. What else pushes it, and how strongly?",
}


@refuses(dict(zip(CURVES, "EBCD")), "nothing has been trained at step 1")
@refuses(dict(zip(CURVES, "ABED")), "the reward falls and the KL falls with it")
@refuses(dict(zip(CURVES, "AFCD")), "how much do eight completions differ")
@refuses(dict(zip(CURVES, "ABCE")), "pulled back with 0.001")
def check_05_5(explanations):
    entries(explanations, CURVES, choices="ABCDEF")
    for curve, letter in CURVES.items():
        if explanations[curve] != letter:
            raise Wrong(f"{curve}: not {explanations[curve]}; {CURVE_HINTS[curve]}")
    return (
        "Rewards at different temperatures can't be compared: they are of samples, and the samples "
        "are drawn differently."
    )


DECISIONS = {
    "stop and use it": "in the run with the reward of 05.2, too, the reward was at its highest and "
    "every group a zero-std group, and no answer was right. Nobody has looked at a completion yet.",
    "train on": "in 95 % of the groups every advantage is 0, so 200 more steps change little, "
    "whatever the reason for it is.",
    "raise the learning rate": "a larger rate multiplies a gradient that is 0 in 95 % of the "
    "groups, and makes the rest less stable.",
}
REASONS = {
    "the reward is nearly at its maximum": "that is what a hacked reward looks like, too.",
    "zero-std groups mean that the run is broken": "at the start of a run they do; late in a run "
    "they are also what a solved task looks like.",
    "the KL is small, so the model can't have gone wrong": "the KL says how far the policy has "
    "moved, not whether to a good place.",
}


def _decided(decision="look", reason="both look alike") -> dict:
    return {"decision": decision, "reason": reason}


@refuses(_decided(decision="stop and use it"), "Nobody has looked at a completion")
@refuses(_decided(decision="train on"), "every advantage is 0")
@refuses(_decided(reason="zero-std groups mean that the run is broken"), "what a solved task looks")
@refuses(_decided(reason="the KL is small, so the model can't have gone wrong"), "how far")
def check_05_6(answer):
    choices = {"decision": ["look", *DECISIONS], "reason": ["both look alike", *REASONS]}
    decided(answer, choices)
    for part, remarks in (("decision", DECISIONS), ("reason", REASONS)):
        if answer[part] in remarks:
            raise Wrong(f"{part}, {answer[part]!r}: {remarks[answer[part]]}")
    return (
        "A solved task and a hacked reward show the same curves. Twenty completions and a measure "
        "on rows that weren't trained on tell them apart, in minutes."
    )
