"""Checks of notebook 10: memory, cost and the fields of a profile at 7B."""

from ..checking import Wrong, call, decided, entries, expect, number, refuses

BUDGET = {
    "weights": "",
    "adapter": "Rank 32 has 59.9 million parameters. Each takes 4 bytes, as do its gradient and "
    "Adam's two moments, 16 in all: 0.96 GB. This line is right.",
    "KV cache": "8 completions of 1,560 + 1,024 tokens, with keys and values of 36 layers, 2 heads "
    "and 128 numbers at 2 bytes: 0.76 GB. This line is right.",
    "overhead": "The CUDA context and the kernels' workspace take memory whatever the model. It is "
    "a guess, but not the fault.",
}


@refuses({"line": "KV cache", "GB": 5.33}, "keys and values of 36 layers")
@refuses({"line": "adapter", "GB": 0.24}, "Adam's two moments")
@refuses({"line": "overhead", "GB": 0}, "CUDA context")
@refuses({"line": "weights", "GB": 9.41}, "without quantisation")
@refuses({"line": "weights", "GB": 1.47}, "The other 1.93 billion")
def check_10_1(fault):
    entries(fault, ("line", "GB"))
    line = fault["line"]
    if line not in BUDGET:
        raise Wrong(f"line: choose one of {', '.join(map(repr, BUDGET))}.")
    if line != "weights":
        raise Wrong(BUDGET[line])
    mistakes = {
        "That is the line as it stands: every parameter at 0.53 bytes. Which are not quantised?": (
            2.49
        ),
        "That is bf16 without quantisation. The linear layers of the language model have 4 bits.": (
            9.41
        ),
        "These are the linear layers alone. The other 1.93 billion parameters need memory, too.": (
            1.47
        ),
        "The rest keeps 16 bits, which are 2 bytes a parameter, not 4.": 9.19,
    }
    expect(
        number(fault["GB"]),
        5.33,
        mistakes=mistakes,
        otherwise="2.77 billion parameters at 0.53 bytes, and the other 1.93 billion at 2 bytes:",
        tolerance=0.1,
        reveal=False,
    )
    return (
        "5.3 GB instead of 2.5: the audio encoder, the vision encoder, the embeddings and the head "
        "keep 16 bits. They are 41 % of the parameters and 72 % of the memory."
    )


PREDICTED = {
    "num_generations=4": "as before",
    "max_audio_seconds=60": "smaller",
    "per_device_eval_batch_size=2": "fits",
    "gradient_checkpointing=False": "larger",
}
OUTCOMES = ("as before", "smaller", "fits", "larger")
WHY = {
    "num_generations=4": "The group is sampled, and the peak is in another phase: look at the "
    "figure, where evaluation has one answer for each question.",
    "max_audio_seconds=60": "The prompts of the evaluation halve, and their prefill with them: "
    "15.8 GB, less than before and still more than 15.",
    "per_device_eval_batch_size=2": "The prefill of 8 questions at a time is what makes the peak; "
    "with 2, evaluation needs 13.3 GB, and sampling is the largest phase with 14.1.",
    "gradient_checkpointing=False": "Without checkpointing each layer keeps its activations for "
    "the backward pass: the policy pass needs 40.7 GB.",
}
ALL_AS_BEFORE = dict.fromkeys(PREDICTED, "as before")


@refuses(PREDICTED | {"num_generations=4": "smaller"}, "another phase")
@refuses(PREDICTED | {"max_audio_seconds=60": "fits"}, "still more than 15")
@refuses(PREDICTED | {"gradient_checkpointing=False": "smaller"}, "keeps its activations")
@refuses(ALL_AS_BEFORE, "still more than 15")
def check_10_2(predicted):
    entries(predicted, PREDICTED, choices=OUTCOMES)
    for change, expected in PREDICTED.items():
        if predicted[change] != expected:
            raise Wrong(f"{change}: not {predicted[change]!r}. {WHY[change]}")
    return (
        "Only the largest phase counts: a field that it doesn't depend on leaves the peak as it is."
    )


