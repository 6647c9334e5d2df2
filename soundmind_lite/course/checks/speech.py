"""Checks of notebook 08: spoken answers."""

import difflib
from collections import Counter

from ..checking import Wrong, call, decided, entries, near, number, refuses


def _word_by_word(reference, transcript):
    pairs = zip(reference.split(), transcript.split())
    return sum(a != b for a, b in pairs) / len(reference.split())


def _in_any_order(reference, transcript):
    words, found = Counter(reference.split()), Counter(transcript.split())
    errors = max((words - found).total(), (found - words).total())
    return errors / len(reference.split())


def _edits(words, found):
    row = list(range(len(found) + 1))
    for i, word in enumerate(words, 1):
        above, row = row, [i]
        for j, other in enumerate(found, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other)))
    return row[-1]


def _per_word_of_the_transcript(reference, transcript):
    words, found = reference.split(), transcript.split()
    return _edits(words, found) / max(1, len(found))


def _by_character(reference, transcript):
    return _edits(reference, transcript) / len(reference)


@refuses(_word_by_word, "one word extra")
@refuses(_in_any_order, "order of the words counts")
@refuses(_per_word_of_the_transcript, "divide by the words of the reference")
@refuses(_by_character, "counts characters")
def check_08_1(my_wer):
    cases = (
        ("all cats are dogs", "all cats are dogs", 0.0, "equal texts"),
        ("all cats are dogs", "all cats or dogs", 0.25, "one word substituted"),
        ("all cats are dogs", "all cats dogs", 0.25, "one word missing"),
        ("all cats are dogs", "all the cats are dogs", 0.25, "one word extra"),
        ("all cats are dogs", "all dogs are cats", 0.5, "two words exchanged"),
        ("answer entailed", "", 1.0, "an empty transcript"),
        ("yes", "no no no", 3.0, "more errors than words"),
        (
            "so all poets are wizards",
            "all poets or wizards now",
            0.6,
            "a shift: one missing, one substituted, one extra",
        ),
    )
    for reference, transcript, expected, description in cases:
        found = number(call(my_wer, reference, transcript))
        if not near(found, expected):
            hint = _hint(reference, transcript, found=found, expected=expected)
            raise Wrong(
                f"{description}: {reference!r} transcribed as {transcript!r} has a WER of "
                f"{expected}, you gave {found:.3g}.{hint}"
            )
    return "jiwer, which the library calls, counts the same."


def _hint(reference, transcript, *, found, expected) -> str:
    if near(found, _by_character(reference, transcript)):
        return " Your function counts characters; split both strings into words."
    if near(found, _per_word_of_the_transcript(reference, transcript)):
        return " The errors are right; divide by the words of the reference, not the transcript."
    if near(found, _in_any_order(reference, transcript)) and found < expected:
        return " The order of the words counts: align the two, don't compare them as sets."
    if found > expected:
        return " Compared word by word, one missing word spoils all that follow: align them first."
    return ""


def _similar(transcript):
    verdicts = {"answer entailed": "entailed", "answer not entailed": "not-entailed"}
    close = difflib.get_close_matches(transcript.lower(), verdicts)
    return verdicts[close[0]] if close else None


@refuses(lambda transcript: "entailed" if "entailed" in transcript else None, "you gave 'entailed'")
@refuses(lambda transcript: "not-entailed" if "not" in transcript else None, "you gave None")
@refuses(_similar, "a likely word is a guess")
def check_08_2(verdict_of):
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
        ("Answer, not entirely.", None),
    )
    wrong = []
    for transcript, expected in cases:
        try:
            found = verdict_of(transcript)
        except AttributeError as error:
            raise Wrong(f"For {transcript!r} it raised: {error}") from error
        if found != expected:
            wrong.append(f"{transcript!r} is {expected!r}, you gave {found!r}.")
    if wrong:
        guess = " Where the words differ, a likely word is a guess, and a guess is no verdict."
        raise Wrong(wrong[0] + (guess if "is None" in wrong[0] else ""))
    return "What isn't said in the required form is no verdict."


FAULTS = {
    "A": (
        "normaliser",
        'both spellings sound the same, so no listener loses anything: "3" is "three".',
    ),
    "B": ("ASR", "a person understands the clip, so the error arose in the transcription."),
    "C": ("voice", "neither ASR nor a person gets the words, so they aren't in the sound."),
    "D": ("model", "nothing was lost on the way; the answer isn't in the form that was asked for."),
}


def _faults(**changed):
    return {letter: fault for letter, (fault, _) in FAULTS.items()} | changed


@refuses(dict.fromkeys("ABCD", "ASR"), "A: it isn't the ASR")
@refuses(_faults(C="ASR"), "C: it isn't the ASR")
@refuses(_faults(B="voice"), "B: it isn't the voice")
@refuses(_faults(D="normaliser"), "D: it isn't the normaliser")
def check_08_3(component):
    entries(component, FAULTS, choices=("voice", "ASR", "normaliser", "model"))
    for letter, (fault, reason) in FAULTS.items():
        if component[letter] != fault:
            raise Wrong(f"{letter}: it isn't the {component[letter]}; {reason}")
    return "Each needs another remedy, and a lower WER shows none of them."


REPORTS = ("text", "transcript", "the higher of the two")
NOT_THE_REPORT = {
    "text": "It would be the same if the voice were silent, so it doesn't measure speech.",
    "the higher of the two": "Choosing after the measurement reports luck.",
}
NOT_THE_REASON = {
    "b": "That is true, and why the WER and the text's accuracy stand beside it; but it speaks for "
    "the text, not for the transcript.",
    "c": "The paper doesn't say how it read its verdicts; equal digits only suggest it.",
    "d": "A figure isn't chosen for its size.",
}


@refuses({"report": "text", "reason": "b"}, "silent")
@refuses({"report": "transcript", "reason": "d"}, "for its size")
@refuses({"report": "the higher of the two", "reason": "d"}, "luck")
@refuses({"report": "transcript", "reason": "c"}, "equal digits")
def check_08_4(decision):
    report, reason = decided(decision, {"report": REPORTS, "reason": "abcd"})
    if report != "transcript":
        raise Wrong(NOT_THE_REPORT[report])
    if reason != "a":
        raise Wrong(f"The figure is right, the reason isn't. {NOT_THE_REASON[reason]}")
    return (
        "Put the text's accuracy, the WER and the ASR's name beside it: the difference is what is "
        "lost between text and speech."
    )
