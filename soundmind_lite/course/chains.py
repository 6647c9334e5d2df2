"""Chains of thought of mini_alr, checked step by step, and a reward for valid steps.

A chain has seven steps, each with a form of its own:

    Major premise: all robins are birds.                        major
    Minor premise: all birds are tigers.                        minor
    Conclusion: all robins are tigers.                          conclusion
    Let birds be it: all robins are it, all it are tigers.      middle
    So all robins are tigers.                                   derived
    This matches the conclusion.                                comparison
    Answer: entailed                                            answer

The first five are compared with the question: what it says, and what follows from it. The last two
are compared with the chain's own words. Only the closed thought and the answer line are read; the
order of the steps is not checked, and sentences that are no step are ignored.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

from ..prompts import VERDICTS
from ..rewards import Completion, completion_text, parse_answer, reasoning_of
from ..tiny.syllogisms import QUANTIFIERS, ROLES, Problem, consequences, problem_of

# How the sentence of a step begins
BEGINNINGS = {
    "major": f"{ROLES[0]}: ".lower(),
    "minor": f"{ROLES[1]}: ".lower(),
    "conclusion": f"{ROLES[2]}: ".lower(),
    "middle": "let ",
    "derived": "so ",
    "comparison": "this ",
}
NOTHING = "nothing follows"
COMPARISONS = {"matches the conclusion": True, "does not match the conclusion": False}
SYMMETRIC = (QUANTIFIERS["E"], QUANTIFIERS["I"])  # "no cats are dogs" says "no dogs are cats"
NO_CHAIN, FALSE_STEP, VALID = "no chain", "a false step", "every step valid"


@dataclass(frozen=True)
class Chain:
    """The verdict on each step of a chain, in their order: True if it is valid."""

    major: bool
    minor: bool
    conclusion: bool
    middle: bool
    derived: bool
    comparison: bool
    answer: bool

    @property
    def first_false(self) -> str | None:
        """The name of the first step that isn't valid; None if all are."""
        return next((name for name in STEPS if not getattr(self, name)), None)

    @property
    def share(self) -> float:
        """The share of valid steps, 0 to 1."""
        return sum(astuple(self)) / len(STEPS)


STEPS = tuple(field.name for field in fields(Chain))


def sentences_of(completion: str) -> dict[str, str]:
    """What the closed thought says at each step, without the beginning; in lower case.

    A step that isn't there, or is there twice, is left out.

    >>> sentences_of("<think>So all cats are dogs. This matches the conclusion.</think>")
    {'derived': 'all cats are dogs', 'comparison': 'matches the conclusion'}
    """
    found: dict[str, list[str]] = {}
    for sentence in reasoning_of(completion).lower().split("."):
        words = " ".join(sentence.split())
        for step, beginning in BEGINNINGS.items():
            if words.startswith(beginning):
                found.setdefault(step, []).append(words.removeprefix(beginning))
    return {step: said[0] for step, said in found.items() if len(said) == 1}


def check(row: dict, completion: str) -> Chain:
    """The verdict on each step of a completion, for a row of mini_alr; takes linear time.

    Never raises on a completion; ValueError for a row that isn't a syllogism. In mini_alr a chain
    whose steps are all valid ends with the right answer.
    """
    problem = problem_of(row)
    said = sentences_of(completion)
    restated = dict(zip(("major", "minor", "conclusion"), problem.statements))
    major, minor, _ = (problem.say(statement, "it") for statement in problem.form)
    claim = COMPARISONS.get(said.get("comparison"))
    answer = parse_answer(completion)
    return Chain(
        **{name: said.get(name) == statement for name, statement in restated.items()},
        middle=said.get("middle") == f"{problem.nouns[1]} be it: {major}, {minor}",
        derived=follows_from(problem, said.get("derived")),
        comparison=claim is not None and claim == same(said.get("derived"), said.get("conclusion")),
        answer=claim is not None and answer == VERDICTS[int(claim)],
    )


def follows_from(problem: Problem, derived: str | None) -> bool:
    """Does a sentence about the conclusion's two nouns follow from the premises?

    "nothing follows" is valid if no such sentence does.
    """
    proved = consequences(*problem.form[:2])
    if derived == NOTHING:
        return not proved
    return derived in [problem.say(statement) for statement in proved]


def same(derived: str | None, conclusion: str | None) -> bool | None:
    """Do two statements say the same? False for "nothing follows", None if one can't be read.

    >>> same("no cats are dogs", "no dogs are cats"), same("all cats are dogs", "all dogs are cats")
    (True, False)
    """
    first, second = read_statement(derived), read_statement(conclusion)
    if second is None or (first is None and derived != NOTHING):
        return None
    if first is None:
        return False
    quantifier, subject, predicate = first
    converse = (quantifier, predicate, subject)
    return first == second or (quantifier in SYMMETRIC and converse == second)


def read_statement(text: str | None) -> tuple[str, str, str] | None:
    """("all", "cats", "dogs") of "all cats are dogs"; None for any other text."""
    words = (text or "").split()
    if len(words) != 4 or words[0] not in QUANTIFIERS.values() or words[2] != "are":
        return None
    return words[0], words[1], words[3]


def kind(row: dict, completion: str) -> str:
    """One of NO_CHAIN (there is no closed thought), FALSE_STEP and VALID."""
    if not reasoning_of(completion).strip():
        return NO_CHAIN
    return FALSE_STEP if check(row, completion).first_false else VALID


def kinds(rows: Iterable[dict], answers: Iterable[dict]) -> Counter:
    """How many answers are (right, kind of chain); `answers` as a run's `after.json` holds them."""
    pairs = zip(rows, answers, strict=True)
    return Counter((bool(a["correct"]), kind(row, a["completion"])) for row, a in pairs)


def valid_steps_reward(
    completions: list[Completion],
    major_premise: list[str],
    minor_premise: list[str],
    conclusion: list[str],
    **_,
) -> list[float]:
    """The share of a chain's seven steps that are valid, in TRL's form.

    Never raises on a completion; ValueError for a row that isn't a syllogism of mini_alr.

    >>> text = "<think>Major premise: all cats are dogs.</think>"
    >>> columns = [["all cats are dogs"], ["all dogs are birds"], ["all cats are birds"]]
    >>> [round(reward, 2) for reward in valid_steps_reward([text], *columns)]
    [0.14]
    """
    names = ("id", "major_premise", "minor_premise", "conclusion")
    numbers = [f"{i} of the batch" for i in range(len(completions))]
    columns = zip(numbers, major_premise, minor_premise, conclusion, strict=True)
    rows = [dict(zip(names, values)) for values in columns]
    texts = [completion_text(completion) for completion in completions]
    return [check(row, text).share for row, text in zip(rows, texts)]
