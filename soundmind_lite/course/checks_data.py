"""Checks of the exercises in notebooks 00 to 03: data, probing, rewards. Each gets the learner's solution and raises Wrong with a diagnosis."""
import json
from math import comb
from pathlib import Path

from .. import data, rewards
from . import planted
from ..audio import load_audio
from .checking import Wrong, call, entries, expect, near, number, numbers, text
from ..evaluation import quotes_premises
from .explain import explain
from ..models import audio_token_count
from ..prompts import VERDICTS
from .published import published_reward
from ..tiny.syllogisms import problem_of

GOOD = "<think>all cats are dogs, all dogs are birds, so all cats are birds</think>\nAnswer: entailed"


def first_question() -> dict:
    """The question that notebook 00 plays: row 0003 of the test split."""
    return data.load_alr("mini", "test")[2]


def check_00_1(verdict):
    row = first_question()
    said = rewards.parse_answer(f"Answer: {verdict}")
    if said is None:
        raise Wrong("Write 'entailed' or 'not-entailed', as a string.")
    if said != VERDICTS[row["label"]]:
        raise Wrong(f"Take both premises as true: {row['major_premise']}; {row['minor_premise']}. Could '{row['conclusion']}' still be false? Draw three circles.")
    return "The premises leave no world in which the conclusion fails."


def check_00_2(share):
    mistakes = {"As a share between 0 and 1, please, not in per cent.": 50.0}
    expect(share, 0.5, mistakes, "Half of the rows are entailed, and a coin knows nothing about them.", tell=False)
    return "Keep it in mind: every accuracy of this course is read against it."


def check_00_3(completion):
    row = first_question()
    lacking = [t for t in explain(text(completion), row["label"], 10) if t.points < t.maximum]
    if lacking:
        raise Wrong(f"It earns {lacking[0].points:.2f} of {lacking[0].maximum:g} for {lacking[0].name}: {lacking[0].reason}. (Ten words of reasoning are enough here.)")
    if data.chain_of_thought(row["reasoning"]) in completion:
        raise Wrong("All points, but these are the words printed above. In your own words, please.")
    return "You have written what the model has to learn to write."


def check_01_1(clip_paths):
    for identifier, label in (("0007", 1), ("0123", 0)):
        found = call(clip_paths, Path("alr"), "test", identifier, label)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise Wrong("Return two paths: the question's and the answer's.")
        question, answer = (Path(p).as_posix() for p in found)
        if question != f"alr/test/{identifier}/question.wav":
            raise Wrong(f"The question of test row {identifier} lies at alr/test/{identifier}/question.wav, you gave {question}.")
        if answer == f"alr/test/{identifier}/answer.wav":
            raise Wrong("The answer's name also holds the label: answer_0.wav or answer_1.wav.")
        if answer != f"alr/test/{identifier}/answer_{label}.wav":
            raise Wrong(f"The answer of test row {identifier} (label {label}) lies at alr/test/{identifier}/answer_{label}.wav, you gave {answer}.")
    return "So the file belongs to the row by split and id, and never by its place in a list."


def check_01_2(seconds_of):
    path = data.load_alr("mini", "dev")[0]["question_audio"]
    truth = len(load_audio(path)) / 16_000
    mistakes = {
        "That is the number of samples. Divide by the sample rate.": truth * 16_000,
        "These clips have 16,000 samples a second, not 44,100.": truth * 16_000 / 44_100, "That looks like milliseconds.": truth * 1000,
    }
    expect(call(seconds_of, path), truth, mistakes, "The length of the first dev clip is off.", tolerance=0.02)


def check_01_3(found):
    if not isinstance(found, dict) or set(found) != set(planted.FAULTS):
        raise Wrong(f"Expected a dictionary with the keys {', '.join(planted.FAULTS)}.")
    for kind, truth in planted.FAULTS.items():
        if isinstance(found[kind], str) or not all(isinstance(i, str) for i in found[kind] or ()):
            raise Wrong(f'{kind}: a list of ids as strings is wanted, such as ["0001", "0002"], got {found[kind]!r:.60}.')
        ids = {i.split("/")[-1] for i in found[kind] or ()}
        if extra := sorted(ids - set(truth)):
            raise Wrong(f"{kind}: row {extra[0]} has no such fault. Look at it, or listen to it, once more.")
        if len(ids) < len(truth):
            raise Wrong(f"{kind}: {len(truth) - len(ids)} more to find.")
    return "The audit finds the same six ids."


