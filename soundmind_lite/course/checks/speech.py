"""Checks of notebook 08: speech."""

from ..checking import Wrong, call, expect, near, number, numbers, refuses


def _word_by_word(meant, heard):
    pairs = zip(meant.split(), heard.split())
    return sum(a != b for a, b in pairs) / len(meant.split())


@refuses(_word_by_word, "one word extra")
def check_08_1(my_wer):
    cases = (
        ("all cats are dogs", "all cats are dogs", 0.0, "equal texts"),
        ("all cats are dogs", "all cats or dogs", 0.25, "one word substituted"),
        ("all cats are dogs", "all cats dogs", 0.25, "one word missing"),
        ("all cats are dogs", "all the cats are dogs", 0.25, "one word extra"),
        ("answer entailed", "", 1.0, "an empty transcript"),
        ("yes", "no no no", 3.0, "more errors than words"),
        (
            "so all poets are wizards",
            "all poets or wizards now",
            0.6,
            "a shift: one missing, one substituted, one extra",
        ),
    )
    for meant, heard, expected, description in cases:
        found = number(call(my_wer, meant, heard))
        if near(found, expected):
            continue
        diagnosis = (
            f"{description}: {meant!r} transcribed as {heard!r} has a WER of {expected}, "
            f"you gave {found:.3g}."
        )
        if found > expected:
            diagnosis += (
                " If you compare word by word, one missing word spoils all that follow: "
                "align them first."
            )
        raise Wrong(diagnosis)
    return "jiwer counts the same."


@refuses(lambda transcript: "entailed" if "entailed" in transcript else None, "you gave 'entailed'")
@refuses(lambda transcript: "not-entailed" if "not" in transcript else None, "you gave None")
def check_08_2(heard_verdict):
    cases = (
        ("Answer, entailed.", "entailed"),
        ("So nothing follows. Answer: not entailed.", "not-entailed"),
        ("Answer not and tailed", "not-entailed"),
        ("answer in tailed", "entailed"),
        ("It is entailed.", None),
        ("Answer entailed. Or not.", None),
        ("", None),
        ("The details. Answer, detailed.", None),
        ("It is not entailed.", None),
        ("Answer curtailed.", None),
    )
    for transcript, expected in cases:
        try:
            found = heard_verdict(transcript)
        except AttributeError as error:
            raise Wrong(f"For {transcript!r} it raised: {error}") from error
        if found != expected:
            raise Wrong(f"{transcript!r} is {expected!r}, you gave {found!r}.")


def _counts_every_word(transcripts, reference_words, **_):
    pairs = zip(transcripts, reference_words)
    return [0.75 * min(1, len(t.split()) / reference) for t, reference in pairs]


def _counts_spellings(transcripts, reference_words, **_):
    pairs = zip(transcripts, reference_words)
    return [0.75 * min(1, len(set(t.split())) / reference) for t, reference in pairs]


@refuses(_counts_every_word, "repetition pays")
@refuses(_counts_spellings, "Use speech.normalised")
def check_08_3(reward):
    texts = [
        "so so so so so so",
        "all poets are robins",
        "All poets. All poets! are robins; some wizards too",
        "",
    ]
    mistakes = {
        "Every word counts, not each different one: repetition pays.": [0.75, 0.75, 0.675, 0.0],
        "The weight of 0.75 is missing.": [0.25, 1.0, 0.7, 0.0],
        "The cap is missing: min(1, …).": [0.1875, 1.5, 0.525, 0.0],
        "Case or punctuation makes words different. Use speech.normalised.": (
            [0.1875, 0.75, 0.6, 0.0]
        ),
    }
    expect(
        numbers(call(reward, texts, reference_words=[4, 2, 10, 4], label=[1] * 4)),
        [0.1875, 0.75, 0.525, 0.0],
        mistakes=mistakes,
        otherwise="For 1, 4, 7 and 0 different words against 4, 2, 10 and 4:",
    )


def _counts_slow_speech(seconds, reference_seconds, **_):
    pairs = zip(seconds, reference_seconds)
    return [0.75 * min(1, spoken / reference) for spoken, reference in pairs]


def _counts_words_alone(words, reference_seconds, **_):
    pairs = zip(words, reference_seconds)
    return [0.75 * min(1, 0.6 * count / reference) for count, reference in pairs]


@refuses(_counts_slow_speech, "however slow")
@refuses(_counts_words_alone, "not the words' time alone")
def check_08_4(reward):
    mistakes = {
        "Seconds count however slow the speech: take the smaller of T and the time that the "
        "words take.": [0.75, 0.75, 0.375, 0.75],
        "The weight of 0.75 is missing.": [1.0, 0.5, 0.5, 0.0],
        "The cap is missing: min(1, …).": [1.125, 0.375, 0.375, 0.0],
        "T′ is the smaller of the two, not the words' time alone.": [0.75, 0.375, 0.75, 0.0],
        "A minute has 60 seconds: at 100 words a minute a word takes 0.6 s.": (
            [0.025, 0.00625, 0.01875, 0.0]
        ),
    }
    spoken = {
        "seconds": [18.0, 30.0, 6.0, 9.0],
        "words": [40, 10, 30, 0],
        "reference_seconds": [12.0, 12.0, 12.0, 9.0],
    }
    expect(
        numbers(call(reward, **spoken, label=[1] * 4)),
        [0.75, 0.375, 0.375, 0.0],
        mistakes=mistakes,
        otherwise="For 18, 30, 6 and 9 s with 40, 10, 30 and 0 words against 12, 12, 12 and 9 s:",
    )
