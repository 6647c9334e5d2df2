"""Spoken syllogisms for the small world: every form, its truth, and a chain of thought for it.

A statement is `(quantifier, subject, predicate)` over the three terms S, M and P, for example
`("A", "S", "M")` for "all S are M"; a form is major premise, minor premise and conclusion. The
label of a form is proved, not written down: `follows` checks every way in which the eight regions
of three overlapping sets can be empty or inhabited, and a conclusion is entailed exactly if no such
world refutes it.
"""

import itertools
import random
from dataclasses import dataclass
from functools import cache

NOUNS = (
    "robins", "birds", "cats", "dogs", "horses", "tigers", "poets", "doctors",
    "farmers", "teachers", "rivers", "mountains", "apples", "lemons", "chairs", "tables",
    "rockets", "planets", "violins", "guitars", "soldiers", "pirates", "wizards", "dragons",
)  # fmt: skip
QUANTIFIERS = {"A": "all", "E": "no", "I": "some"}
# Quantifiers of major premise, minor premise and conclusion.
MOODS = ("AAA", "EAE", "AEE", "AII", "IAI")
ROLES = ("Major premise", "Minor premise", "Conclusion")
TERMS = ("S", "M", "P")
REGIONS = tuple(itertools.product((False, True), repeat=3))  # is a thing in S, in M, in P?

Statement = tuple[str, str, str]
Form = tuple[Statement, Statement, Statement]


def holds(statement: Statement, world: list[tuple[bool, bool, bool]]) -> bool:
    """True if the statement is true in a world, given as the list of its inhabited regions.

    "All" does not claim existence.
    """
    quantifier, subject, predicate = statement
    inside = [region[TERMS.index(predicate)] for region in world if region[TERMS.index(subject)]]
    return {"A": all(inside), "E": not any(inside), "I": any(inside)}[quantifier]


@cache
def follows(form: Form) -> bool:
    """True if the conclusion holds in each of the 256 worlds in which both premises hold."""
    major, minor, conclusion = form
    for inhabited in itertools.product((False, True), repeat=len(REGIONS)):
        world = list(itertools.compress(REGIONS, inhabited))
        if holds(major, world) and holds(minor, world) and not holds(conclusion, world):
            return False
    return True


@cache
def forms(mood: str, label: bool) -> tuple[Form, ...]:
    """The valid (`label`) or invalid forms of a mood; each statement has either order of terms."""
    pairs = (("M", "P"), ("S", "M"), ("S", "P"))
    orders = itertools.product(*((pair, pair[::-1]) for pair in pairs))
    every = (tuple((q, *terms) for q, terms in zip(mood, order)) for order in orders)
    return tuple(form for form in every if follows(form) == label)


@cache
def consequences(major: Statement, minor: Statement) -> tuple[Statement, ...]:
    """Every statement about S and P that follows from the two premises."""
    candidates = ((q, x, y) for q in QUANTIFIERS for x, y in (("S", "P"), ("P", "S")))
    return tuple(c for c in candidates if follows((major, minor, c)))


def in_words(statement: Statement) -> str:
    """A statement about two nouns in words.

    >>> in_words(("A", "cats", "dogs"))
    'all cats are dogs'
    """
    quantifier, subject, predicate = statement
    return f"{QUANTIFIERS[quantifier]} {subject} are {predicate}"


def spoken_sentence(role: str, words: str) -> str:
    """The sentence in which a statement is spoken."""
    return f"{role} is {words}."


