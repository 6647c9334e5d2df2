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
            hint = " If you compare word by word, one missing word spoils all that follow: align them first." if found > truth else ""
            raise Wrong(f"{what}: {meant!r} heard as {heard!r} is {truth}, you gave {found:.3g}.{hint}")
    return "jiwer counts the same."


def check_07_2(heard_verdict):
    cases = (
        ("Answer, entailed.", "entailed"), ("So nothing follows. Answer: not entailed.", "not-entailed"), ("Answer not and tailed", "not-entailed"),
        ("answer in tailed", "entailed"), ("It is entailed.", None), ("Answer entailed. Or not.", None), ("", None), ("The details. Answer, detailed.", None),
        ("It is not entailed.", None), ("Answer curtailed.", None),
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
        "Every word counts, not each different one: repetition pays.": [0.75, 0.75, 0.675, 0.0], "The weight of 0.75 is missing.": [0.25, 1.0, 0.7, 0.0],
        "The cap is missing: min(1, …).": [0.1875, 1.5, 0.525, 0.0], "Case or punctuation makes words different. Use speech.normalised.": [0.1875, 0.75, 0.6, 0.0],
    }
    found = numbers(call(reward, texts, reference_words=[4, 2, 10, 4], label=[1] * 4))
    expect(found, [0.1875, 0.75, 0.525, 0.0], mistakes, "For 1, 4, 7 and 0 different words against 4, 2, 10 and 4:")


def check_07_4(reward):
    mistakes = {
        "Seconds are counted however slow: the smaller of T and the time that the words take.": [0.75, 0.75, 0.375, 0.75], "The weight of 0.75 is missing.": [1.0, 0.5, 0.5, 0.0],
        "The cap is missing: min(1, …).": [1.125, 0.375, 0.375, 0.0], "T′ is the smaller of the two, not the words' time alone.": [0.75, 0.375, 0.75, 0.0],
        "A minute has 60 seconds: 100 words a minute are 0.6 s a word.": [0.025, 0.00625, 0.01875, 0.0],
    }
    found = numbers(call(reward, seconds=[18.0, 30.0, 6.0, 9.0], words=[40, 10, 30, 0], reference_seconds=[12.0, 12.0, 12.0, 9.0], label=[1] * 4))
    expect(found, [0.75, 0.375, 0.375, 0.0], mistakes, "For 18, 30, 6 and 9 s with 40, 10, 30 and 0 words against 12, 12, 12 and 9 s:")
