"""Checks of notebook 03: rule-based rewards, from the length to the published reward."""

import itertools

from ... import rewards
from ...data import load_alr
from ..checking import Wrong, call, expect, refuses, text
from ..explain import format_fault
from ..published import published_reward

THOUGHT = "all cats are dogs, all dogs are birds, so all cats are birds"
GOOD = f"<think>{THOUGHT}</think>\nAnswer: entailed"


def _words(completion: str) -> int:
    return len(rewards.reasoning_of(completion).split())


def _without_cap(completions, reference_length, **_):
    pairs = zip(completions, reference_length)
    return [_words(completion) / reference for completion, reference in pairs]


def _of_all_words(completions, reference_length, **_):
    pairs = zip(completions, reference_length)
    return [min(1, len(completion.split()) / reference) for completion, reference in pairs]


def _of_an_open_thought(completions, reference_length, **_):
    thoughts = [c.partition("<think>")[2].partition("</think>")[0] for c in completions]
    return [min(1, len(t.split()) / reference) for t, reference in zip(thoughts, reference_length)]


def _of_the_first_reference(completions, reference_length, **_):
    return [min(1, _words(completion) / reference_length[0]) for completion in completions]


def _upside_down(completions, reference_length, **_):
    pairs = zip(completions, reference_length)
    return [min(1, reference / max(1, _words(completion))) for completion, reference in pairs]


@refuses(_without_cap, "not capped")
@refuses(_of_all_words, "all words of the completion")
@refuses(_of_an_open_thought, "never closed must earn nothing")
@refuses(_of_the_first_reference, "its own reference length")
@refuses(_upside_down, "L / L_ref, not L_ref / L")
def check_03_1(length_reward):
    texts = [
        "<think>one two three</think>\nAnswer: entailed",
        "<think>" + "word " * 40 + "</think>",
        "no thought at all",
        "<think>never closed",
        "<think>one two</think>\nAnswer: entailed",
    ]
    columns = {"reference_length": [6, 20, 5, 5, 10], "label": [1, 1, 1, 1, 1]}
    found = call(length_reward, texts, **columns)
    characters = "You count characters. L is in words."
    whole = "You count all words of the completion. Only those inside the closed thought count."
    first = "Each completion has its own reference length: pair them with zip."
    mistakes = {
        "The reward is not capped: twice the length must not pay twice. Use min(1, …).": (
            [0.5, 2.0, 0.0, 0.0, 0.2]
        ),
        characters: [1.0, 1.0, 0.0, 0.0, 0.7],
        whole: _of_all_words(texts, **columns),
        first: _of_the_first_reference(texts, **columns),
        "The words are divided by the reference: L / L_ref, not L_ref / L.": (
            _upside_down(texts, **columns)
        ),
        "A thought that is never closed must earn nothing: it never comes to an answer.": (
            _of_an_open_thought(texts, **columns)
        ),
    }
    expect(
        found,
        [0.5, 1.0, 0.0, 0.0, 0.2],
        mistakes=mistakes,
        otherwise="For 3 of 6 words, 40 of 20, no thought, an open thought, and 2 of 10:",
    )


FORMAT_CASES = {
    GOOD: "the requested format",
    f"{GOOD}\n\n": "blank lines at the end, which are harmless",
    f"\n  {GOOD}": "white space before the thought, which is harmless",
    "<think>a</think>\n\nAnswer: entailed": "a blank line before the answer line",
    "<think>a</think>\nanswer: NOT ENTAILED.": "a spelling that parse_answer accepts",
    "Answer: entailed": "an answer without a thought",
    "<think></think>\nAnswer: entailed": "an empty thought",
    "<think>  \n </think>\nAnswer: entailed": "a thought of white space only",
    "<think>because\nAnswer: entailed": "a thought that is never closed",
    f"{GOOD}\nor maybe not": "words after the answer line",
    f"Sure! {GOOD}": "words before the thought",
    "a</think>\nAnswer: entailed": "a thought that is never opened",
    "</think>a<think>\nAnswer: entailed": "the tags in the wrong order",
    "<think>a</think><think>b</think>\nAnswer: entailed": "two thoughts",
    "<think>a <think>b</think>\nAnswer: entailed": "<think> twice",
    "<think>a</think> b</think>\nAnswer: entailed": "</think> twice",
    "<think>a</think>\nAnswer: entailed or not-entailed": "two verdicts in one answer line",
    "<think>a</think>\nAnswer: maybe": "an answer that is neither verdict",
    "<think>a</think>\nI am sure.\nAnswer: entailed": "words between thought and answer line",
    "<think>a</think>\nAnswer: entailed\nAnswer: entailed": "two answer lines",
    "<think>a</think> Answer: entailed": "an answer that is not on a line of its own",
    "<think>a\nAnswer: entailed</think>": "an answer line inside the thought",
}


