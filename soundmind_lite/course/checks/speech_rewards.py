"""Checks of notebook 09: rewards for speech."""

from ... import speech
from ...speech import spoken
from ..checking import Wrong, call, decided, entries, near, numbers, refuses

REFERENCE_SECONDS, FEW_WORDS = 6.0, 4
REASONED = (
    "<think>All poets are robins. All robins are wizards. So every poet is a robin, each robin is "
    "a wizard, and it follows that all poets are wizards.</think>\nAnswer: entailed"
)


@refuses("Answer: entailed", "no more than")
@refuses(REASONED, "different words")
@refuses("魔法" * 30, "can't speak")
@refuses("<think>" + "so " * 700 + "</think>", "can't speak")
def check_09_1(completion):
    if not isinstance(completion, str):
        raise Wrong("A completion is a string: write the text that the policy would sample.")
    found = spoken.CASCADE([completion])[0]
    if found is None:
        raise Wrong(
            "The voice can't speak this, so it earns nothing: it needs English words, and at most "
            f"{spoken.MAX_WORDS} of them."
        )
    if found.seconds < REFERENCE_SECONDS:
        earned = 0.75 * found.seconds / REFERENCE_SECONDS
        raise Wrong(
            f"It has {found.seconds:.1f} s of detected speech and earns no more than {earned:.2f}; "
            f"{REFERENCE_SECONDS:.0f} s are needed."
        )
    words = speech.normalised(found.said).split()
    if len(set(words)) > FEW_WORDS:
        raise Wrong(
            f"It earns the complete 0.75, but with {len(set(words))} different words; at most "
            f"{FEW_WORDS} are allowed."
        )
    plural = "word" if len(set(words)) == 1 else "different words"
    return f"{len(set(words))} {plural}, {found.seconds:.1f} s of speech, 0.75 earned."


PAID = {"with a thought": 49 / 80, "without": 1.0}
NOT_THE_REASON = {
    "a": "λ2 pays 0.5 for either form; nothing in it counts words.",
    "c": "λ2 doesn't read the label: a wrong verdict in the right form is paid.",
    "d": "The KL term pulls towards the model before training, which does reason in 13 of its 32 "
    "first completions.",
}


@refuses({"with a thought": 80 / 480, "without": 400 / 480, "why": "b"}, "all completions")
@refuses({"with a thought": 49 / 480, "without": 400 / 480, "why": "b"}, "all completions")
@refuses({"with a thought": 49 / 80, "without": 1.0, "why": "a"}, "nothing in it counts words")
@refuses({"with a thought": 49 / 80, "without": 1.0, "why": "c"}, "doesn't read the label")
@refuses({"with a thought": 76 / 80, "without": 1.0, "why": "b"}, "the text ends in an answer")
def check_09_2(answer):
    entries(answer, (*PAID, "why"))
    entries({"why": answer["why"]}, ("why",), choices="abcd")
    found, expected = numbers(answer[key] for key in PAID), list(PAID.values())
    if not near(found, expected, tolerance=0.006):
        raise Wrong(_miscount(found))
    if answer["why"] != "b":
        raise Wrong(f"The shares are right, the reason isn't. {NOT_THE_REASON[answer['why']]}")
    return (
        "In 27 of the 31 unpaid ones the text ends in an answer and the transcript doesn't: the "
        "ASR model's errors decide what the policy learns."
    )


def _miscount(found: list[float]) -> str:
    thoughts = found[0]
    if near(thoughts, 80 / 480) or near(thoughts, 49 / 480):
        return "These are shares of all completions; divide by the number of their own kind."
    if near(thoughts, 76 / 80, tolerance=0.006):
        return "You counted where the text ends in an answer; λ2 pays by the transcript."
    if max(found) > 1:
        return "A share lies between 0 and 1: paid ones, divided by all of that kind."
    return (
        'Count the completions of all 15 steps that hold "<think>", and among them those with a '
        f"reward above 0; then the others. You gave {found[0]:.3g} and {found[1]:.3g}."
    )


THOUGHT = (
    "All pirates are doctors. Some soldiers are pirates, and these soldiers must be doctors too. "
    "So it follows that some soldiers are doctors. This matches the conclusion. Answer entailed."
)
ENTAILED = "So yes it follows. Answer entailed."
# (name, transcript, seconds of speech); the reference is 15 s
SPOKEN = (
    ("the answer with a thought", THOUGHT, 11.0),
    ("its first half", " ".join(THOUGHT.split()[:14]), 5.5),
    ("six words, spoken slowly", ENTAILED, 15.0),
    ('"so" sixty times', "so " * 60, 15.0),
    ("one sentence ten times", "All cats are dogs. " * 10, 15.0),
    ("noise in which speech is detected", "", 15.0),
    ("silence", "", 0.0),
    ("ten thoughts, one after another", f"{THOUGHT} Now some apples fly high. " * 10, 120.0),
)