def check_01_4(row):
    try:
        parsed = data.parse_row(json.dumps(row).encode(), "your row")
    except (data.ALRFormatError, TypeError) as error:
        raise Wrong(f"The format isn't right yet: {error}.") from error
    major, minor, conclusion = data.statements(parsed["user_content"])
    verdict = data.written_verdict(parsed["answer"])
    if verdict is None:
        raise Wrong("The answer should end with a line such as 'Answer: entailed.'")
    if verdict != VERDICTS[parsed["label"]]:
        raise Wrong(f"Your label says {('not-entailed', 'entailed')[parsed['label']]} and your answer ends with {verdict}: a conflict, as in 64 real rows.")
    try:
        problem = problem_of(dict(id=parsed["id"], major_premise=major, minor_premise=minor, conclusion=conclusion))
    except ValueError:
        return "The format is right. Your question is no plain syllogism, so only you can vouch for its label."
    if parsed["label"] == 1:
        raise Wrong("Format and answer agree, but the exercise asks for a conclusion that does not follow: label 0.")
    if problem.label != parsed["label"]:
        raise Wrong("The format is right, but the label isn't: the model checker says " + ("entailed." if problem.label else "not-entailed."))
    return "Format and logic agree."


def check_02_1(audio_tokens):
    for seconds in (1.0, 6.7, 62.33):
        truth = int(audio_token_count(round(seconds * 100)))
        found = number(call(audio_tokens, seconds))
        if near(found, seconds * 100, 1):
            raise Wrong("That counts mel frames (100 a second). The encoder halves their number twice.")
        if near(found, seconds * 50, 1):
            raise Wrong("One halving is missing: a strided convolution and an average pool each halve the number.")
        if abs(found - truth) > 1:
            raise Wrong(f"For {seconds} s expected about {truth} tokens, got {found:.4g}.")
    return "The mean question of ALR's train split, 62.33 s, takes about 1,558 tokens; the published prompt limit was 400."


def check_02_2(rows_needed):
    for about, diagnosis in (
        (600.25, "That is for ± 4 points. The half-width counts, not the whole interval."), (9604, "That is for ± 1 point: the half-width is 2 points here."),
        (625, "Keep the 1.96: an interval of one standard error holds only 68 %."), (49, "Square the root when you solve for n: n grows with the square of 1 / half-width."),
    ):
        if near(rows_needed, about, 0.02 * about):
            raise Wrong(diagnosis)
    expect(rows_needed, 2425, {}, "Solve 1.96 · sqrt(0.5 · 0.5 / n) = 0.02 for n.", tolerance=75, tell=False)
    return "To the row it is 2,401. ALR's test split has 656: ± 3.8 points near one half."


def check_02_3(my_pass_at_k):
    cases = ((8, 3, 1), (8, 3, 4), (8, 0, 2), (4, 4, 2))
    found = [call(my_pass_at_k, *case) for case in cases]
    truth = [1 - comb(n - c, k) / comb(n, k) for n, c, k in cases]
    mistakes = {
        "That draws with replacement, 1 - (1 - c/n)^k. It is biased; count the ways to draw only wrong answers instead.": [1 - (1 - c / n) ** k for n, c, k in cases],
        "That is the chance that all k are wrong. Take it from 1.": [1 - t for t in truth],
    }
    expect(found, truth, mistakes, "For (n, c, k) = (8,3,1), (8,3,4), (8,0,2), (4,4,2):")


def check_02_4(answers):
    truth = {"A": "listens", "B": "ignores the sound", "C": "the test leaks"}
    why = {
        "A": "right with its own sound, at chance with another's.",
        "B": "nothing changes when the sound changes, and it stays at chance.",
        "C": "it is right although it hears another question's sound, so the verdict must come from somewhere else.",
    }
    entries(answers, dict.fromkeys(truth, tuple(truth.values())))
    for model, kind in truth.items():
        if answers[model] != kind:
            raise Wrong(f"{model}: compare its accuracy with its own sound to the one with swapped sound. ({why[model].capitalize()})")


def check_03_1(length_reward):
    texts = ["<think>one two three</think>\nAnswer: entailed", "<think>" + "word " * 40 + "</think>", "no thought at all", "<think>never closed"]
    found = call(length_reward, texts, reference_length=[6, 20, 5, 5], label=[1, 1, 1, 1])
    mistakes = {
        "The sum is not capped: twice the length must not pay twice. Use min(1, …).": [0.5, 2.0, 0.0, 0.0],
        "You count characters. L is in words.": [1.0, 1.0, 0.0, 0.0],
        "You count the words of the whole completion. Only those inside the closed thought count.": [4 / 6, 1.0, 0.8, 0.4],
        "A thought that is never closed earns nothing, or a model learns never to stop.": [0.5, 1.0, 0.0, 0.4],
    }
    expect(found, [0.5, 1.0, 0.0, 0.0], mistakes, "For four completions (3 of 6 words, 40 of 20 words, no thought, an open thought):")


