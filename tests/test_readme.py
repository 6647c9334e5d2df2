"""What the README and the pages beside it say and show is so."""

import json
import re

import pytest
from conftest import ROOT

from soundmind_lite import __main__, profiles
from soundmind_lite.scale import planner

SITE = ROOT / "assets" / "site"
RUNS = ROOT / "assets" / "runs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
READ_ON_GITHUB = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *SITE.glob("*.md")]


def page(name):
    return (SITE / f"{name}.md").read_text(encoding="utf-8")


def commands():
    """{name of a command: its parser}."""
    (subparsers,) = (a for a in __main__.parser()._actions if hasattr(a, "choices") and a.choices)
    return subparsers.choices


def test_ten_lines_with_your_own_data_and_reward_train(tmp_path, monkeypatch, capsys):
    """In a folder of its own, with the clips where the lines look for them."""
    (code,) = re.findall(r"```python\n(.*?)```", page("own_data"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    exec(code, {"__name__": "__main__"})
    assert "rewards/says/mean" in capsys.readouterr().out


def test_the_two_commands_come_first():
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)[:2]
    assert "pip install -r requirements.txt && python -m soundmind_lite train" in blocks[0]
    assert blocks[1] == "pip install -r requirements.txt && python -m pytest\n"


def test_the_readme_is_read_to_its_end():
    assert len(README.splitlines()) <= 90


def test_the_answers_of_the_readme_are_those_of_the_shipped_run():
    (name,) = re.findall(r"mini_alr/test/(\d+)/question\.ogg", README)
    for when in ("before", "after"):
        shipped = json.loads((RUNS / "all_seed0" / f"{when}.json").read_text(encoding="utf-8"))
        (answer,) = (one["completion"] for one in shipped["answers"] if one["id"] == name)
        assert "`{}`\n".format(answer.replace("\n", " ")) in README


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_accuracies_are_those_of_the_shipped_runs(seed):
    run = json.loads((RUNS / f"all_seed{seed}" / "result.json").read_text(encoding="utf-8"))
    before, after, swapped = (run[part] for part in ("before", "after", "swapped_audio"))
    start = f"| {seed} | {in_words(before)} | {in_words(after, bold='**')} | "
    assert f"{start}{in_words(swapped)} |\n" in README
    formats = f"{100 * before['format_rate']:.0f} → {100 * after['format_rate']:.0f} %"
    p = f"{run['paired_p']:.1e}"
    assert f"{start}{p} | {formats} | {in_words(swapped)} |\n" in page("results")


def in_words(measured, bold=""):
    low, high = (100 * measured[end] for end in ("ci_low", "ci_high"))
    return f"{bold}{100 * measured['accuracy']:.1f} %{bold} ({low:.0f}–{high:.0f})"


def test_every_command_and_option_is_there():
    text = page("commands")
    for name, parser in commands().items():
        assert f"`{name}`" in README
        assert f"`python -m soundmind_lite {name}" in text
        options = [option for action in parser._actions for option in action.option_strings]
        assert [o for o in options if o.startswith("--") and f"`{o}" not in text] == []


def test_every_module_and_package_has_its_line():
    library = ROOT / "soundmind_lite"
    names = [path.stem for path in library.glob("[a-z]*.py")]
    names += [path.parent.name for path in library.glob("*/__init__.py")]
    missing = [name for name in names if f"| `{name}` |" not in page("library")]
    assert missing == []


def test_the_table_of_profiles_is_what_the_planner_says():
    for profile in profiles.PROFILES.values():
        if not profile.card:
            continue
        plan = planner.plan(profile, processes=2 if profile.name == "multi" else 1)
        lines = re.findall(rf"^\| `{profile.name}` \|.*$", page("real_model"), re.MULTILINE)
        needs, takes = lines
        assert f"| {plan.total_gb:.1f} of {plan.limit_gb:.0f} GB |" in needs
        hours = (plan.download_hours, plan.evaluation_hours, plan.training_hours)
        parts = " + ".join(f"{part:.1f}" for part in hours)
        assert f"| {parts} = {plan.hours:.1f} |" in needs
        tested = profile.test_rows or 656
        assert f"| {profile.max_steps} | {profile.train_rows:,} | {tested} | " in takes


@pytest.mark.parametrize("path", READ_ON_GITHUB, ids=lambda path: path.stem)
def test_links_lead_somewhere_where_they_are_read_as_files(path):
    for target in re.findall(r"\]\(([^()\s#:]+)(?:#[^()\s]*)?\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
