"""The checks of the exercises: what they say of stubs, of typical mistakes, and of anything at all. (Right solutions are the solution notebooks.)"""
import re

import pytest
import torch

from soundmind_lite import rewards
from soundmind_lite.course import exercises
from soundmind_lite.course.checking import outcome

CHECKS = {name.removeprefix("check_").replace("_", "."): function for name, function in exercises.CHECKS.items()}


def stub(*_, **__):
    raise NotImplementedError


def groups(rewards, size):
    return rewards.view(-1, size)


OWN = dict(
    id="x", user_content='Major premise is "all a are b". Minor premise is "all b are c". Conclusion is "all a are c".', answer="So.\n\nAnswer: entailed.", label=1
)
MISTAKES = [
    ("00.1", "not-entailed", "Take both premises as true"), ("00.1", "yes", "Write 'entailed' or 'not-entailed'"), ("00.2", 50, "not in per cent"),
    ("00.3", "<think>one two</think>\nAnswer: entailed", "0.20 of 1 for length"), ("00.3", "Answer: entailed", "there is no <think>"),
    ("01.1", lambda f, s, i, y: (f / s / i / "question.wav", f / s / i / "answer.wav"), "also holds the label"),
    ("01.1", lambda f, s, i, y: f / s / i / "question.wav", "Return two paths"),
    ("01.2", lambda p: 6.0 * 16_000, "The length of the first dev clip is off"),
    ("01.3", {"conflicts": ["0001"], "duplicates": [], "bad_audio": []}, "row 0001 has no such fault"),
    ("01.3", {"conflicts": ["0003"], "duplicates": [], "bad_audio": []}, "1 more to find"),
    ("01.4", {"id": "a"}, "the field 'user_content' is missing"), ("01.3", {"conflicts": [3], "duplicates": [], "bad_audio": []}, "a list of ids as strings"),
    ("01.4", OWN, "does not follow: label 0"),
    ("02.1", lambda s: 100 * s, "That counts mel frames"), ("02.1", lambda s: 50 * s, "One halving is missing"),
    ("02.2", 600, "That is for ± 4 points"), ("02.2", "many", "Expected a number"), ("02.3", lambda n, c, k: 1 - (1 - c / n) ** k, "with replacement"),
    ("02.4", {"A": "listens", "B": "listens", "C": "the test leaks"}, "B: compare"),
    ("03.1", lambda c, reference_length, **_: [len(rewards.reasoning_of(t).split()) / r for t, r in zip(c, reference_length)], "not capped"),
    ("03.2", lambda text: True, "accepts an answer without a thought"), ("03.2", lambda text: False, "refuses the asked format"),
    ("03.3", "Answer: entailed", "doesn't find it where it looks"), ("03.3", "Answer:", "a verdict isn't"), ("03.3", ["x"], "A string is wanted"),
    ("03.3", "<answer>no</answer> Answer:", "Which verdict"),
    ("03.4", lambda c, label: [2.0 if "entailed" in t.lower() else 0.0 for t in c], "'not-entailed' is still read as entailed"),
    ("03.5", "la la", "It earns 0.00 of 4"), ("03.6", lambda c, **_: [1.0] * len(c), "a thought of 40 times"),
    ("04.1", lambda r, g: (groups(r, g) - groups(r, g).mean(1, keepdim=True)).flatten(), "did not divide"),
    ("04.1", lambda r, g: ((groups(r, g) - groups(r, g).mean(1, keepdim=True)) / groups(r, g).std(1, keepdim=True)).flatten(), "not a number"),
    ("04.1", lambda r, g: (r - r.mean()) / (r.std() + 1e-4), "that is REINFORCE++"),
    ("04.2", lambda ratio, a, e: torch.max(ratio * a, ratio.clamp(1 - e, 1 + e) * a), "Take the smaller"),
    ("04.2", lambda ratio, a, e: torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a), "take it from the argument"), ("02.2", 9604, "± 1 point"),
    ("03.4", lambda c, label: [float(rewards.parse_answer(t) == ("not-entailed", "entailed")[y]) for t, y in zip(c, label)], "the wrong points"),
    ("04.1", lambda r, g: groups(r, g), "of one dimension"), ("05.4", {"A": "no-variance", "B": "cut off", "C": "cut off"}, "A: choose one of"),
    ("04.2", lambda ratio, a, e: ratio.clamp(1 - e, 1 + e) * a, "You always clip"), ("04.3", lambda p, r: p - r, "can be negative"),
    ("04.4", lambda x, m: x.mean(), "Padding is counted"), ("04.4", lambda x, m: ((x * m).sum(1) / m.sum(1)).mean(), "mean of the completions' means"),
    ("05.1", {"completions a step": 32, "questions a step": 4, "micro-batches a step": 16, "completions in 40 steps": 1280}, "micro-batches a step"),
    ("05.2", lambda c: [1.0 for _ in c], "every column by name"), ("05.2", lambda c, **_: [1.0 / (1 + len(rewards.completion_text(x))) for x in c], "An empty completion"),
    ("05.2", lambda c, **_: [-len(rewards.completion_text(x)) for x in c], "An empty completion earns"), ("05.1", {"completions a step": 32}, "an answer is missing"),
    ("05.3", lambda r: 0.4, "That is the share with variance"), ("05.3", lambda r: 0.8, "You looked at one reward only"), ("05.4", {"A": "cut off", "B": "cut off", "C": "cut off"}, "A: 'cut off' doesn't fit"),
    ("06.1", lambda b, a: (1, 2), "wrong way round"), ("06.1", lambda b, a: 3, "A pair is wanted"), ("06.2", lambda form: True, "the conclusion itself follows"), ("06.3", 2.42, "Their variances add"),
    ("06.4", lambda figure, n: True, "the nearest count is"), ("08.1", {"bf16": 8.93, "4-bit": 8.3}, "each takes two bytes"),
    ("08.1", {"bf16": 17.9, "4-bit": 4.73}, "puts every weight at 0.53"), ("08.2", lambda layers, kv_heads, head_dim, tokens, rollouts: 1e9, "For the 7B"),
    ("08.2", lambda layers, kv_heads, head_dim, tokens, rollouts: layers * kv_heads * head_dim * tokens * rollouts * 2 / 1e9, "two of everything"),
    ("08.3", {"Colab, T4": "tiny", "workstation, 24 GB": "l4", "one H100": "80gb", "8 × H100": "multi"}, "waste most of it"),
    ("07.1", lambda meant, heard: sum(a != b for a, b in zip(meant.split(), heard.split())) / len(meant.split()), "one word extra"),
    ("07.2", lambda t: "entailed" if "entailed" in t else None, "you gave"), ("07.3", lambda t, reference_words, **_: [0.75 * min(1, len(x.split()) / r) for x, r in zip(t, reference_words)], "repetition pays"),
    ("07.3", lambda t, reference_words, **_: [0.75 * min(1, len(set(x.split())) / r) for x, r in zip(t, reference_words)], "Use speech.normalised"), ("07.2", lambda t: "not-entailed" if "not" in t else None, "you gave"),
    ("07.4", lambda seconds, reference_seconds, **_: [0.75 * min(1, t / r) for t, r in zip(seconds, reference_seconds)], "however slow"),
    ("07.4", lambda words, reference_seconds, **_: [0.75 * min(1, 0.6 * w / r) for w, r in zip(words, reference_seconds)], "not the words' time alone"),
    ("08.5", lambda prompt, completion, group, shared: 3 * group * (prompt + completion), "counts once a pass"),
    ("08.5", lambda prompt, completion, group, shared: prompt + group * completion if shared else group * (prompt + completion), "Three passes"),
    ("08.4", lambda step_seconds, steps, price, cards: step_seconds * steps / 3600 * price, "All the cards are paid for"),
]