FORMAT_CASES = (
    (GOOD, True, "the asked format"),
    (GOOD + "\n\n", True, "blank lines at the end, which don't hurt"),
    ("Answer: entailed", False, "an answer without a thought"),
    ("<think></think>\nAnswer: entailed", False, "an empty thought"),
    ("<think>because\nAnswer: entailed", False, "a thought that is never closed"),
    (GOOD + "\nor maybe not", False, "words after the answer line"),
    ("Sure! " + GOOD, False, "words before the thought"),
    ("<think>a</think><think>b</think>\nAnswer: entailed", False, "two thoughts"),
    ("<think>a</think>\nAnswer: entailed or not-entailed", False, "two verdicts in one answer"),
    ("<think>a</think>\nAnswer: maybe", False, "an answer that is none"),
    ("</think>a<think>\nAnswer: entailed", False, "the tags in the wrong order"),
    ("<think>x</think>\nI am sure.\nAnswer: entailed", False, "words between the thought and the answer line"),
    ("<think>  \n </think>\nAnswer: entailed", False, "a thought of nothing but blanks"),
    ("<think>a</think> Answer: entailed", True, "an answer line that follows on the same line"),
)


def check_03_2(has_format):
    for completion, truth, what in FORMAT_CASES:
        if bool(call(has_format, completion)) != truth:
            raise Wrong(f"Your function {'refuses' if truth else 'accepts'} {what}: {completion!r:.90}")
    return f"All {len(FORMAT_CASES)} cases, the hostile ones too."


def check_03_3(magic):
    answers = data.load_alr("mini", "test")["reasoning"]
    earned = published_reward([text(magic)] * len(answers), answers)
    if min(earned) == 2.0:
        return f"One fixed string earns 2.0 on all {len(answers)} rows without hearing one of them."
    if "answer:" not in magic.lower()[-10:]:
        raise Wrong(f"It earns {max(earned)} at most. The reward looks for the word 'answer:' and doesn't find it where it looks. (Hint 1.)")
    if "<answer>" not in magic.lower():
        raise Wrong(f"It earns {max(earned)} at most. The word 'answer:' is found; a verdict isn't. Inside which mark might it be looked for? (Hint 2.)")
    raise Wrong(f"It earns {max(earned)} at most. Which verdict does the reward take for the truth on every row?")


def check_03_4(mended):
    cases = (
        ("<think>why</think>\nAnswer: entailed", 1, 2.0, "a gold answer of label 1 still earns nothing"),
        ("<think>why</think>\nAnswer: not-entailed", 0, 2.0, "a gold answer of label 0 still earns nothing"),
        ("<think>why</think>\nAnswer: entailed.", 1, 2.0, "the full stop at the end still spoils the answer"),
        ("<think>why</think>\nAnswer: not entailed", 0, 2.0, "'not entailed' with a blank is a spelling of the data itself"),
        ("<think>why</think>\nAnswer: not-entailed", 1, 0.0, "'not-entailed' is still read as entailed"),
        ("<think>why</think>\nAnswer: entailed", 0, 0.0, "the truth must come from the label, not from the text"),
        ("<answer>entailed</answer> Answer:", 1, 0.0, "the fixed string still pays"),
        ("Answer: entailed\nAnswer: not-entailed\nWho knows?", 0, 0.0, "an answer in the middle must not count; only the last line does"),
    )
    for completion, label, points, fault in cases:
        found = numbers(call(mended, [completion], label=[label]))
        if points and near(found, [1.0]):
            raise Wrong("The right rows, but the wrong points: 2.0 is wanted for a right verdict.")
        if not near(found, [points]):
            raise Wrong(f"For {completion!r} with label {label} expected {points}, got {found[0] if found else found}: {fault}.")
    return "Every gold answer is paid now, and the fixed string isn't."


def check_03_5(hack):
    row = first_question()
    terms = explain(text(hack), row["label"], 25)
    if (total := sum(t.points for t in terms)) < 4:
        raise Wrong(f"It earns {total:.2f} of 4. " + next(f"{t.name}: {t.reason}." for t in terms if t.points < t.maximum))
    if quotes_premises(row, hack):
        raise Wrong("That holds both premises and the conclusion, so it might pass for thinking. Use words that have nothing to do with the question.")
    return "Four points for a thought without a thought. Half of the time, that is: the verdict was known to you."


def check_03_6(grounded):
    row = dict(first_question())
    columns = {name: [row[name]] for name in ("major_premise", "minor_premise", "conclusion")}
    honest = f"<think>{data.chain_of_thought(row['reasoning'])}</think>\nAnswer: entailed"
    lazy = "<think>" + "so " * 40 + "</think>\nAnswer: entailed"
    outside = f"<think>hm</think> {row['major_premise']} {row['minor_premise']} {row['conclusion']}\nAnswer: entailed"
    for completion, pays, what in ((honest, True, "an honest thought"), (lazy, False, "a thought of 40 times 'so'"), (outside, False, "premises that stand outside the thought")):
        found = numbers(call(grounded, [completion], **columns))[0]
        if (found > 0.5) != pays:
            raise Wrong(f"It pays {found:.2f} for {what}; {'more' if pays else 'less'} than 0.5 was expected.")
    return "The hole is smaller. It isn't closed: copying the premises is not reasoning either."
