"""Checks of notebook 07: chains of thought, their steps, and a reward for valid ones."""

from ...tiny import syllogisms
from .. import chains
from ..checking import Wrong, call, entries, refuses, text

NONE = "none"
FIRST_FALSE = {"A": "minor", "B": "derived", "C": "comparison", "D": NONE}
READING = {  # what to look at, for each wrong answer that is likely, and for all others
    ("A", NONE): "A: the verdict is right, and one premise isn't the question's.",
    ("A", "middle"): "A: the premises do share rockets in the question. Read both again.",
    ("A", "derived"): "A: nothing follows from the question either. An earlier step is false.",
    ("B", "comparison"): 'B: "This matches" is false, too, but the sentence before it already is.',
    ("B", NONE): "B: read the sentence with So. Is it about the conclusion's two nouns?",
    ("C", "derived"): "C: what it derives does follow. Is it what the conclusion says?",
    ("C", "answer"): "C: the answer is what the sentence before it says. Is that one true?",
    ("C", NONE): 'C: does "all X are Y" say "all Y are X"?',
    ("D", "derived"): "D: can you draw three circles in which both premises hold and this doesn't? "
    "A chain may be right to say that nothing follows.",
}


@refuses({"A": "none", "B": "derived", "C": "comparison", "D": "none"}, "isn't the question's")
@refuses({"A": "minor", "B": "comparison", "C": "comparison", "D": "none"}, "already is")
@refuses({"A": "minor", "B": "derived", "C": "answer", "D": "none"}, "Is that one true?")
@refuses({"A": "minor", "B": "derived", "C": "comparison", "D": "derived"}, "nothing follows")
def check_07_1(first_false):
    entries(first_false, FIRST_FALSE, choices=(*chains.STEPS, NONE))
    for name, expected in FIRST_FALSE.items():
        found = first_false[name]
        if found != expected:
            otherwise = f"{name}: {found} is not the first false step. Compare each with the last."
            raise Wrong(READING.get((name, found), otherwise))
    return "A and B have right answers all the same: the answer reward pays 2.0 for each."


def _says_conclusion(problem, derived):
    return derived == problem.statements[2]


def _either_order(problem, derived):
    """Takes the converse of each statement that follows, too."""
    _, subject, _, object_ = (derived.split() + [""] * 4)[:4]
    turned = derived.replace(subject, "?").replace(object_, subject).replace("?", object_)
    return chains.follows_from(problem, derived) or chains.follows_from(problem, turned)


def _without_nothing(problem, derived):
    return derived != chains.NOTHING and chains.follows_from(problem, derived)


def _nothing_is_safe(problem, derived):
    return derived == chains.NOTHING or chains.follows_from(problem, derived)


def _problem(*form: str) -> syllogisms.Problem:
    return syllogisms.Problem(tuple(map(tuple, form)), ("robins", "birds", "tigers"))


STEP_CASES = (
    (_problem("AMP", "ASM", "ASP"), "all robins are tigers", True, "it follows"),
    (
        _problem("AMP", "ASM", "APS"),
        "all robins are tigers",
        True,
        "it follows, though it isn't the conclusion: that is the next step's business",
    ),
    (
        _problem("AMP", "ASM", "ASP"),
        "all tigers are robins",
        False,
        "its converse follows, but 'all' can't be turned round",
    ),
    (_problem("EMP", "ASM", "ESP"), "no tigers are robins", True, "a 'no' can be turned round"),
    (
        _problem("APM", "ASM", "ASP"),
        "nothing follows",
        True,
        "tigers and robins are birds, which says nothing of tigers and robins",
    ),
    (_problem("AMP", "ASM", "APS"), "nothing follows", False, "all robins are tigers does follow"),
    (
        _problem("AMP", "ASM", "ASP"),
        "all robins are birds",
        False,
        "it only repeats a premise; a derived statement is about robins and tigers",
    ),
    (_problem("AMP", "ASM", "ASP"), "some dragons are chairs", False, "no premise names these"),
    (_problem("AMP", "ASM", "ASP"), "hm", False, "this is no statement"),
)


@refuses(_says_conclusion, "the next step's business")
@refuses(_either_order, "'all' can't be turned round")
@refuses(_without_nothing, "which says nothing of")
@refuses(_nothing_is_safe, "does follow")
@refuses(lambda problem, derived: True, "'all' can't be turned round")
def check_07_2(derived_is_valid):
    for problem, derived, expected, reason in STEP_CASES:
        if bool(call(derived_is_valid, problem, derived)) != expected:
            premises = ", ".join(problem.statements[:2])
            raise Wrong(f'{premises}; "So {derived}": {reason}. Your function says {not expected}.')
    return "The library's step, chains.follows_from, decides the same."


CHANGED = {"right answers": 0, "valid chains": 2}  # seeds in which the paired test finds a change


@refuses({"right answers": 2, "valid chains": 2}, "was paid before")
@refuses({"right answers": 0, "valid chains": 3}, "only 14 false chains")
@refuses({"right answers": 0, "valid chains": 0}, "pays for each valid step")
@refuses({"right answers": 3, "valid chains": 3}, "in no seed")
def check_07_3(prediction):
    entries(prediction, CHANGED, choices=range(4))
    answers, chains_ = (prediction[name] for name in CHANGED)
    if answers != CHANGED["right answers"]:
        raise Wrong(
            "Right answers: in no seed. The answer was paid before, with 2.0, and paying for the "
            "chain beside it adds little. (There are 1, 7 and 11 more, all within chance.)"
        )
    if chains_ == 3:
        raise Wrong(
            "Valid chains: seed 0 had only 14 false chains among its right answers, most "
            "of them with the question restated wrongly. How many seeds are left?"
        )
    if chains_ != CHANGED["valid chains"]:
        raise Wrong(
            "Valid chains: more than that. Among completions that are all right, the new reward "
            "pays for each valid step, so groups that had no gradient get one."
        )
    return "A reward changes what it pays for, if there is something to change."


DECISIONS = {
    "A": "valid_steps_reward reads mini_alr's seven sentences. On a row of ALR it raises "
    "ValueError: nothing there is proved.",
    "B": "A judge that is a reward can't be the measure, too: the policy learns what pleases it, "
    "and accuracy doesn't see the difference. What do you know of false chains so far?",
    "D": "Longer chains have more places for a false step, and the length reward counts words, "
    "whatever they say.",
}


@refuses("A", "raises ValueError")
@refuses("B", "can't be the measure")
@refuses("D", "counts words")
def check_07_4(choice):
    letter = text(choice).strip().upper()
    if letter in DECISIONS:
        raise Wrong(DECISIONS[letter])
    if letter != "C":
        raise Wrong('Choose one of "A", "B", "C" and "D".')
    return (
        "Measure before you pay. 100 answers read blind give the share to within 10 points, and a "
        "measure that wasn't rewarded stays a measure."
    )
