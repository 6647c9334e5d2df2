"""Rewards on generated completions, 100,000 of them here.

More, for a night: `SOUNDMIND_FUZZ=10000000 python -m pytest -m slow tests/test_fuzz_rewards.py`.

Held for each: no exception, a value that the docstring names, the same value for the same text,
alone and in any batch, and for the answer the verdict of an independent reading of its last line.
"""

import os
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundmind_lite import rewards
from soundmind_lite.course import explain
from soundmind_lite.prompts import INSTRUCTION
from soundmind_lite.speech import spoken

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("SOUNDMIND_FUZZ", 100_000))
BATCH = 100
SPOKEN = max(40, COUNT // 10_000)
VERDICT = {
    f"answer: {word}{stop}": word.replace(" ", "-")
    for word in ("entailed", "not-entailed", "not entailed")
    for stop in ("", ".")
}
PIECES = [
    "<think>",
    "</think>",
    "<think>",
    "</think>",
    "<THINK>",
    "< think>",
    "<think/>",
    "<think",
    "think>",
    "<answer>",
    "</answer>",
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "\t",
    "Answer: entailed",
    "Answer: not-entailed",
    "Answer: not entailed",
    "answer: ENTAILED.",
    "Answer:entailed",
    "Answer : entailed",
    "Answer: entailed..",
    "Answer: not\u2010entailed",
    "Answer: not\u2011entailed",
    "Answer: not\u2013entailed",
    "Answer: not\u2212entailed",
    "Answer: not\u00adentailed",
    "Answer: n\u043et-entailed",
    "Answer: entai\u217ced",
    "Answer: \u200bentailed",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u202e",
    "\u2066",
    "\u2028",
    "\x85",
    "\x00",
    "\x0b",
    "\x1c",
    "\ud83d\ude00",
    "**Answer: entailed**",
    "# Answer: entailed",
    "`Answer: entailed`",
    "$\\boxed{entailed}$",
    "- Answer: not-entailed",
    "> Answer: entailed",
    "Answer: entailed or not-entailed",
    "Answer: entailed, not not-entailed",
    "Answer: not not-entailed",
    "Answer: notentailed",
    "Answer: \uff45ntailed",
    "\uff21nswer: entailed",
    "An\u0301swer: entailed",
    "A\u017fnswer",
    INSTRUCTION,
    "the answer is entailed",
    "So all birds are fish.",
    "entailed",
    "not-entailed",
    "not",
    "a",
    "word " * 30,
    ".",
    "!",
    "\u4f60\u597d",
    "\u0627\u0644",
    "0",
    "1e999",
    "{}",
    "%s",
    "\\n",
]


def completion(rng: random.Random) -> str:
    if rng.random() < 0.3:  # near the form that is asked for, so that every reward is also earned
        thought = "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 2)))
        thought = f"<think>{thought}All birds are fish.</think>"
        between = rng.choice(["", "\n", " "])
        answer = rng.choice(PIECES[16:20])
        return thought + between + answer + rng.choice(["", ".", "\n", " "])
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 9)))


def read_independently(text: str) -> str | None:
    """The verdict of the last line that isn't blank, by a look into a table."""
    lines = [line for line in text.split("\n") if line.strip()]
    last = lines[-1].strip() if lines else ""
    return VERDICT.get(last.lower()) if last.isascii() else None


def paid(
    texts: list[str], labels: list[int], references: list[float]
) -> list[tuple[float, float, float]]:
    return list(
        zip(
            rewards.answer_reward(texts, label=labels),
            rewards.text_format_reward(texts),
            rewards.text_length_reward(texts, reference_length=references),
        )
    )


def hold(texts: list[str], rng: random.Random) -> list[tuple[float, float, float]]:
    labels, references = (
        [rng.randint(0, 1) for _ in texts],
        [rng.choice([1, 5, 0.5, 10_000]) for _ in texts],
    )
    found = paid(texts, labels, references)
    order = rng.sample(range(len(texts)), len(texts))
    assert paid(*([values[i] for i in order] for values in (texts, labels, references))) == [
        found[i] for i in order
    ]
    for text, label, reference, (answer, form, length) in zip(texts, labels, references, found):
        assert paid([text], [label], [reference]) == [(answer, form, length)]
        verdict = read_independently(text)
        assert rewards.parse_answer(text) == verdict, repr(text)
        assert answer == (2.0 if verdict == ("not-entailed", "entailed")[label] else 0.0)
        assert form in (0.0, 1.0)
        assert 0.0 <= length <= 1.0
        if form:
            assert verdict is not None
            assert text.count("<think>") == text.count("</think>") == 1
            assert length > 0
    return found


