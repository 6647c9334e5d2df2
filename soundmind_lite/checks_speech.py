"""Checks of the exercises in notebook 07: speech. Each raises Wrong with a diagnosis."""
from .checking import Wrong, call, expect, near, number, numbers


def check_07_1(my_wer):
    cases = (
        ("all cats are dogs", "all cats are dogs", 0.0, "equal texts"), ("all cats are dogs", "all cats or dogs", 0.25, "one word substituted"),
        ("all cats are dogs", "all cats dogs", 0.25, "one word missing"), ("all cats are dogs", "all the cats are dogs", 0.25, "one word extra"),
        ("answer entailed", "", 1.0, "nothing heard"), ("yes", "no no no", 3.0, "more errors than words"),
        ("so all poets are wizards", "all poets or wizards now", 0.6, "a shift: one missing, one substituted, one extra"),
    )
    for meant, heard, truth, what in cases:
        found = number(call(my_wer, meant, heard))
        if not near(found, truth):
            hint = " Words at the same place are compared; align them first." if what.startswith("a shift") and near(found, 1.0) else ""
            raise Wrong(f"{what}: {meant!r} heard as {heard!r} is {truth}, you gave {found:.3g}.{hint}")
    return "jiwer counts the same."


def check_07_2(heard_verdict):
    cases = (
        ("Answer, entailed.", "entailed"), ("So nothing follows. Answer: not entailed.", "not-entailed"), ("Answer not and tailed", "not-entailed"),
        ("answer in tailed", "entailed"), ("It is entailed.", None), ("Answer entailed. Or not.", None), ("", None), ("The details. Answer, detailed.", None),
    )
    for transcript, truth in cases:
        try:
            found = heard_verdict(transcript)
        except AttributeError as error:
            raise Wrong(f"For {transcript!r} it raised: {error}") from error
        if found != truth:
            raise Wrong(f"{transcript!r} is {truth!r}, you gave {found!r}.")


def check_07_3(reward):
    texts = ["so so so so so so", "all poets are robins", "All poets. All poets! are robins; some wizards too", ""]
    mistakes = {
        "Every word counts, not each different one: repetition pays.": [0.75, 0.75, 0.75, 0.0], "The weight of 0.75 is missing.": [0.25, 1.0, 1.0, 0.0],
        "The cap is missing: min(1, …).": [0.1875, 0.75, 1.3125, 0.0], "Punctuation makes words different. Use speech.normalised.": [0.1875, 0.75, 0.76, 0.0],
    }
    found = numbers(call(reward, texts, reference_words=[4, 4, 4, 4], label=[1] * 4))
    expect(found, [0.1875, 0.75, 0.75, 0.0], mistakes, "For 1, 4, 7 and 0 different words against 4:")