def _lambda_5(transcripts, seconds, reference_seconds, **_):
    pairs = zip(seconds, reference_seconds)
    return [0.75 * min(1, spoken / reference) for spoken, reference in pairs]


def _paced(transcripts, seconds, reference_seconds, **_):
    counted = [min(s, 0.6 * len(t.split())) for t, s in zip(transcripts, seconds)]
    return _lambda_5(transcripts, counted, reference_seconds)


def _variety(transcripts, **_):
    words = [speech.normalised(transcript).split() for transcript in transcripts]
    return [0.75 * len(set(found)) / max(1, len(found)) for found in words]


def _uncapped(transcripts, seconds, reference_seconds, **_):
    distinct = [len(set(speech.normalised(t).split())) for t in transcripts]
    return [0.75 * 1.2 * n / reference for n, reference in zip(distinct, reference_seconds)]


def _nothing(transcripts, **_):
    return [0.0] * len(transcripts)


@refuses(_lambda_5, "spoken slowly")
@refuses(_paced, "sixty times")
@refuses(_variety, "six words")
@refuses(_uncapped, "0.75 is the most")
@refuses(_nothing, "too little")
def check_09_3(reward):
    names, transcripts, seconds = zip(*SPOKEN)
    references = [15.0] * len(SPOKEN)
    earned = numbers(
        call(reward, list(transcripts), seconds=list(seconds), reference_seconds=references)
    )
    if len(earned) != len(names):
        raise Wrong(f"Expected a reward for each of {len(names)} transcripts, got {len(earned)}.")
    paid = dict(zip(names, earned))
    for name, value in paid.items():
        if not -1e-6 <= value <= 0.75 + 1e-6:
            raise Wrong(f"{name} earns {value:.3g}; 0.75 is the most, 0 the least.")
    honest, half, *fooled = names[:-1]
    if paid[honest] < 0.3:
        raise Wrong(f"{honest} earns {paid[honest]:.2f}, too little: an honest answer must pay.")
    if not 0.05 <= paid[half] < paid[honest]:
        raise Wrong(
            f"{half} must earn less than {honest}, but something; it earns {paid[half]:.2f}."
        )
    for name in fooled:
        if paid[name] > 0.5 * paid[honest]:
            raise Wrong(
                f"{name} earns {paid[name]:.2f}, {honest} {paid[honest]:.2f}: half of that is the "
                "most it may earn."
            )
    return "A list of different words would still earn it; only the answer reward reads the label."


DECISIONS = {
    ("text", "a"): (
        "And measure by the transcript. With a talker, whose speech isn't fixed by the text, you "
        "would decide again."
    ),
    ("all five", "d"): (
        "Defensible as a repetition: then say what a step costs, and that part of the audio "
        "terms' variance is the ASR model's."
    ),
}
NOT_THE_REWARDS = {
    "audio": "You have seen what each teaches alone: no reasoning, or a ramble. Neither reads "
    "the label.",
    "all five": "With a fixed voice the two audio terms follow the text, and a step takes several "
    "times as long; only a repetition of the paper's sum would need them.",
}
WHY_NOT = {
    "b": "A spoken answer is measured by its transcript, whatever the rewards of the training.",
    "c": "More terms are more signal only if they differ; here the seconds follow the words.",
    "d": "The paper's sum has all five.",
}


@refuses({"rewards": "audio", "reason": "b"}, "a ramble")
@refuses({"rewards": "all five", "reason": "c"}, "follow the text")
@refuses({"rewards": "text", "reason": "d"}, "sum has all five")
@refuses({"rewards": "text", "reason": "c"}, "only if they differ")
def check_09_4(decision):
    chosen = decided(decision, {"rewards": ("text", "audio", "all five"), "reason": "abcd"})
    if chosen in DECISIONS:
        return DECISIONS[chosen]
    if chosen[0] in NOT_THE_REWARDS:
        raise Wrong(NOT_THE_REWARDS[chosen[0]])
    raise Wrong(f"The rewards are well chosen, the reason isn't. {WHY_NOT[chosen[1]]}")