@pytest.mark.tried(
    "generated completions, by each text reward, alone and in any order",
    "no exception, values in range, same text same points, the verdict of an independent reading",
    each=COUNT,
)
def test_generated_completions():
    rng, totals = random.Random(20_261_123), [0.0, 0.0, 0.0]
    for _ in range(COUNT // BATCH):
        for terms in hold([completion(rng) for _ in range(BATCH)], rng):
            totals = [total + bool(term) for total, term in zip(totals, terms)]
    shares = dict(
        zip(("answer", "format", "length"), (round(total / COUNT, 3) for total in totals))
    )
    print(f"\n{COUNT:,} completions, no exception; paid something: {shares}")
    assert all(
        0.02 < share < 0.9 for share in shares.values()
    )  # the generator reaches both sides of every reward


@pytest.mark.tried(
    "lists of texts of any characters (hypothesis)",
    "the same, and nothing that explains or speaks them fails",
    each=1000,
)
@settings(max_examples=1000, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5), st.integers())
def test_any_text(texts, seed):
    hold(texts, random.Random(seed))
    for text in texts:
        explain.explain(text, label=1, reference_length=3)
        said = spoken.spoken_text(text)
        assert spoken.spoken_verdict(said) in (None, "entailed", "not-entailed")


@pytest.mark.tried(
    "generated completions, spoken, by each audio reward",
    "no exception, values in range, whatever is spoken with them",
    each=SPOKEN,
)
def test_generated_completions_that_are_spoken():
    rng = random.Random(20_261_123)
    texts = [completion(rng) for _ in range(SPOKEN)]
    spoken.CASCADE.begin(texts)
    form, length = (
        rewards.audio_format_reward(texts),
        rewards.audio_length_reward(texts, reference_seconds=[1.0] * SPOKEN),
    )
    assert set(form) == {0.0, 0.5}
    assert all(0 <= points <= 0.75 for points in length)
    assert 0.2 < sum(map(bool, length)) / SPOKEN < 1
    alone = spoken.Cascade()  # which remembers nothing of the others
    for i in rng.sample(range(SPOKEN), 4):
        assert rewards.audio_format_reward([texts[i]], voice=alone) == [form[i]]
        assert rewards.audio_length_reward([texts[i]], reference_seconds=[1.0], voice=alone) == [
            length[i]
        ]


BIG = {
    "<think>": "<think>" * 150_000,
    "</think>": "</think>" * 130_000,
    "pairs": "<think></think>" * 70_000,
    "spaces": " " * 2**20,
    "newlines": "\n" * 2**20,
    "words": "a " * 2**19,
    "one word": "a" * 2**20,
    "answers": "Answer: entailed\n" * 62_000,
    "Answer:": "Answer:" * 150_000,
    "dots": "Answer: entailed" + "." * 2**20,
    "zero width": "\u200b" * 2**19,
    "spaces inside": "Answer:" + " " * 2**20 + "entailed",
    "returns": "\r" * 2**20,
}


@pytest.mark.tried(
    "completions of a megabyte", "at most 50 ms a reward, beyond the time of reading the text"
)
@pytest.mark.parametrize("kind", BIG)
def test_a_megabyte_takes_linear_time(kind):
    """The promise is 50 ms a reward; it is held against the time of scanning the text, so that it
    holds on a slow machine, too."""
    text = BIG[kind]

    def best(function):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    scan = best(lambda: (text.split(), text.lower(), text.strip()))
    columns = dict(label=[1], reference_length=[5], reference_seconds=[5])
    for function in (*rewards.TEXT_REWARDS, *rewards.AUDIO_REWARDS):  # so long a text isn't spoken
        assert best(lambda function=function: function([text], **columns)) < 0.05 + 5 * scan
