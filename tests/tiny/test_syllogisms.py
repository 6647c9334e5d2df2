"""The logic of the small world, against textbooks and a second definition of "follows"."""

import itertools
import random

import pytest

from soundmind_lite.tiny import syllogisms
from soundmind_lite.tiny.syllogisms import (
    MOODS,
    Problem,
    consequences,
    draw,
    follows,
    forms,
    holds,
    split_of,
)

ALL_FORMS = [form for mood in MOODS for label in (True, False) for form in forms(mood, label)]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("AMP ASM ASP", id="Barbara"),
        pytest.param("EMP ASM ESP", id="Celarent"),
        pytest.param("EPM ASM ESP", id="Cesare"),
        pytest.param("APM ESM ESP", id="Camestres"),
        pytest.param("AMP ISM ISP", id="Darii"),
        pytest.param("IMP AMS ISP", id="Disamis"),
    ],
)
def test_textbook_forms_are_valid(form):
    assert follows(tuple(tuple(statement) for statement in form.split()))


def test_darapti_needs_existence_and_is_not_entailed():
    assert not follows((tuple("AMP"), tuple("AMS"), tuple("ISP")))


def true(statement, sets):
    quantifier, x, y = statement
    pairs = list(zip(sets[x], sets[y]))
    if quantifier == "A":
        return not any(a and not b for a, b in pairs)
    return any(a and b for a, b in pairs) == (quantifier == "I")


def counterexample(form, size):
    """A world of `size` things in which the premises hold and the conclusion does not, or None."""
    subsets = list(itertools.product((0, 1), repeat=size))
    for s, m, p in itertools.product(subsets, repeat=3):
        sets = {"S": s, "M": m, "P": p}
        if true(form[0], sets) and true(form[1], sets) and not true(form[2], sets):
            return sets
    return None


@pytest.mark.parametrize("form", ALL_FORMS, ids=lambda f: " ".join("".join(s) for s in f))
def test_labels_agree_with_finite_models(form):
    refuted = any(counterexample(form, size) for size in (1, 2, 3))
    assert follows(form) == (not refuted)


def test_every_mood_has_eight_forms_and_both_labels():
    for mood in MOODS:
        assert len(forms(mood, True)) + len(forms(mood, False)) == 8
        assert forms(mood, True)
        assert forms(mood, False)


def test_nothing_follows_means_nothing():
    """If the chain says that nothing follows, not even "some … are not …" may follow."""
    regions = syllogisms.REGIONS
    worlds = [[r for i, r in enumerate(regions) if bits >> i & 1] for bits in range(256)]
    for major, minor, _ in ALL_FORMS:
        if not consequences(major, minor):
            premises = [w for w in worlds if holds(major, w) and holds(minor, w)]
            for x, y in (("S", "P"), ("P", "S")):
                assert not all(not holds(("A", x, y), w) for w in premises)


def test_the_chain_of_thought_is_sound():
    for form in ALL_FORMS:
        problem = Problem(form, ("cats", "dogs", "birds"))
        said = problem.reasoning
        assert all(words in said for words in problem.statements)
        derived = [problem.say(c) for c in consequences(form[0], form[1])]
        assert any(f"So {words}." in said for words in derived) == bool(derived)
        assert ("nothing follows" in said) == (not derived)
        assert said.endswith("This matches the conclusion.") == bool(problem.label)


def test_splits_share_no_set_of_nouns():
    rng = random.Random(3)
    seen = {}
    for split in ("train", "dev", "test"):
        seen[split] = {frozenset(draw(rng, split).nouns) for _ in range(200)}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["dev"]
    assert not seen["dev"] & seen["test"]
    assert split_of(("cats", "dogs", "birds")) == split_of(("birds", "cats", "dogs"))
