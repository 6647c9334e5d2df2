"""Every reward on good, bad and adversarial completions, and on all real rows."""

import random

import pytest

from soundmind_lite.prompts import VERDICTS, chain_of_thought, gold_completion
from soundmind_lite.rewards import (
    answer_reward,
    parse_answer,
    text_format_reward,
    text_length_reward,
)

GOOD = "<think>All cats are dogs.</think>\nAnswer: entailed"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Answer: entailed", "entailed"),
        ("Answer: not-entailed", "not-entailed"),
        ("answer: NOT ENTAILED.", "not-entailed"),
        ("Answer: entailed.\n\n  \n", "entailed"),
        ("thinking\nAnswer: not entailed", "not-entailed"),
        ("  Answer: entailed  ", "entailed"),
        ("Answer: not-entailed\nAnswer: entailed", "entailed"),
        ("Answer: not-entailed\r\n", "not-entailed"),
    ],
)
def test_an_answer_line_is_read(text, verdict):
    assert parse_answer(text) == verdict


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "entailed",
        "Answer:",
        "Answer: yes",
        "Answer: entailed or not-entailed",
        "Answer: not-entailed, not entailed",
        "Answer: entailed\nI am sure.",
        "The Answer: entailed",
        "Answer: entailed. Surely",
        "Answer: entailed..",
        "**Answer: entailed**",
        "Answer: not\u2011entailed",
        "An\u017fwer: entailed",
        "Answer: entailed\u200b",
        "Answer: \u0435ntailed",
        "Answer: notentailed",
        "Answer: unentailed",
        "Answer : entailed",
        "Answer: <think>entailed</think>",
        "Answer: not - entailed",
        "Answer: entailed!",
        "<think>x</think> Answer: entailed",
        "Answer: entailed\rAnswer: not-entailed",
    ],
)
def test_anything_else_is_no_answer(text):
    assert parse_answer(text) is None
    assert answer_reward([text, text], label=[0, 1]) == [0.0, 0.0]


@pytest.mark.parametrize(
    "text",
    [
        "Answer: entailed",
        "<think>x\nAnswer: entailed",
        "x</think>\nAnswer: entailed",
        "<think>x</think>",
        "<think>x</think>\nIt is entailed",
        "<think>x</think>\nSo:\nAnswer: entailed",
        "Hello <think>x</think>\nAnswer: entailed",
        "<think>x</think>\nAnswer: entailed\nDone",
        "<think>x</think><think>y</think>\nAnswer: entailed",
        "<think><think>x</think></think>\nAnswer: entailed",
        "<think> \n</think>\nAnswer: entailed",
        "</think>x<think>\nAnswer: entailed",
        "<think>x</think> Answer: entailed",
        "<THINK>x</THINK>\nAnswer: entailed",
        "",
    ],
)
def test_a_broken_format_pays_nothing(text):
    assert text_format_reward([text]) == [0.0]


def test_the_format_pays_whatever_the_answer():
    assert text_format_reward([GOOD, GOOD.replace("entailed", "not-entailed"), f"\n{GOOD}.\n"]) == [
        1.0,
        1.0,
        1.0,
    ]


def test_the_length_counts_words_of_the_closed_thought_only():
    texts = [
        "<think>one two three</think> and much more outside",
        "<think>never closed",
        "no tags at all",
        "<think>" + "word " * 50 + "</think>",
    ]
    assert text_length_reward(texts, reference_length=[6, 6, 6, 6]) == [0.5, 0.0, 0.0, 1.0]


def test_conversations_earn_what_strings_earn():
    chat = [[{"role": "assistant", "content": GOOD}]]
    assert answer_reward(chat, label=[1]) == answer_reward([GOOD], label=[1]) == [2.0]
    assert text_format_reward(chat) == text_format_reward([GOOD]) == [1.0]
    assert (
        text_length_reward(chat, reference_length=[4])
        == text_length_reward([GOOD], reference_length=[4])
        == [1.0]
    )


@pytest.mark.parametrize("label", [2, -1, None, "1"])
def test_a_senseless_label_is_an_error(label):
    with pytest.raises(ValueError, match="label must be"):
        answer_reward([GOOD], label=[label])


@pytest.mark.parametrize("reference", [0, -3, float("nan"), float("inf"), None])
def test_a_senseless_reference_is_an_error(reference):
    with pytest.raises(ValueError, match="reference_length"):
        text_length_reward([GOOD], reference_length=[reference])


def test_random_strings_never_raise_and_stay_in_range():
    rng = random.Random(0)
    pieces = [
        "<think>",
        "</think>",
        "Answer:",
        " entailed",
        "not-",
        "\n",
        ".",
        " ",
        "\r",
        "\u2028",
        "\x00",
        "é",
        "<|AUDIO|>",
        "\ud800",
        GOOD,
    ]
    texts = ["".join(rng.choices(pieces, k=rng.randrange(1, 12))) for _ in range(20_000)]
    for values, top in (
        (answer_reward(texts, label=[1] * len(texts)), {0.0, 2.0}),
        (text_format_reward(texts), {0.0, 1.0}),
    ):
        assert set(values) == top  # both values occur, so the generator reaches the paying cases
    assert all(0 <= v <= 1 for v in text_length_reward(texts, reference_length=[3] * len(texts)))


def test_real_gold_completions_earn_everything_and_their_opposites_no_answer(real_rows):
    labels = [row["label"] for row in real_rows]
    chains = [chain_of_thought(row["answer"]) for row in real_rows]
    gold = [gold_completion(chain, label) for chain, label in zip(chains, labels)]
    assert len(gold) == 606
    assert answer_reward(gold, label=labels) == [2.0] * 606
    assert text_format_reward(gold) == [1.0] * 606
    assert (
        text_length_reward(gold, reference_length=[len(chain.split()) for chain in chains])
        == [1.0] * 606
    )
    opposite = [gold_completion(chain, 1 - label) for chain, label in zip(chains, labels)]
    assert answer_reward(opposite, label=labels) == [0.0] * 606
    assert {parse_answer(text) for text in gold} == set(VERDICTS)
