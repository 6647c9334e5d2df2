"""An independent evaluation: a model against the base that it comes from, and whether it listens.

`evaluate --against` asks both all questions of a split, and the model with silence and with another
question's audio, too. Each of the four is a file of its own, kept answer by answer, so that the
same call continues after a stop.
"""

from dataclasses import replace
from pathlib import Path

from .. import data
from ..alr.text import contradiction
from ..evaluation import AUDIO_CONTROLS, paired_p, wilson_interval
from ..profiles import Profile
from . import report
from .evaluating import evaluate
from .files import RunError, read_json, write_json, write_text

PAGE, FIGURES = "evaluation.md", "evaluation.json"


def compare(profile: Profile, base: str, folder: str | Path, *, split: str = "test", **options):
    """The figures of the profile's model against those of `base`, a folder or hub id.

    Writes to `folder`: the four files of `evaluate`, evaluation.json (what is returned) and
    evaluation.md. `options` are those of `evaluate`. RunError if a file there is of another
    evaluation; else raises what `evaluate` raises.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"data": profile.data, "split": split, "rows": profile.test_rows}
    measured = {}
    for name in ("base", *AUDIO_CONTROLS):
        chosen = replace(profile, model=base) if name == "base" else profile
        file, facts = folder / f"{name}.json", asked | {"model": chosen.model}
        measured[name] = finished(file, facts)
        if measured[name] is None:
            control = "true" if name == "base" else name
            running = folder / f"{name}.running.json"
            found = evaluate(chosen, split=split, control=control, out=running, **options)
            measured[name] = found | {"asked": facts}
            write_json(file, measured[name])
            running.unlink()
    found = conflicts(profile, split, options.get("on_bad_row", "raise"))
    contradicting = [a["id"] for a in measured["base"]["answers"] if a["id"] in found]
    result = {"asked": asked | {"model": profile.model, "base": base}, "conflicts": contradicting}
    result |= {"all rows": figures(measured, leave_out=())}
    result |= {"without conflicts": figures(measured, leave_out=contradicting)}
    write_json(folder / FIGURES, result)
    write_text(folder / PAGE, page(result))
    return result


def finished(file: Path, facts: dict) -> dict | None:
    """What a file of an earlier call holds, None without one; RunError if it asked otherwise."""
    if not file.exists():
        return None
    found = read_json(file, "answers")
    if found.get("asked") != facts:
        what = f"{file} holds an evaluation of {found.get('asked')}"
        raise RunError(f"{what}, and this one is of {facts}; give another --out")
    return found


def conflicts(profile: Profile, split: str, on_bad_row: str = "raise") -> set[str]:
    """The ids of a split's rows whose label isn't the verdict that their reasoning ends with."""
    rows = data.load_alr(profile.data, split, audio=None, on_bad_row=on_bad_row)
    return {row["id"] for row in rows if contradiction(row)}


def figures(measured: dict[str, dict], *, leave_out) -> dict:
    """Of each measurement the right answers, n and the interval, and p against the base."""
    right = {
        name: {a["id"]: a["correct"] for a in found["answers"] if a["id"] not in leave_out}
        for name, found in measured.items()
    }
    result = {}
    for name, answers in right.items():
        count, n = sum(answers.values()), len(answers)
        low, high = wilson_interval(count, n)
        result[name] = {"right": count, "n": n, "accuracy": count / n}
        result[name] |= {"ci_low": low, "ci_high": high}
    before, after = right["base"], right["true"]
    common = [identifier for identifier in after if identifier in before]
    pairs = ([answers[i] for i in common] for answers in (before, after))
    return result | {"paired_p": paired_p(*pairs)}


def page(result: dict) -> str:
    """The figures as a page of Markdown."""
    asked, names = result["asked"], {"true": "its own audio", "silent": "silence"}
    names |= {"swapped": "another question's audio"}
    lines = [
        f"# {asked['model']} against {asked['base']}",
        "",
        f"Greedy answers to the split {asked['split']} of {asked['data']}; intervals are of 95 % "
        "(Wilson), p is of the exact McNemar test on the same rows.",
        "",
        "| model | audio | all rows | without rows whose label contradicts their text |",
        "|---|---|---|---|",
    ]
    columns = ("all rows", "without conflicts")
    for name in ("base", *AUDIO_CONTROLS):
        model = asked["base"] if name == "base" else asked["model"]
        cells = [model, names.get(name, names["true"])]
        for column in columns:
            found = result[column][name]
            cells.append(f"{report.interval(found)}, {found['right']} of {found['n']}")
        lines.append(f"| {' | '.join(cells)} |")
    ps = (f"{result[column]['paired_p']:.2g} ({column})" for column in columns)
    lines += ["", f"Paired p against the base: {', '.join(ps)}."]
    lines += ["", f"Rows whose label contradicts their text: {len(result['conflicts'])}."]
    return "\n".join(lines) + "\n"