@dataclass(frozen=True)
class Problem:
    """One syllogism: a form and the nouns that fill its terms S, M and P."""

    form: Form
    nouns: tuple[str, str, str]

    @property
    def label(self) -> int:
        """1 entailed, 0 not-entailed."""
        return int(follows(self.form))

    @property
    def mood(self) -> str:
        """The quantifiers of the form, for example "AAA"."""
        return "".join(statement[0] for statement in self.form)

    def say(self, statement: Statement, middle: str | None = None) -> str:
        """The statement in words; `middle` replaces the noun of the middle term."""
        words = dict(zip(TERMS, self.nouns))
        if middle:
            words["M"] = middle
        quantifier, subject, predicate = statement
        return in_words((quantifier, words[subject], words[predicate]))

    @property
    def statements(self) -> tuple[str, str, str]:
        """Major premise, minor premise and conclusion in words."""
        return tuple(self.say(statement) for statement in self.form)

    @property
    def question(self) -> str:
        """The question in ALR's wording."""
        return " ".join(f'{role} is "{words}".' for role, words in zip(ROLES, self.statements))

    @property
    def spoken(self) -> list[str]:
        """The three sentences as they are spoken."""
        return [spoken_sentence(role, words) for role, words in zip(ROLES, self.statements)]

    @property
    def restated_sentences(self) -> list[str]:
        """The three sentences as the chain of thought restates them."""
        return [f"{role}: {words}." for role, words in zip(ROLES, self.statements)]

    @property
    def restated(self) -> str:
        """The start of the chain of thought: the question restated."""
        return " ".join(self.restated_sentences)

    @property
    def reasoning(self) -> str:
        """A chain of thought for the verdict: restate, name the middle term, conclude, compare."""
        major, minor, conclusion = self.form
        derived = consequences(major, minor)
        if conclusion in derived:
            result = f"So {self.say(conclusion)}."
        elif derived:
            result = f"So {self.say(derived[0])}."
        else:
            result = "So nothing follows."
        comparison = "matches" if self.label else "does not match"
        return (
            f"{self.restated} "
            f"Let {self.nouns[1]} be it: {self.say(major, 'it')}, {self.say(minor, 'it')}. "
            f"{result} This {comparison} the conclusion."
        )


def problem_of(row: dict) -> Problem:
    """The problem of a row of mini_alr, from its three statements; ValueError if it has none."""
    words = [row[name].split() for name in ("major_premise", "minor_premise", "conclusion")]
    codes = {word: code for code, word in QUANTIFIERS.items()}
    if any(len(w) != 4 or w[0] not in codes or w[2] != "are" for w in words):
        raise ValueError(
            f"row {row['id']}: expected three statements like 'all cats are dogs', "
            f"got {[' '.join(w) for w in words]}"
        )
    major, minor, conclusion = ({w[1], w[3]} for w in words)
    middle = major & minor
    if len(middle) != 1 or (major ^ minor) != conclusion:
        raise ValueError(
            f"row {row['id']}: the premises don't share exactly one term that the conclusion "
            "leaves out"
        )
    terms = {(minor - middle).pop(): "S", middle.pop(): "M", (major - minor).pop(): "P"}
    form = tuple((codes[w[0]], terms[w[1]], terms[w[3]]) for w in words)
    nouns = tuple(sorted(terms, key=lambda noun: TERMS.index(terms[noun])))
    return Problem(form, nouns)


def split_of(nouns: tuple[str, ...]) -> str:
    """The split of a set of three nouns: 10 % of all sets are test and 5 % dev.

    No set of nouns is in two splits, so a test question combines nouns that training never did.
    """
    return _owners()[frozenset(nouns)]


@cache
def _owners() -> dict[frozenset, str]:
    triples = [frozenset(t) for t in itertools.combinations(NOUNS, 3)]
    random.Random(0).shuffle(triples)
    test, dev = len(triples) // 10, len(triples) // 20
    owners = dict.fromkeys(triples, "train")
    owners.update(dict.fromkeys(triples[:test], "test"))
    owners.update(dict.fromkeys(triples[test : test + dev], "dev"))
    return owners


def draw(
    rng: random.Random, split: str = "train", *, mood: str | None = None, label: bool | None = None
) -> Problem:
    """A random problem of a split.

    Without `mood` and `label` both are drawn evenly, so a bag of words doesn't predict the label.
    """
    mood = mood or rng.choice(MOODS)
    label = rng.random() < 0.5 if label is None else label
    while True:
        nouns = tuple(rng.sample(NOUNS, 3))
        if split_of(nouns) == split:
            return Problem(rng.choice(forms(mood, bool(label))), nouns)
