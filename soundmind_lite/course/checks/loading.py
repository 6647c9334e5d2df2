"""Checks of notebook 01: rows and clips of ALR."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from ...alr.layout import parse_row
from ...alr.text import statements, written_verdict
from ...data import ALRFormatError
from ...prompts import VERDICTS
from ...tiny.syllogisms import problem_of
from .. import faulty, planted
from ..checking import Wrong, call, entries, refuses

CLIPS = ("0001", "0002", "0004", "0010")  # those in the folder of the check, of these rows:
ROWS = ["0010", "0002", "0003", "0001", "0004"]


@refuses(faulty.by_position, "gets the clip of row 0001")
@refuses(
    lambda folder, split, ids: faulty.by_position(folder, split, sorted(ids)),
    "gets the clip of row 0004",
)
@refuses(
    lambda folder, split, ids: {i: folder / split / i / "question.wav" for i in ids},
    "row 0003 has no clip",
)
@refuses(
    lambda folder, split, ids: [folder / split / i / "question.wav" for i in ids],
    "Return a dictionary",
)
@refuses(lambda folder, split, ids: {}, "Row 0001 has a clip")
@refuses(
    lambda folder, split, ids: {i: folder / "dev" / i / "question.wav" for i in ids if i != "0003"},
    "not in the folder of split test",
)
def check_01_1(clips_of):
    for split in ("dev", "test"):
        with TemporaryDirectory() as name:
            folder = Path(name)
            for identifier in CLIPS:
                clip = folder / split / identifier / "question.wav"
                clip.parent.mkdir(parents=True)
                clip.touch()
            found = call(clips_of, folder, split, ROWS)
            if not isinstance(found, dict):
                raise Wrong("Return a dictionary from the id of a row to the path of its clip.")
            _right_clips(found, folder / split)
    return "A clip belongs to its row by split and id, never by its position in a list."


def _right_clips(found: dict, folder: Path) -> None:
    """Wrong unless each row that has a clip, and no other, gets its own."""
    for identifier, clip in found.items():
        path = Path(clip or folder / str(identifier) / "question.wav")
        if folder not in path.parents:
            raise Wrong(f"{path.name} is not in the folder of split {folder.name}.")
        if path.parent.name != identifier:
            raise Wrong(f"Row {identifier} gets the clip of row {path.parent.name}.")
        if not path.is_file():
            raise Wrong(f"In this folder row {identifier} has no clip; leave the row out.")
    for identifier in CLIPS:
        if identifier not in found:
            raise Wrong(f"Row {identifier} has a clip, but your dictionary leaves it out.")


AT_A_GLANCE = {
    "cut": "{letter} isn't cut: it has all three sentences and ends in a pause. Which one ends in "
    "the middle of a sound?",
    "telephone": "{letter} isn't the telephone's: its voice has energy above 4,000 Hz. Which one "
    "is dark there throughout?",
    "wrong rate": "{letter} has the pace of the other clips. At a wrong rate, all of it would be "
    "stretched or compressed, in time and in frequency.",
    "none": "{letter} does have a fault. Compare its length and its highest bright frequency with "
    "the other three.",
}


@refuses(dict.fromkeys("ABCD", "none"), "A does have a fault")
@refuses({"A": "telephone", "B": "wrong rate", "C": "none", "D": "cut"}, "A isn't the telephone's")
@refuses({"A": "wrong rate", "B": "none", "C": "none", "D": "cut"}, "B does have a fault")
@refuses({"A": "wrong rate", "B": "telephone", "C": "none", "D": "noise"}, "choose one of")
@refuses({"A": "wrong rate", "B": "telephone", "C": "cut", "D": "none"}, "C isn't cut")
def check_01_2(seen):
    entries(seen, faulty.FAULTS, choices=AT_A_GLANCE)
    for letter, fault in faulty.FAULTS.items():
        if seen[letter] != fault:
            raise Wrong(AT_A_GLANCE[seen[letter]].format(letter=letter))
    return (
        "None of the three raises an error: each is a valid sound file. Only someone who looks, or "
        "listens, finds them."
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


INSTEAD = {
    "A": "Then your figure isn't comparable with the paper's, which counts all 656 rows, and you "
    "chose which questions count after you had seen their answers. 31 rows are 4.7 percentage "
    "points, more than the paper's gain of 3.81.",
    "B": "The text was written by a language model, so its verdict is an opinion, not a proof. A "
    "model that imitates such texts would gain from your correction, and your test would no longer "
    "be ALR's.",
}
NOT_BECAUSE = {
    1: "The decision is right, but not for this reason: an argument by a language model can be "
    "wrong, and this reason would speak for B. What does C let a reader do?",
    3: "The decision is right, but not for this reason: a model that repeats the text's verdict "
    "loses on these rows, one that says entailed gains, so a wrong label can also raise a score.",
}


@refuses({"decision": "A", "reason": 3}, "isn't comparable with the paper's")
@refuses({"decision": "B", "reason": 1}, "an opinion, not a proof")
@refuses({"decision": "C", "reason": 1}, "this reason would speak for B")
@refuses({"decision": "C", "reason": 3}, "can also raise a score")
@refuses({"decision": "C"}, "'reason': an answer is missing")
def check_01_4(report):
    entries(report, ("decision", "reason"))
    decision, reason = str(report["decision"]).upper(), str(report["reason"])
    if decision not in ("A", "B", "C") or reason not in ("1", "2", "3"):
        raise Wrong("Choose a decision 'A', 'B' or 'C', and the number 1, 2 or 3 of a reason.")
    if decision in INSTEAD:
        raise Wrong(INSTEAD[decision])
    if int(reason) in NOT_BECAUSE:
        raise Wrong(NOT_BECAUSE[int(reason)])
    return "The first figure can be compared, the second says how much the 31 rows matter."


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
@refuses(
    {
        "id": "x",
        "user_content": 'Major premise is "all a are b". Minor premise is "all c are b". '
        'Conclusion is "all c are a".',
        "answer": "Both are b.\n\nAnswer: entailed.",
        "label": 0,
    },
    "a conflict, as in 64 rows of ALR",
)
@refuses(
    {
        "id": "x",
        "user_content": 'Major premise is "all a are b". Minor premise is "all b are c". '
        'Conclusion is "all a are c".',
        "answer": "It does not.\n\nAnswer: not-entailed.",
        "label": 0,
    },
    "the model checker says entailed",
)
def check_01_5(row):
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
