"""Spoken syllogisms for the small world: every form, its truth, and a chain of thought that derives it.

A statement is `(quantifier, subject, predicate)` over the three terms S, M and P, for example `("A", "S", "M")` for "all S are M".
The label of a form is proved, not written down: `follows` looks at every way in which the eight regions of three
overlapping sets can be empty or inhabited, so a conclusion is entailed exactly if no such world refutes it.
"""
import itertools
import random
from dataclasses import dataclass
from functools import cache

NOUNS = (
    "robins", "birds", "cats", "dogs", "horses", "tigers", "poets", "doctors", "farmers", "teachers", "rivers", "mountains",
    "apples", "lemons", "chairs", "tables", "rockets", "planets", "violins", "guitars", "soldiers", "pirates", "wizards", "dragons",
)
QUANTIFIERS = {"A": "all", "E": "no", "I": "some"}
MOODS = ("AAA", "EAE", "AEE", "AII", "IAI")  # quantifiers of major premise, minor premise and conclusion
ROLES = ("Major premise", "Minor premise", "Conclusion")
TERMS = ("S", "M", "P")
REGIONS = tuple(itertools.product((False, True), repeat=3))  # is a thing in S, in M, in P?

Statement = tuple[str, str, str]


def holds(statement: Statement, world: list[tuple[bool, bool, bool]]) -> bool:
    """Is the statement true in a world, given as the list of its inhabited regions? "All" does not claim existence."""
    quantifier, subject, predicate = statement
    inside = [region[TERMS.index(predicate)] for region in world if region[TERMS.index(subject)]]
    return {"A": all(inside), "E": not any(inside), "I": any(inside)}[quantifier]


@cache
def follows(major: Statement, minor: Statement, conclusion: Statement) -> bool:
    """True if the conclusion holds in every one of the 256 worlds in which both premises hold."""
    worlds = ([r for i, r in enumerate(REGIONS) if bits >> i & 1] for bits in range(2 ** len(REGIONS)))
    return all(holds(conclusion, w) for w in worlds if holds(major, w) and holds(minor, w))


@cache
def forms(mood: str, label: bool) -> tuple[tuple[Statement, Statement, Statement], ...]:
    """All forms of a mood (each statement in both orders of its terms) that are valid (`label`) or invalid."""
    orders = itertools.product((("M", "P"), ("P", "M")), (("S", "M"), ("M", "S")), (("S", "P"), ("P", "S")))
    every = (tuple((q, *terms) for q, terms in zip(mood, order)) for order in orders)
    return tuple(form for form in every if follows(*form) == label)


@cache
def consequences(major: Statement, minor: Statement) -> tuple[Statement, ...]:
    """Every statement about S and P that follows from the two premises."""
    candidates = ((q, x, y) for q in QUANTIFIERS for x, y in (("S", "P"), ("P", "S")))
    return tuple(c for c in candidates if follows(major, minor, c))


def in_words(quantifier: str, subject: str, predicate: str) -> str:
    """A statement about two nouns in words, for example "all cats are dogs"."""
    return f"{QUANTIFIERS[quantifier]} {subject} are {predicate}"


def spoken_sentence(role: str, words: str) -> str:
    """The sentence in which a statement is spoken."""
    return f"{role} is {words}."


@dataclass(frozen=True)
class Problem:
    """One syllogism: a form and the nouns that fill its terms S, M and P."""

    form: tuple[Statement, Statement, Statement]
    nouns: tuple[str, str, str]

    @property
    def label(self) -> int:
        """1 entailed, 0 not-entailed."""
        return int(follows(*self.form))

    @property
    def mood(self) -> str:
        return "".join(statement[0] for statement in self.form)

    def say(self, statement: Statement, middle: str | None = None) -> str:
        """The statement in words; `middle` replaces the noun of the middle term."""
        words = dict(zip(TERMS, self.nouns))
        if middle:
            words["M"] = middle
        quantifier, subject, predicate = statement
        return in_words(quantifier, words[subject], words[predicate])

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
        """The three sentences as the chain of thought writes them down."""
        return [f"{role}: {words}." for role, words in zip(ROLES, self.statements)]

    @property
    def restated(self) -> str:
        """What was heard, as the chain of thought writes it down first."""
        return " ".join(self.restated_sentences)

    @property
    def reasoning(self) -> str:
        """A chain of thought that derives the verdict: restate, name the middle term, conclude, compare."""
        major, minor, conclusion = self.form
        derived = consequences(major, minor)
        stated = conclusion if conclusion in derived else derived[0] if derived else None
        return " ".join((
            self.restated,
            f"Let {self.nouns[1]} be it: {self.say(major, 'it')}, {self.say(minor, 'it')}.",
            f"So {self.say(stated)}." if stated else "So nothing follows.",
            "This matches the conclusion." if self.label else "This does not match the conclusion.",
        ))


def problem_of(row: dict) -> Problem:
    """The problem that a row of mini_alr asks, from its three statements; ValueError if they are no syllogism."""
    words = [row[name].split() for name in ("major_premise", "minor_premise", "conclusion")]
    codes = {word: code for code, word in QUANTIFIERS.items()}
    if any(len(w) != 4 or w[0] not in codes or w[2] != "are" for w in words):
        raise ValueError(f"row {row['id']}: expected three statements like 'all cats are dogs', got {[' '.join(w) for w in words]}")
    major, minor, conclusion = ({w[1], w[3]} for w in words)
    middle = major & minor
    if len(middle) != 1 or (major ^ minor) != conclusion:
        raise ValueError(f"row {row['id']}: the premises don't share exactly one term that the conclusion leaves out")
    terms = {(minor - middle).pop(): "S", middle.pop(): "M", (major - minor).pop(): "P"}
    form = tuple((codes[w[0]], terms[w[1]], terms[w[3]]) for w in words)
    return Problem(form, tuple(sorted(terms, key=lambda noun: TERMS.index(terms[noun]))))


def split_of(nouns: tuple[str, ...]) -> str:
    """The split that owns a set of three nouns: 10 % of all sets are test, 5 % dev, so that test nouns meet for the first time."""
    return _owners()[frozenset(nouns)]


@cache
def _owners() -> dict[frozenset, str]:
    triples = [frozenset(t) for t in itertools.combinations(NOUNS, 3)]
    random.Random(0).shuffle(triples)
    tenth, twentieth = len(triples) // 10, len(triples) // 20
    return {t: "test" if i < tenth else "dev" if i < tenth + twentieth else "train" for i, t in enumerate(triples)}


def draw(rng: random.Random, split: str = "train", mood: str | None = None, label: bool | None = None) -> Problem:
    """A random problem of a split; without `mood` and `label` both are drawn evenly, so the bag of words tells nothing."""
    mood = mood or rng.choice(MOODS)
    label = rng.random() < 0.5 if label is None else label
    while True:
        nouns = tuple(rng.sample(NOUNS, 3))
        if split_of(nouns) == split:
            return Problem(rng.choice(forms(mood, bool(label))), nouns)