@pytest.mark.parametrize(("number", "solution", "diagnosis"), MISTAKES, ids=[f"{n}: {d[:30]}" for n, _, d in MISTAKES])
def test_mistakes_are_diagnosed(number, solution, diagnosis):
    verdict, message = outcome(number, CHECKS[number], solution)
    assert verdict is False
    assert diagnosis in message


def test_every_exercise_has_a_diagnosed_mistake():
    assert {number for number, *_ in MISTAKES} == set(CHECKS)


@pytest.mark.parametrize("number", CHECKS)
@pytest.mark.parametrize("solution", [None, ..., "", stub, {"A": None, "B": None}])
def test_unfinished_is_neither_right_nor_wrong(number, solution):
    verdict, message = outcome(number, CHECKS[number], solution)
    if callable(solution) and verdict is False:  # a value was asked, and a function came
        return
    assert verdict is None
    assert "not finished yet" in message


@pytest.mark.parametrize("number", CHECKS)
@pytest.mark.parametrize("solution", [lambda *_, **__: 1 / 0, lambda *_, **__: None, lambda *_, **__: "?", 7, "nonsense", [1], {"A": 1}, object()])
def test_nothing_stops_a_notebook(number, solution, capsys):
    exercises.check(number, solution)
    assert re.match("[✘○✔] " + number, capsys.readouterr().out)


def test_an_unknown_exercise_is_named():
    with pytest.raises(ValueError, match=r"no exercise '09\.9'"):
        exercises.check("09.9", 1)


def test_a_check_does_not_hand_out_its_own_objects():
    """A solution that changes its arguments must not spoil the next run of the same check."""
    spoil = lambda rollouts: rollouts.clear() or 0.6
    assert outcome("05.3", CHECKS["05.3"], spoil)[0]
    assert outcome("05.3", CHECKS["05.3"], spoil)[0]


def test_an_array_is_a_solution_like_any_other():
    import numpy as np

    from soundmind_lite.course.checking import outcome

    assert outcome("00.0", lambda solution: "seen", np.zeros(3)) == (True, "✔ 00.0 right. seen")
    assert outcome("00.0", lambda solution: "seen", "")[0] is None
