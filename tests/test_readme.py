"""What the README shows runs as it stands."""

import re
import subprocess
import sys

from conftest import ROOT

from soundmind_lite import profiles
from soundmind_lite.scale import planner

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ten_lines_with_your_own_data_and_reward_train(tmp_path):
    """In a folder of its own, with the clips where the lines look for them."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "rewards/says/mean" in done.stdout


def test_the_two_commands_come_first():
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)[:2]
    assert "pip install -r requirements.txt && python -m soundmind_lite train" in blocks[0]
    assert blocks[1] == "pip install -r requirements.txt && python -m pytest\n"


def test_every_module_and_package_has_its_line():
    library = ROOT / "soundmind_lite"
    names = [path.stem for path in library.glob("[a-z]*.py")]
    names += [path.parent.name for path in library.glob("*/__init__.py")]
    section = README.partition("## The library")[2].partition("\n## ")[0]
    missing = [name for name in names if f"| `{name}` |" not in section]
    assert missing == []


def test_the_table_of_profiles_is_what_the_planner_says():
    for profile in profiles.PROFILES.values():
        if not profile.card:
            continue
        plan = planner.plan(profile, processes=2 if profile.name == "multi" else 1)
        (line,) = re.findall(rf"^\| `{profile.name}` \|.*$", README, re.MULTILINE)
        assert f"| {plan.total_gb:.1f} of {plan.limit_gb:.0f} GB |" in line
        hours = (plan.download_hours, plan.evaluation_hours, plan.training_hours)
        parts = " + ".join(f"{part:.1f}" for part in hours)
        assert f"| {parts} = {plan.hours:.1f} |" in line
        assert f"| {profile.max_steps} steps, {profile.train_rows:,} of 5,184 questions; " in line