def format_completions() -> list[str]:
    """Completions put together from good and bad parts, for the comparison with the library."""
    starts = ("", "<think>", " <think>", "Well: <think>", "<think>a<think>", "</think><think>")
    thoughts = ("", " \n", "a", "a\nb", "Answer: entailed\n")
    ends = ("", "</think>", "</think>\n", "</think>\n\n ", "</think>.\n", "</think>\n</think>\n")
    answers = (
        "",
        "Answer: entailed",
        "answer: Not Entailed.",
        "Answer: not-entailed\n",
        "Answer: entailed, surely",
        "The answer is entailed",
        "Answer: entailed\nAnswer: entailed",
    )
    return ["".join(parts) for parts in itertools.product(starts, thoughts, ends, answers)]


def _never_counts_the_opening(text):
    text = text.strip()
    thought, _, rest = text.removeprefix("<think>").partition("</think>")
    if text.count("</think>") != 1 or not text.startswith("<think>"):
        return False
    return bool(thought.strip()) and "\n" not in rest.strip() and _ends_in_a_line(rest)


def _ends_in_a_line(rest):
    return rest.lstrip(" ").startswith("\n") and rewards.parse_answer(rest) is not None


def _on_the_same_line(text):
    thought, _, rest = text.strip().removeprefix("<think>").partition("</think>")
    one = text.count("<think>") == 1 and text.count("</think>") == 1
    form = one and text.strip().startswith("<think>") and "\n" not in rest.strip()
    return bool(form and thought.strip()) and rewards.parse_answer(rest) is not None


def _with_words_between(text):
    return rewards.reasoning_of(text).strip() != "" and rewards.parse_answer(text) is not None


@refuses(lambda completion: True, "accepts an answer without a thought")
@refuses(lambda completion: False, "refuses the requested format")
@refuses(_never_counts_the_opening, "accepts <think> twice")
@refuses(_on_the_same_line, "accepts an answer that is not on a line of its own")
@refuses(_with_words_between, "accepts words before the thought")
@refuses(lambda text: text == GOOD, "refuses blank lines at the end")
@refuses(lambda text: rewards.has_text_format(text) and "\nb" not in text, "refuses '<think>a\\nb")
def check_03_2(has_format):
    for completion, description in FORMAT_CASES.items():
        _compare_format(has_format, completion, f"{description}: {completion!r:.90}")
    generated = format_completions()
    for completion in generated:
        fault = format_fault(completion)
        _compare_format(has_format, completion, f"{completion!r}: {fault or 'that is the format'}")
    cases = len(FORMAT_CASES) + len(generated)
    return f"Yours and the library's has_text_format agree on all {cases:,} completions."


def _compare_format(has_format, completion: str, description: str) -> None:
    accepted = rewards.has_text_format(completion)
    if bool(call(has_format, completion)) != accepted:
        action = "refuses" if accepted else "accepts"
        raise Wrong(f"Your function {action} {description}.")


@refuses("Answer: entailed", "doesn't find it where it looks")
@refuses("<answer>entailed</answer>", "doesn't find it where it looks")
@refuses("Answer:", "a verdict is not")
@refuses("<answer>no</answer> Answer:", "Which verdict")
@refuses(["x"], "Expected a string")
def check_03_3(magic):
    answers = load_alr("mini", "test")["reasoning"]
    earned = published_reward([text(magic)] * len(answers), answers)
    if min(earned) == 2.0:
        return f"One fixed string earns 2.0 on all {len(answers)} rows, whatever their audio says."
    at_most = f"It earns {max(earned)} at most."
    if "answer:" not in magic.lower()[-10:]:
        raise Wrong(
            f"{at_most} The reward looks for the word 'answer:' and doesn't find it where it "
            "looks. (Hint 1.)"
        )
    if "<answer>" not in magic.lower():
        raise Wrong(
            f"{at_most} The word 'answer:' is found; a verdict is not. Inside which tag might the "
            "reward look for it? (Hint 2.)"
        )
    raise Wrong(f"{at_most} Which verdict does the reward take for the truth on every row?")
