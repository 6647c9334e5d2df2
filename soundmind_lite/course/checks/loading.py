"""Checks of notebook 01: rows and clips of ALR."""

import json
from pathlib import Path

from ...alr.layout import parse_row
from ...alr.text import statements, written_verdict
from ...audio import SAMPLE_RATE, load_audio
from ...data import ALRFormatError, load_alr
from ...prompts import VERDICTS
from ...tiny.syllogisms import problem_of
from .. import planted
from ..checking import Wrong, call, expect, refuses


@refuses(
    lambda folder, split, identifier, label: (
        folder / split / identifier / "question.wav",
        folder / split / identifier / "answer.wav",
    ),
    "also holds the label",
)
@refuses(
    lambda folder, split, identifier, label: folder / split / identifier / "question.wav",
    "Return two paths",
)
def check_01_1(clip_paths):
    for identifier, label in (("0007", 1), ("0123", 0)):
        found = call(clip_paths, Path("alr"), "test", identifier, label)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise Wrong("Return two paths: the question's and the answer's.")
        question, answer = (Path(path).as_posix() for path in found)
        folder = f"alr/test/{identifier}"
        if question != f"{folder}/question.wav":
            raise Wrong(
                f"The question of test row {identifier} is in {folder}/question.wav, "
                f"you gave {question}."
            )
        if answer == f"{folder}/answer.wav":
            raise Wrong("The answer's name also holds the label: answer_0.wav or answer_1.wav.")
        if answer != f"{folder}/answer_{label}.wav":
            raise Wrong(
                f"The answer of test row {identifier} (label {label}) is in "
                f"{folder}/answer_{label}.wav, you gave {answer}."
            )
    return "A clip belongs to its row by split and id, never by its position in a list."


@refuses(lambda path: 6.0 * 16_000, "The length of the first dev clip is off")
def check_01_2(seconds_of):
    path = load_alr("mini", "dev")[0]["question_audio"]
    seconds = len(load_audio(path)) / SAMPLE_RATE
    mistakes = {
        "That is the number of samples. Divide by the sample rate.": seconds * SAMPLE_RATE,
        "These clips have 16,000 samples a second, not 44,100.": seconds * SAMPLE_RATE / 44_100,
        "That looks like milliseconds.": seconds * 1000,
    }
    expect(
        call(seconds_of, path),
        seconds,
        mistakes=mistakes,
        otherwise="The length of the first dev clip is off.",
        tolerance=0.02,
    )


@refuses({"conflicts": [3], "duplicates": [], "bad_audio": []}, "a list of ids as strings")
@refuses({"conflicts": ["0001"], "duplicates": [], "bad_audio": []}, "row 0001 has no such fault")
@refuses({"conflicts": ["0003"], "duplicates": [], "bad_audio": []}, "1 more to find")
def check_01_3(found):
    if not isinstance(found, dict) or set(found) != set(planted.FAULTS):
        raise Wrong(f"Expected a dictionary with the keys {', '.join(planted.FAULTS)}.")
    for kind, truth in planted.FAULTS.items():
        given = found[kind] or ()
        if isinstance(given, str) or not all(isinstance(identifier, str) for identifier in given):
            raise Wrong(
                f'{kind}: expected a list of ids as strings, such as ["0001", "0002"], '
                f"got {given!r:.60}."
            )
        ids = {identifier.split("/")[-1] for identifier in given}
        extra = sorted(ids - set(truth))
        if extra:
            raise Wrong(f"{kind}: row {extra[0]} has no such fault. Read or play it once more.")
        if len(ids) < len(truth):
            raise Wrong(f"{kind}: {len(truth) - len(ids)} more to find.")
    return "The audit finds the same six ids."


@refuses({"id": "a"}, "the field 'user_content' is missing")
@refuses(
    {
        "id": "x",
        "user_content": 'Major premise is "all a are b". Minor premise is "all b are c". '
        'Conclusion is "all a are c".',
        "answer": "So.\n\nAnswer: entailed.",
        "label": 1,
    },
    "does not follow: label 0",
)
def check_01_4(row):
    try:
        parsed = parse_row(json.dumps(row).encode(), "your row")
    except (ALRFormatError, TypeError) as error:
        raise Wrong(f"The format isn't right yet: {error}.") from error
    major, minor, conclusion = statements(parsed["user_content"])
    label = VERDICTS[parsed["label"]]
    verdict = written_verdict(parsed["answer"])
    if verdict is None:
        raise Wrong("The answer should end with a line such as 'Answer: entailed.'")
    if verdict != label:
        raise Wrong(
            f"Your label says {label} and your answer ends with {verdict}: "
            "a conflict, as in 64 rows of ALR."
        )
    problem_row = {
        "id": parsed["id"],
        "major_premise": major,
        "minor_premise": minor,
        "conclusion": conclusion,
    }
    try:
        problem = problem_of(problem_row)
    except ValueError:
        return (
            "The format is right. The model checker can't read your statements, so the label "
            "is yours to verify."
        )
    if parsed["label"] == 1:
        raise Wrong(
            "Format and answer agree, but the exercise asks for a conclusion that does not "
            "follow: label 0."
        )
    if problem.label != parsed["label"]:
        raise Wrong(
            "The format is right, but the label is not: the model checker says "
            f"{VERDICTS[problem.label]}."
        )
    return "Format and logic agree."
