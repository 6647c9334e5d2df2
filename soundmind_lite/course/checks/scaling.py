"""Checks of notebook 10: memory, time and cost at 7B."""

from ..checking import Wrong, call, entries, expect, near, number, refuses


@refuses({"bf16": 8.93, "4-bit": 8.3}, "each takes two bytes")
@refuses({"bf16": 17.9, "4-bit": 4.73}, "puts every parameter at 0.53")
def check_10_1(sizes):
    entries(sizes, ("bf16", "4-bit"))
    bf16, four = number(sizes["bf16"]), number(sizes["4-bit"])
    if near(bf16, 8.93, tolerance=0.1):
        raise Wrong("That is the number of parameters in billions. In bf16 each takes two bytes.")
    if near(bf16, 35.7, tolerance=0.3):
        raise Wrong("That is fp32. In bf16 a parameter takes two bytes.")
    if not near(bf16, 17.9, tolerance=0.3):
        raise Wrong(
            f"bf16: {bf16:g} GB is wrong; count two bytes for each of 8.93 billion parameters."
        )
    if near(four, 4.7, tolerance=0.3):
        raise Wrong(
            "4-bit: that puts every parameter at 0.53 bytes. Only the linear layers of the "
            "language model (6.5 of the 8.9) are quantised, the rest stays bf16."
        )
    if not near(four, 8.3, tolerance=0.3):
        raise Wrong(
            f"4-bit: {four:g} GB is wrong; count 6.5 billion parameters at 0.53 bytes, "
            "the other 2.4 at 2 bytes."
        )


def _keys_alone(layers, kv_heads, head_dim, tokens, rollouts):
    return layers * kv_heads * head_dim * tokens * rollouts * 2 / 1e9


@refuses(lambda layers, kv_heads, head_dim, tokens, rollouts: 1e9, "For the 7B")
@refuses(_keys_alone, "two of everything")
def check_10_2(kv_cache_gb):
    expected = 2 * 28 * 4 * 128 * 1560 * 8 * 2 / 1e9
    mistakes = {
        "That is half of it. Keys and values are two of everything, and a number in bf16 takes "
        "two bytes.": expected / 2,
        "Each of the rollouts has a cache of its own.": expected / 8,
        "In GB: divide by 1e9.": expected * 1e9,
        "That is GiB; divide by 1e9.": expected * 1e9 / 2**30,
        "All 28 heads were counted. Keys and values have 4: that is what grouped-query "
        "attention saves.": expected * 7,
    }
    expect(
        call(kv_cache_gb, layers=28, kv_heads=4, head_dim=128, tokens=1560, rollouts=8),
        expected,
        mistakes=mistakes,
        otherwise="For the 7B, 1,560 tokens and 8 rollouts:",
        tolerance=0.01,
    )
    return "For 32 rollouts of 3,600 tokens it is 6.6 GB: more than the adapter, less than the 7B."


@refuses(
    {"Colab, T4": "tiny", "workstation, 24 GB": "l4", "one H100": "80gb", "8 × H100": "multi"},
    "waste most of it",
)
def check_10_3(choices):
    best = {"Colab, T4": "t4", "workstation, 24 GB": "l4", "one H100": "80gb", "8 × H100": "multi"}
    entries(choices, best, choices=(*best.values(), "tiny"))
    for machine, profile in best.items():
        chosen = choices[machine]
        if chosen == profile:
            continue
        fault = "would waste most of it" if chosen == "tiny" else "is not the largest that fits"
        raise Wrong(
            f"{machine}: {chosen!r} {fault}. Look at the memory, and at the number of cards."
        )


@refuses(
    lambda step_seconds, steps, price, cards: step_seconds * steps / 3600 * price,
    "All the cards are paid for",
)
def check_10_4(run_cost):
    mistakes = {
        "That is the cost of a step.": 2 * 72 / 3600,
        "Seconds to hours: divide by 3,600.": 2 * 72 * 500.0,
        "All the cards are paid for, not one.": 20.0,
    }
    expect(
        call(run_cost, step_seconds=72, steps=500, price=2.0, cards=8),
        160.0,
        mistakes=mistakes,
        otherwise="500 steps of 72 s on 8 cards at 2.00 an hour each:",
        tolerance=0.01,
    )


def _never_shared(prompt, completion, group, shared):
    return 3 * group * (prompt + completion)


def _one_pass(prompt, completion, group, shared):
    if shared:
        return prompt + group * completion
    return group * (prompt + completion)


@refuses(_never_shared, "counts once a pass")
@refuses(_one_pass, "Three passes")
def check_10_5(positions):
    plain, shared = 3 * 8 * 1600, 3 * (1500 + 8 * 100)
    mistakes = {
        "Both cases are counted without sharing: with it, the prompt counts once a pass.": (
            [plain, plain]
        ),
        "Three passes, not one: sampling, reference, policy.": [plain / 3, shared / 3],
        "The two cases are the wrong way round.": [shared, plain],
        "Only the prompt is shared: each of the G completions counts.": [plain, 3 * 1600],
    }
    sizes = {"prompt": 1500, "completion": 100, "group": 8}
    found = [number(call(positions, **sizes, shared=share)) for share in (False, True)]
    expect(
        found,
        [plain, shared],
        mistakes=mistakes,
        otherwise="For 1,500 prompt tokens, 100 of each completion and G = 8, plain and shared:",
    )
    return "5.6 times fewer; and the audio encoder runs once instead of 24 times."
