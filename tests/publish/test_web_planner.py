"""The planner of the pages plans as the library does; see `site_browser` for what this needs."""

import html
import json
import random
import re
from dataclasses import replace

import pytest
from lab_controls import until

from soundmind_lite import profiles
from soundmind_lite.course import show
from soundmind_lite.scale import planner
from soundmind_lite.scale.cards import CARDS

pytest_plugins = ("site_browser",)
pytestmark = pytest.mark.slow

LARGE = [name for name, profile in profiles.PROFILES.items() if profile.card]
LAB = """<div data-live="planner_lab" data-options='{"profile": "l4", "card": "T4"}'></div>"""
NUMBERS = ("total_gb", "limit_gb", "step_seconds", "evaluation_hours", "download_hours", "hours")
NUMBERS += ("training_hours", "cost")
EQUAL = ("profile", "card", "fits", "steps", "advice", "left_out", "processes", "basis")
PLANS = """(async () => {
  const data = await soundmind.load("planner");
  for (const name of ["memory", "timing", "planner"]) await soundmind.script(name);
  return %s.map(({ profile, card, sizes, options }) => soundmind.planner.plan(
    { ...data.profiles[profile], ...sizes }, data.cards[card], options));
})()"""


def some_run(chance: random.Random) -> dict:
    """A profile, a card, sizes that replace the profile's, and options of `plan`."""
    sizes = {
        "num_generations": chance.randint(2, 16),
        "prompts_per_step": chance.randint(1, 8),
        "max_completion_length": chance.choice([256, 1024, 1683, chance.randint(32, 8192)]),
        "max_audio_seconds": chance.choice([30, 60.5, 120, 180.0, chance.uniform(20, 300)]),
        "per_device_train_batch_size": chance.choice([1, 1, 2, 16]),
        "per_device_eval_batch_size": chance.choice([1, 8, chance.randint(1, 400)]),
        "max_steps": chance.randint(1, 4000),
        "lora_r": chance.choice([8, 16, 64]),
        "load_in_4bit": chance.random() < 0.5,
        "gradient_checkpointing": chance.random() < 0.5,
        "shared_prefix": chance.random() < 0.5,
        "dtype": chance.choice(["bfloat16", "float16", "float32"]),
        "eval": chance.choice(["full", "short", "none"]),
        "data": chance.choice([profiles.ALR, profiles.ALR, "mini", "a/folder"]),
        "train_rows": chance.choice([None, chance.randint(1, 6000)]),
        "test_rows": chance.choice([None, chance.randint(1, 800)]),
    }
    kept = {name: value for name, value in sizes.items() if chance.random() < 0.6}
    options = {"price": chance.choice([None, 0, 1.0, chance.uniform(0.1, 9)])}
    if chance.random() < 0.3:
        options["processes"] = chance.randint(1, 8)
    if chance.random() < 0.3:
        options["audio_seconds"] = chance.uniform(1, 20)
    card = chance.choice(list(CARDS))
    return {"profile": chance.choice(LARGE), "card": card, "sizes": kept, "options": options}


def planned(run: dict) -> planner.Plan:
    profile = replace(profiles.get(run["profile"]), **run["sizes"])
    return planner.plan(profile, CARDS[run["card"]], **run["options"])


def numbers_of(fields: dict) -> dict[str, float]:
    """A plan's numbers; without a price, -1 for the cost."""
    return {name: -1 if fields[name] is None else fields[name] for name in NUMBERS}


@pytest.mark.tried("plans in a browser against the library's", "none differs", each=2000)
def test_the_port_plans_as_the_library_does(lab_page):
    chance = random.Random(18)
    runs = [some_run(chance) for _ in range(2000)]
    found = lab_page().run(PLANS % json.dumps(runs))
    plans = [planned(run) for run in runs]
    for run, plan, port in zip(runs, plans, found):
        differing = [name for name in EQUAL if getattr(plan, name) != port[name]]
        assert not differing, (run, differing)
        assert port["peak"] == plan.memory.peak, run
        assert list(port["parts"]) == list(plan.parts), run
        assert port["parts"] == pytest.approx(plan.parts, rel=1e-9), run
        numbers = numbers_of({name: getattr(plan, name) for name in NUMBERS})
        assert numbers_of(port) == pytest.approx(numbers, rel=1e-9), run
    kinds = {(plan.fits, plan.memory.peak, plan.advice) for plan in plans}
    assert len(found) == len(runs)
    assert len(kinds) > 12  # each advice, fitting or not


def words_of(text: str) -> str:
    """The words of HTML, with single spaces between them."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def shown(page) -> str:
    """The words of the lab: the parts of the memory and both sentences."""
    rows = page.run('[...document.querySelectorAll(".planner tr")].map(row => row.innerText)')
    sentences = page.run('[...document.querySelectorAll(".planner > p")].map(p => p.innerText)')
    return " ".join(" ".join([*rows, *sentences]).split())


def expected(profile: str, card: str, price: float = 1.0, **sizes) -> str:
    of_lab = {"num_generations": 8, "max_completion_length": 1024, "max_audio_seconds": 120}
    sizes = of_lab | {"per_device_eval_batch_size": 8} | sizes
    plan = planner.plan(replace(profiles.get(profile), **sizes), CARDS[card], price=price)
    return words_of(show.plan_card(plan))


def move(page, label: str, value) -> None:
    """Sets the control of that label, as a hand does."""
    page.run(f"""(() => {{
      const label = [...document.querySelectorAll(".planner label")]
        .find(label => label.firstChild.textContent === {json.dumps(label)});
      const control = label.querySelector("input, select");
      control.value = {json.dumps(value)};
      const kind = control.matches("select") ? "change" : "input";
      control.dispatchEvent(new Event(kind, {{ bubbles: true }}));
    }})()""")


def test_the_lab_says_what_the_notebook_s_card_says(lab_page):
    page = lab_page(LAB)
    until(page, 'document.querySelector(".planner")')
    assert shown(page) == expected("l4", "T4")
    assert "will not fit" in shown(page)
    move(page, "profile", "t4")
    assert shown(page) == expected("t4", "T4")
    assert ": fits" in shown(page)
    move(page, "card", "H100")
    move(page, "new tokens", 4096)
    move(page, "answers to a question (G)", 16)
    sizes = {"max_completion_length": 4096, "num_generations": 16}
    assert shown(page) == expected("t4", "H100", **sizes)
    move(page, "longest clip, s", 60)
    move(page, "eval batch", 32)
    move(page, "price of an hour", 2.345)
    sizes |= {"max_audio_seconds": 60, "per_device_eval_batch_size": 32}
    assert shown(page) == expected("t4", "H100", 2.345, **sizes)
    move(page, "price of an hour", "")
    assert "an hour" not in shown(page)
    assert not page.complaints()


def test_a_profile_comes_with_its_sizes(lab_page):
    page = lab_page(LAB)
    until(page, 'document.querySelector(".planner")')
    move(page, "card", "A100")
    move(page, "eval batch", 1)
    move(page, "profile", "80gb")
    plan = planner.plan(profiles.get("80gb"), CARDS["A100"], price=1.0)
    assert shown(page) == words_of(show.plan_card(plan))