CARDS = ("L4", "A40", "A100-40GB", "H100")
CARD_FAULTS = {
    "L4": "Its hour is the second cheapest of the four, but the run takes 27 of them: too long, "
    "and with 21.6 too dear.",
    "A40": "It costs least, 7.6, but takes 15.2 hours: it doesn't end in time.",
    "A100-40GB": "It ends in time and within the money. Another card does, too, in half the time "
    "and for less.",
}
REASONS = {
    "A": "The price of an hour says nothing without the number of hours.",
    "B": "All four rows fit their card. More memory doesn't make the result better.",
    "C": "",
    "D": "Nobody has to fill a card's memory. What counts is that the run ends in time, and its "
    "cost.",
}


@refuses({"card": "A40", "reason": "A"}, "doesn't end in time")
@refuses({"card": "L4", "reason": "A"}, "too long")
@refuses({"card": "A100-40GB", "reason": "C"}, "in half the time")
@refuses({"card": "H100", "reason": "B"}, "More memory")
def check_10_3(decision):
    card, reason = decided(decision, {"card": CARDS, "reason": REASONS})
    if card in CARD_FAULTS:
        raise Wrong(f"{card}: {CARD_FAULTS[card]}")
    if REASONS[reason]:
        raise Wrong(f"The card is right, the reason isn't. {REASONS[reason]}")
    return "The dearest hour makes the cheaper run: 5.3 hours for 15.8, the A100 10.7 for 17.1."


FIELDS = {
    "per_device_train_batch_size": "It is 1 already, and only the scoring and policy passes go by "
    "it. Sampling takes all completions of a step at once.",
    "per_device_eval_batch_size": "It sizes the evaluation, another phase; sampling stays at "
    "22.7 GB.",
    "max_completion_length": "It would fit (19.0 GB), but ALR's answers have 1,683 tokens on "
    "average: a completion that is cut off has no answer line, and mostly earns 0.",
    "num_generations": "It would fit (19.0 GB), but you chose 16 so that fewer groups agree. "
    "Another field leaves the group as it is, and frees more.",
    "max_audio_seconds": "It would fit (20.8 GB), but clips are never cut: the run refuses "
    "questions above the limit, and a question has 62 s on average.",
    "prompts_per_step": "",
}
FIELD_REASONS = {
    "A": "A smaller micro-batch doesn't help: no backward pass runs while completions are sampled.",
    "B": "Shorter completions are another field, and the answers would be cut off.",
    "C": "",
    "D": "The weights stay as they are; 4 bits are on already.",
}


@refuses({"lower": "per_device_train_batch_size", "reason": "A"}, "all completions of a step")
@refuses({"lower": "per_device_eval_batch_size", "reason": "A"}, "another phase")
@refuses({"lower": "max_completion_length", "reason": "B"}, "no answer line")
@refuses({"lower": "num_generations", "reason": "C"}, "leaves the group")
@refuses({"lower": "prompts_per_step", "reason": "D"}, "4 bits are on")
def check_10_4(decision):
    field, reason = decided(decision, {"lower": FIELDS, "reason": FIELD_REASONS})
    if FIELDS[field]:
        raise Wrong(f"{field}: {FIELDS[field]}")
    if FIELD_REASONS[reason]:
        raise Wrong(f"The field is right, the reason isn't. {FIELD_REASONS[reason]}")
    return "2 questions a step: 17.0 GB instead of 22.7. Twice the steps see as many questions."


def _never_shared(prompt, completion, group, shared):
    return 3 * group * (prompt + completion)


def _one_pass(prompt, completion, group, shared):
    if shared:
        return prompt + group * completion
    return group * (prompt + completion)


def _all_shared(prompt, completion, group, shared):
    return 3 * (prompt + completion) * (1 if shared else group)


@refuses(_never_shared, "counts once a pass")
@refuses(_one_pass, "Three passes")
@refuses(_all_shared, "Only the prompt is shared")
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
    return (
        "5.6 times fewer; and the audio encoder runs once instead of 24 times. With gradient "
        "checkpointing the policy pass computes each prompt G times, and it is 2.2 times fewer."
    )
